package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Bounds of one query.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
	// MaxScan is the most rows that one query reads. A walk in key order that reaches it answers with what it has and
	// a page token that goes on from there; another order is refused, with what would be right.
	MaxScan = 100_000
)

// Request is a query as a door received it, with what the door can give its view.
type Request struct {
	Reader   *catalog.Reader
	Live     Live // nil under stale
	Messages MessageSource
	Caller   command.Caller

	Columns   string // "column,column": what each row shows; "" is every column
	Where     []Predicate
	Order     string // "column,-column"; "" is the view's key
	PageSize  int    // 0 is DefaultPageSize
	PageToken string // of the page before; "" is the first
}

// Page is a part of a view's rows. NextPageToken is "" when nothing follows; a page that has one may be shorter than
// asked for, even empty.
type Page struct {
	Columns       []registry.Column // those that were asked for, in that order
	Rows          []registry.Row
	NextPageToken string
	// Messages tells how complete the messages of the one operation are that the query names; nil: it names none.
	Messages *catalog.Completeness
}

// AppendJSON appends the members "columns" and "rows" of a JSON object, without its braces: the columns with names and
// types, the rows as objects.
func (p *Page) AppendJSON(dst []byte) ([]byte, error) {
	return registry.ResultSet{Columns: p.Columns, Rows: p.Rows}.AppendJSON(dst)
}

// Select reads one page of a view. Pages follow each other by the values of the order's columns, so that rows which
// come or go in between neither repeat nor hide others. Refusals are *command.Rejection.
func Select(ctx context.Context, view *View, r Request) (Page, error) {
	if err := view.Authorize(r.Reader, r.Caller); err != nil {
		return Page{}, err
	}
	size, err := pageSize(r.PageSize)
	if err != nil {
		return Page{}, err
	}
	q := &Query{Reader: r.Reader, Caller: r.Caller, view: view}
	if view.Source == FromLive {
		q.Live = r.Live
	}
	if view.Source == FromSegments && r.Messages != nil {
		q.openSegment = func(digest string) (io.ReadCloser, error) { return r.Messages.OpenSegment(ctx, digest) }
	}
	s := &scan{size: size}
	if s.columns, err = parseColumns(view, r.Columns); err != nil {
		return Page{}, err
	}
	if q.conditions, err = parseConditions(view, r.Where); err != nil {
		return Page{}, err
	}
	along, err := q.parseOrder(r.Order)
	if err != nil {
		return Page{}, err
	}
	if s.after, err = q.order.decodeToken(r); err != nil {
		return Page{}, err
	}
	page := Page{Columns: make([]registry.Column, len(s.columns))}
	for i, column := range s.columns {
		page.Columns[i] = view.Columns[column]
	}
	rows := view.open(q)
	var last []any // where the next page begins after; nil when nothing follows
	if along && rows.ordered() {
		if q.after = s.after; q.after != nil {
			rows = view.open(q) // the path may begin there
		}
		page.Rows, last, err = rows.walk(ctx, s)
	} else {
		page.Rows, last, err = rows.top(ctx, s)
	}
	if along && tooBroad(err) && rows.reorder() {
		// The index has too much of it to be sorted; a walk along the key reads everything, piece by piece.
		q.after, s.read = s.after, 0
		page.Rows, last, err = rows.walk(ctx, s)
	}
	if err != nil {
		return Page{}, err
	}
	if view.Source == FromSegments {
		page.Messages = completeness(q)
	}
	if last != nil {
		page.NextPageToken = q.order.encodeToken(r, last)
	}
	return page, nil
}

func tooBroad(err error) bool {
	var no *command.Rejection
	return errors.As(err, &no) && no.Code == command.CodeQueryTooBroad
}

func pageSize(n int) (int, error) {
	switch {
	case n == 0:
		return DefaultPageSize, nil
	case n < 0 || n > MaxPageSize:
		return 0, command.Refuse(command.CodePageSize, n, MaxPageSize)
	}
	return n, nil
}

