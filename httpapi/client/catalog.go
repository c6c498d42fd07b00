package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"scaleout/httpapi/wire"
)

// Row is one row: values by column name. A number is a json.Number, so that a bigint keeps all digits; NULL is nil.
type Row map[string]any

// Int returns the value of an integer column; ok is false for NULL and for other types.
func (r Row) Int(column string) (n int64, ok bool) { return readNumber(r[column]) }

// Text returns the value of a text column, and "" for NULL and for other types.
func (r Row) Text(column string) string {
	s, _ := r[column].(string)
	return s
}

// Bool returns the value of a bit column, and false for NULL and for other types.
func (r Row) Bool(column string) bool {
	b, _ := r[column].(bool)
	return b
}

// Time returns the value of a datetimeoffset column; ok is false for NULL and for other types.
func (r Row) Time(column string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, r.Text(column))
	return t, err == nil
}

func readNumber(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	if err != nil {
		return 0, false
	}
	return i, true
}

// Result is what a procedure call returned.
type Result struct {
	ReturnValue int64
	Output      map[string]any // by output parameter; numbers are json.Number
	Sets        []ResultSet
	Index       uint64 // the answer reflects the log up to this index
}

// Int returns the value of an integer output parameter; ok is false for NULL and for other types.
func (r Result) Int(name string) (n int64, ok bool) { return readNumber(r.Output[name]) }

// ResultSet is rows with their columns.
type ResultSet struct {
	Columns []wire.ResultColumn
	Rows    []Row
}

// CallOption changes how one procedure call is made.
type CallOption func(*request)

// WithKey makes the call with a request key that the caller chose. For 24 h the same key with the same arguments gets
// the first answer again, and the same key with other arguments is refused. Without WithKey the library makes a key,
// which protects only the retries of this call.
func WithKey(key string) CallOption {
	return func(r *request) {
		r.header.Set(wire.HeaderKey, key)
		r.header.Del(wire.HeaderKeyOrigin)
		r.libraryKey = false
	}
}

// Once makes the call give up after one round through the masters.
func Once() CallOption { return func(r *request) { r.oneRound = true } }

// Call calls a procedure with arguments by name. Values are encoded as JSON; nil is NULL.
func (c *Client) Call(ctx context.Context, procedure string, args map[string]any, opts ...CallOption) (Result, error) {
	if args == nil {
		args = map[string]any{}
	}
	body, err := json.Marshal(args)
	if err != nil {
		return Result{}, fmt.Errorf("client: arguments of %s: %w", procedure, err)
	}
	r := &request{
		method: http.MethodPost, path: "/v1/catalog/procedures/" + url.PathEscape(procedure), header: http.Header{},
		body: body, repeatable: true, libraryKey: true,
	}
	r.header.Set(wire.HeaderKey, newKey())
	r.header.Set(wire.HeaderKeyOrigin, wire.KeyOriginLibrary)
	for _, o := range opts {
		o(r)
	}
	a, err := c.do(ctx, r)
	if err != nil {
		return Result{}, err
	}
	var got wire.CallAnswer
	if err := decode(a, &got); err != nil {
		return Result{}, err
	}
	out := Result{ReturnValue: got.ReturnValue, Output: map[string]any{}, Index: index(a)}
	for name, raw := range got.Output {
		var v any
		if err := decodeNumbers(raw, &v); err != nil {
			return Result{}, fmt.Errorf("client: output %s of %s: %w", name, procedure, err)
		}
		out.Output[name] = v
	}
	for _, s := range got.ResultSets {
		rows, err := rowsOf(s.Rows)
		if err != nil {
			return Result{}, err
		}
		out.Sets = append(out.Sets, ResultSet{Columns: s.Columns, Rows: rows})
	}
	return out, nil
}

// newKey returns a request key that no other call has.
func newKey() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Query says which rows of a view are wanted: those for which all predicates hold.
type Query struct {
	// Equal selects the rows whose columns have these values; nil means IS NULL.
	Equal map[string]any
	// Where has the other predicates.
	Where []Predicate
	// Columns are the columns that the rows shall have; nil means all.
	Columns []string
	// Order lists the columns to sort by; a leading "-" means descending.
	Order []string
	// PageSize is 1 to 1000; 0 is the masters' default, 100.
	PageSize  int
	PageToken string
	// Stale reads the state of the master that answers, without a proof that it is up to date.
	Stale bool
}

// Predicate is a condition on one column. As in SQL, a row whose column is NULL matches only In with nil.
type Predicate struct {
	Column   string
	Operator Operator
	Values   []any // several only for In; nil is NULL
}

