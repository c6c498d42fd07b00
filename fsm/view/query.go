package view

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	Server   string

	Filter    map[string]string // column in any case → text; "null" is IS NULL
	Order     string            // "column,-column"; "" is the view's key
	PageSize  int               // 0 is DefaultPageSize
	PageToken string            // of the page before; "" is the first
}

// Page is a part of a view's rows. NextPageToken is "" when nothing follows; a page that has one may be shorter than
// asked for, even empty.
type Page struct {
	Columns       []registry.Column
	Rows          []registry.Row
	NextPageToken string
	// Messages tells how complete the messages of the one operation are that the query names; nil: it names none.
	Messages *catalog.Completeness
}

// AppendRows appends the page's rows as a JSON array of objects.
func (p *Page) AppendRows(dst []byte) ([]byte, error) {
	return registry.AppendRows(dst, p.Columns, p.Rows)
}

// Select reads one page of a view. Pages follow each other by the values of the order's columns, so that rows which
// come or go in between neither repeat nor hide others. Refusals are *command.Rejection.
func Select(ctx context.Context, view *View, r Request) (Page, error) {
	if err := view.Authorize(r.Caller); err != nil {
		return Page{}, err
	}
	size, err := pageSize(r.PageSize)
	if err != nil {
		return Page{}, err
	}
	q := &Query{View: r.Reader, Live: r.Live, Messages: r.Messages, Caller: r.Caller, Server: r.Server}
	if q.Equal, err = parseFilter(view, r.Filter); err != nil {
		return Page{}, err
	}
	o, err := parseOrder(view, r.Order, q)
	if err != nil {
		return Page{}, err
	}
	after, err := o.decodeToken(r)
	if err != nil {
		return Page{}, err
	}
	s := &scan{view: view, q: q, order: o, after: after, size: size}
	for i := range view.Columns {
		if v, ok := q.Equal[view.Columns[i].Name]; ok {
			s.equal = append(s.equal, condition{i, v})
		}
	}
	page := Page{Columns: view.Columns}
	var last registry.Row // where the next page begins after; nil when nothing follows
	if o.walk {
		page.Rows, last, err = s.walk(ctx)
	} else {
		page.Rows, last, err = s.top(ctx)
	}
	if err != nil {
		return Page{}, err
	}
	if view.Source == FromSegments {
		page.Messages = completeness(q)
	}
	if last != nil {
		page.NextPageToken = o.encodeToken(r, last)
	}
	return page, nil
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

func parseFilter(view *View, filter map[string]string) (map[string]any, error) {
	equal := make(map[string]any, len(filter))
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		i, ok := view.Column(name)
		if !ok {
			return nil, unknownColumn(view, name)
		}
		col := &view.Columns[i]
		if _, twice := equal[col.Name]; twice {
			return nil, command.Refuse(command.CodeColumnTwice, col.Name)
		}
		text := filter[name]
		if sqltype.EqualText(text, "null") {
			equal[col.Name] = nil
			continue
		}
		v, err := sqltype.ParseText(col.Type, text)
		if err != nil {
			return nil, badFilter(col, err)
		}
		equal[col.Name] = v
	}
	return equal, nil
}

func badFilter(col *registry.Column, err error) error {
	var bad *sqltype.ValueError
	if !errors.As(err, &bad) {
		return err
	}
	return command.Refuse(command.CodeColumnValue, col.Name, bad.Value, bad.Type, bad.Want)
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
	walk bool         // the view yields in this order by itself
}

type sortColumn struct {
	index int
	desc  bool
}

// parseOrder reads "column,-column". Columns that a filter holds constant say nothing; the key, in the direction of
// the last column, breaks ties.
func parseOrder(view *View, text string, q *Query) (*order, error) {
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
				return nil, command.Refuse(command.CodeOrderEmpty, text, i+1)
			}
			return nil, unknownColumn(view, name)
		}
		switch view.Columns[column].Type {
		// a place in such an order would not fit into a page token
		case sqltype.NVarCharMax, sqltype.VarBinaryMax, sqltype.Variant:
			return nil, command.Refuse(command.CodeOrderType, view.Columns[column].Name, view.Columns[column].Type)
		}
		if named[column] {
			return nil, command.Refuse(command.CodeOrderTwice, view.Columns[column].Name)
		}
		named[column] = true
		if _, constant := q.Equal[view.Columns[column].Name]; constant {
			continue
		}
		if len(o.by) > 0 && down != desc {
			rising = false // no single direction: only sorting gives it
		}
		desc = down
		o.by = append(o.by, sortColumn{column, down})
	}
	if rising && o.alongKey(q) {
		// What rises with the key orders nothing that the key does not.
		o.by, o.walk, q.Descending = nil, view.Walks != nil && view.Walks(q), desc
	}
	for _, name := range view.Key {
		column, ok := view.Column(name)
		if !ok {
			return nil, fmt.Errorf("view %s: its key names the column %s, which it does not have", view.Name, name)
		}
		if !slices.ContainsFunc(o.by, func(s sortColumn) bool { return s.index == column }) {
			o.by = append(o.by, sortColumn{column, desc})
		}
	}
	return o, nil
}

// alongKey reports whether the order's columns are rising ones, then a prefix of what a filter leaves of the key.
func (o *order) alongKey(q *Query) bool {
	var key []string
	for _, name := range o.view.Key {
		if _, constant := q.Equal[name]; !constant {
			key = append(key, name)
		}
	}
	for _, s := range o.by {
		name := o.view.Columns[s.index].Name
		switch {
		case len(key) > 0 && key[0] == name:
			key = key[1:]
		case len(key) > 0 && slices.Contains(o.view.Rising, name):
		default:
			// After the whole key nothing is left to order.
			if len(key) > 0 {
				return false
			}
		}
	}
	return true
}

// compare orders two rows by the order's columns.
func (o *order) compare(a, b registry.Row) int {
	for _, s := range o.by {
		if c := sqltype.Compare(a[s.index], b[s.index]); c != 0 {
			if s.desc {
				return -c
			}
			return c
		}
	}
	return 0
}