// parseColumns reads "column,column" into the columns' positions.
func parseColumns(view *View, text string) ([]int, error) {
	var list []int
	if text == "" {
		for i := range view.Columns {
			list = append(list, i)
		}
		return list, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		column, ok := view.Column(strings.TrimSpace(part))
		if !ok {
			return nil, unknownColumn(view, part)
		}
		if slices.Contains(list, column) {
			return nil, command.Refuse(command.CodeColumnsTwice, view.Columns[column].Name)
		}
		list = append(list, column)
	}
	return list, nil
}

func unknownColumn(view *View, name string) error {
	names := make([]string, len(view.Columns))
	for i := range view.Columns {
		names[i] = view.Columns[i].Name
	}
	return command.Refuse(command.CodeUnknownColumn, view.Name, name, names)
}

// order is how a query sorts its rows.
type order struct {
	view *View
	by   []sortColumn // with the key at its end: a total order
}

type sortColumn struct {
	index int
	desc  bool
}

// parseOrder reads "column,-column". Columns that a predicate holds constant say nothing; the key, in the direction of
// the last column, breaks ties. It reports whether the order is that of the key, rising or falling.
func (q *Query) parseOrder(text string) (along bool, err error) {
	view := q.view
	o := &order{view: view}
	named := map[int]bool{}
	desc, rising := false, true
	for i, part := range strings.Split(text, ",") {
		if text == "" {
			break
		}
		name, down := strings.CutPrefix(strings.TrimSpace(part), "-")
		column, ok := view.Column(name)
		if !ok {
			if name == "" {
				return false, command.Refuse(command.CodeOrderEmpty, text, i+1)
			}
			return false, unknownColumn(view, name)
		}
		switch view.Columns[column].Type {
		// a place in such an order would not fit into a page token
		case sqltype.NVarCharMax, sqltype.VarBinaryMax, sqltype.Variant:
			return false, command.Refuse(command.CodeOrderType, view.Columns[column].Name, view.Columns[column].Type)
		}
		if named[column] {
			return false, command.Refuse(command.CodeOrderTwice, view.Columns[column].Name)
		}
		named[column] = true
		if q.constant(column) {
			continue
		}
		if len(o.by) > 0 && down != desc {
			rising = false // no single direction: only sorting gives it
		}
		desc = down
		o.by = append(o.by, sortColumn{column, down})
	}
	if along = rising && o.alongKey(q); along {
		// Rising columns order nothing that the key does not.
		o.by, q.Descending = nil, desc
	}
	for _, name := range view.Key {
		column, ok := view.Column(name)
		if !ok {
			return false, fmt.Errorf("view %s: its key names the column %s, which it does not have", view.Name, name)
		}
		if !slices.ContainsFunc(o.by, func(s sortColumn) bool { return s.index == column }) {
			o.by = append(o.by, sortColumn{column, desc})
		}
	}
	q.order = o
	return along, nil
}

// constant reports whether the predicates leave a column one value.
func (q *Query) constant(column int) bool {
	return slices.ContainsFunc(q.conditions, func(c condition) bool { return c.index == column && c.constant() })
}

// alongKey reports whether the order's columns are rising ones, then a prefix of what a filter leaves of the key.
func (o *order) alongKey(q *Query) bool {
	var key []string
	for _, name := range o.view.Key {
		if column, ok := o.view.Column(name); ok && !q.constant(column) {
			key = append(key, name)
		}
	}
	for _, s := range o.by {
		name := o.view.Columns[s.index].Name
		switch {
		case len(key) > 0 && key[0] == name:
			key = key[1:]
		case len(key) > 0 && slices.Contains(o.view.rising, name):
		default:
			// After the whole key nothing is left to order.
			if len(key) > 0 {
				return false
			}
		}
	}
	return true
}

// compare orders two places: the values of two rows in the order's columns.
func (o *order) compare(a, b []any) int {
	for i, s := range o.by {
		if c := sqltype.Compare(a[i], b[i]); c != 0 {
			if s.desc {
				return -c
			}
			return c
		}
	}
	return 0
}