// Operator is how a Predicate compares.
type Operator string

// The operators of views.
const (
	In      Operator = ""     // one of the values; nil is IS NULL
	Less    Operator = "lt"   // <
	AtMost  Operator = "le"   // <=
	Greater Operator = "gt"   // >
	AtLeast Operator = "ge"   // >=
	Like    Operator = "like" // % is any text, _ one character, [a-z] and [^a-z] one of a set
)

func (q Query) values() (url.Values, error) {
	v := url.Values{}
	add := func(column, name string, values ...any) error {
		for _, value := range values {
			text, err := filterText(value)
			if err != nil {
				return fmt.Errorf("client: filter on %s: %w", column, err)
			}
			v.Add(name, text)
		}
		return nil
	}
	for column, value := range q.Equal {
		if err := add(column, column, value); err != nil {
			return nil, err
		}
	}
	for _, p := range q.Where {
		name := p.Column
		if p.Operator != In {
			name += "." + string(p.Operator)
		}
		if len(p.Values) == 0 || v.Has(name) {
			return nil, fmt.Errorf("client: filter on %s: one predicate with a value was expected", p.Column)
		}
		if err := add(p.Column, name, p.Values...); err != nil {
			return nil, err
		}
	}
	if q.Columns != nil {
		v.Set("columns", strings.Join(q.Columns, ","))
	}
	if len(q.Order) > 0 {
		v.Set("order", strings.Join(q.Order, ","))
	}
	if q.PageSize > 0 {
		v.Set("page_size", strconv.Itoa(q.PageSize))
	}
	if q.PageToken != "" {
		v.Set("page_token", q.PageToken)
	}
	if q.Stale {
		v.Set("consistency", "stale")
	}
	return v, nil
}

func filterText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "null", nil
	case string:
		return v, nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	}
	b, err := json.Marshal(value)
	return string(b), err
}

// Page is one page of a view.
type Page struct {
	Index   uint64
	Columns []wire.ResultColumn // those of the rows, also when there are none
	Rows    []Row
	Next    string // the token of the next page; "" at the end
	StaleMs int64  // how long ago the master last heard from a leader, if the query was Stale
	// Messages tells whether an operation's messages are complete. It is nil unless the query reads operation_messages of
	// one operation.
	Messages *wire.MessagesState
}

// View reads one page of a view.
func (c *Client) View(ctx context.Context, view string, q Query) (Page, error) {
	values, err := q.values()
	if err != nil {
		return Page{}, err
	}
	a, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/catalog/views/" + url.PathEscape(view), query: values, repeatable: true,
	})
	if err != nil {
		return Page{}, err
	}
	var got wire.ViewAnswer
	if err := decode(a, &got); err != nil {
		return Page{}, err
	}
	p := Page{Index: got.Index, Columns: got.Columns, Next: got.NextPageToken, Messages: got.Messages}
	p.StaleMs, _ = strconv.ParseInt(a.header.Get(wire.HeaderStale), 10, 64)
	if p.Rows, err = rowsOf(got.Rows); err != nil {
		return Page{}, err
	}
	return p, nil
}

// Rows reads a view page by page and ends after the first error.
func (c *Client) Rows(ctx context.Context, view string, q Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			p, err := c.View(ctx, view, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range p.Rows {
				if !yield(r, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			q.PageToken = p.Next
		}
	}
}

// Views lists the views.
func (c *Client) Views(ctx context.Context) ([]wire.View, error) {
	var got wire.Views
	_, err := c.get(ctx, "/v1/catalog/views", nil, &got)
	return got.Views, err
}

// Procedures lists the procedures.
func (c *Client) Procedures(ctx context.Context) ([]wire.Procedure, error) {
	var got wire.Procedures
	_, err := c.get(ctx, "/v1/catalog/procedures", nil, &got)
	return got.Procedures, err
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) (*answer, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: path, query: query, repeatable: true})
	if err != nil {
		return nil, err
	}
	return a, decode(a, into)
}

func decode(a *answer, into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("client: answer of %s: %w", a.master, err)
	}
	return nil
}

func index(a *answer) uint64 {
	n, _ := strconv.ParseUint(a.header.Get(wire.HeaderIndex), 10, 64)
	return n
}

func decodeNumbers(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

func rowsOf(raw []json.RawMessage) ([]Row, error) {
	rows := make([]Row, len(raw))
	for i, r := range raw {
		if err := decodeNumbers(r, &rows[i]); err != nil {
			return nil, fmt.Errorf("client: row %d: %w", i, err)
		}
	}
	return rows, nil
}
