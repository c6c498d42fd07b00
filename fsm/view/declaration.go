package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Source is what a view reads beside the replicated state. A view gets nothing that it does not declare.
type Source int

// The sources of views.
const (
	FromState    Source = iota
	FromLive            // also the leader's memory: Query.Live
	FromSegments        // also message segments: Query.openSegment
)

// View is one catalog view: what a declaration says to those who do not know its type of elements.
type View struct {
	Name       string
	Doc        string
	Columns    []registry.Column
	Permission command.Permission
	Source     Source
	// Key names the columns that order the view when the query names none; together they are unique.
	Key []string

	rising []string
	open   func(q *Query) reading
}

// declaration is all there is to say about a view whose rows are made of elements of type T.
type declaration[T any] struct {
	Name       string
	Doc        string
	Permission command.Permission
	Source     Source
	Key        []string // as View.Key
	Rising     []string // columns that never decrease as the key grows: sorting by them equals sorting by the key
	Columns    []column[T]
	// Visible reports whether the query's caller may see a row; nil means that who may read the view sees all of it. It
	// alone decides. A path may ask the same function to spare the work for what it would hide.
	Visible func(q *Query, v T) bool
	// Gap reports whether an element is no row for anybody, but a place where a walk can go on; nil means that none is.
	// A gap counts as read, as a row does that is not visible.
	Gap func(v T) bool
	// Paths are the ways to the elements. The last one can read all of them.
	Paths []path[T]
}

// column is one column with its getter: Get, or Derive if the value depends on more than the element. A column without
// a getter is always NULL, and Null says why.
type column[T any] struct {
	Name     string // in the documented case
	Type     sqltype.Type
	Nullable bool
	Live     bool // from the leader's memory: NULL without it, and Derive is not called then
	Doc      string
	Null     string
	Get      func(v T) any
	Derive   func(q *Query, v T) any
}

// path is one way to a view's elements. It may yield more than the predicates allow: they are applied again.
type path[T any] struct {
	On   string // the column whose predicates narrow the path
	Cost cost
	// Ordered paths yield in the order of the key, in the query's direction.
	Ordered bool
	// Takes says which values In can look for; nil means all but NULL.
	Takes func(value any) bool
	// In yields the elements whose column has one of the values, each element once; nil: there is no index.
	In func(q *Query, values []any) iter.Seq[T]
	// From yields, in the query's direction, the elements from a value of the column on, and all if it is nil. Only a
	// column that never decreases along the key has it.
	From func(q *Query, at any) iter.Seq[T]
}

// cost is roughly how many elements a path reads: for each value, if it looks for values.
type cost int

const (
	oneRow      cost = 1         // at most one element
	liveRows    cost = 1_000     // what lives: bounded by what the workers and the queue hold
	historyRows cost = 10_000    // a part of the history
	allRows     cost = 1_000_000 // everything
	// A range divides the cost of everything by narrowed.
	narrowed = 10
)

// check says what a declaration lacks.
func (d *declaration[T]) check() error {
	if d.Name == "" || d.Doc == "" || len(d.Key) == 0 {
		return errors.New("it has no name, description or key")
	}
	if len(d.Permission) == 0 {
		return errors.New("it does not say who may read it")
	}
	for i := range d.Columns {
		c := &d.Columns[i]
		getters := 0
		for _, has := range []bool{c.Get != nil, c.Derive != nil, c.Null != ""} {
			if has {
				getters++
			}
		}
		switch {
		case getters != 1:
			return fmt.Errorf("column %s: exactly one of Get, Derive and Null is needed", c.Name)
		case c.Null == "" && c.Doc == "" || c.Null != "" && (c.Doc != "" || c.Nullable):
			return fmt.Errorf("column %s: it needs a description, or only the reason why it is NULL", c.Name)
		case c.Type.String() == "invalid":
			return fmt.Errorf("column %s has no type", c.Name)
		case c.Live && (c.Derive == nil || !c.Nullable || d.Source != FromLive):
			return fmt.Errorf("column %s: what is live is derived, may be NULL, and its view reads the memory", c.Name)
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(d.Columns, func(c column[T]) bool { return c.Name == name })
	}
	for _, name := range slices.Concat(d.Key, d.Rising) {
		if !has(name) {
			return fmt.Errorf("its key or rising column %s does not exist", name)
		}
	}
	for i, p := range d.Paths {
		if p.In != nil && (!has(p.On) || p.Cost == 0) || p.In == nil && p.From == nil {
			return fmt.Errorf("path %d looks for no column, or its cost is not known", i)
		}
	}
	if len(d.Paths) == 0 || d.Paths[len(d.Paths)-1].From == nil {
		return errors.New("no path leads to all rows")
	}
	return nil
}

// declare makes a view of its declaration. It panics if that is a mistake: every program that has the view would.
func declare[T any](d declaration[T]) *View {
	if err := d.check(); err != nil {
		panic(fmt.Sprintf("view %s: %v", d.Name, err))
	}
	v := &View{Name: d.Name, Doc: d.Doc, Permission: d.Permission, Source: d.Source, Key: d.Key, rising: d.Rising}
	for i := range d.Columns {
		c := &d.Columns[i]
		col := registry.Column{Name: c.Name, Type: c.Type, Nullable: c.Nullable, Doc: c.Doc}
		if c.Null != "" {
			col.Nullable, col.Doc = true, "always NULL: "+c.Null
		}
		v.Columns = append(v.Columns, col)
	}
	v.open = func(q *Query) reading { return &elements[T]{declaration: &d, query: q, path: d.choose(q)} }
	return v
}

// value is the value of an element's column.
func (d *declaration[T]) value(q *Query, column int, v T) any {
	switch c := &d.Columns[column]; {
	case c.Get != nil:
		return c.Get(v)
	case c.Derive == nil || c.Live && q.Live == nil:
		return nil
	default:
		return c.Derive(q, v)
	}
}

// choose returns the cheapest path for the query's predicates and its place; of equally cheap ones the first.
func (d *declaration[T]) choose(q *Query) *path[T] {
	var best *path[T]
	var least cost
	for i := range d.Paths {
		p := &d.Paths[i]
		var price cost
		switch values := p.values(q); {
		case values != nil:
			price = p.Cost * cost(len(values))
		case p.From != nil:
			if price = allRows; p.begin(q) != nil || q.bound(p.On, !q.Descending) != nil {
				price /= narrowed
			}
		default:
			continue
		}
		if best == nil || price < least {
			best, least = p, price
		}
	}
	return best
}

// values are what the path can look for, nil if the predicates name none that it can.
func (p *path[T]) values(q *Query) []any {
	if p.In == nil {
		return nil
	}
	values := q.values(p.On)
	for _, v := range values {
		if v == nil || p.Takes != nil && !p.Takes(v) {
			return nil
		}
	}
	return values
}

// begin is the value at which the path may begin; nil means at the first element.
func (p *path[T]) begin(q *Query) any {
	if at := q.afterValue(p.On); at != nil {
		return at
	}
	return q.bound(p.On, q.Descending)
}

// all yields what the path leads to.
func (p *path[T]) all(q *Query) iter.Seq[T] {
	if values := p.values(q); values != nil {
		return p.In(q, values)
	}
	return p.From(q, p.begin(q))
}

// Query is what getters and paths get.
type Query struct {
	Reader     *catalog.Reader
	Live       Live // nil under stale, and in views that do not read the leader's memory
	Caller     command.Caller
	Descending bool // by the view's key

	view        *View
	conditions  []condition
	order       *order
	after       []any // where a walk goes on: a place of order; nil: at its beginning
	openSegment func(digest string) (io.ReadCloser, error)
	err         error // why a path ended early
}

// fail ends the query with an error: the path that calls it yields nothing more.
func (q *Query) fail(err error) { q.err = err }

// values are those that the predicates allow a column to have, by = or IN; nil: they name none. NULL is one of them.
func (q *Query) values(column string) []any {
	for i := range q.conditions {
		if c := &q.conditions[i]; c.operator == Equal && q.view.Columns[c.index].Name == column {
			return c.values
		}
	}
	return nil
}

// only is the one value that the predicates leave to an integer column.
func (q *Query) only(column string) (int64, bool) {
	if values := q.values(column); len(values) == 1 {
		n, ok := values[0].(int64)
		return n, ok
	}
	return 0, false
}

// bound is the column's upper or lower bound, nil without one. A row equal to it need not match.
func (q *Query) bound(column string, upper bool) any {
	for i := range q.conditions {
		c := &q.conditions[i]
		if q.view.Columns[c.index].Name == column && (upper && c.operator.fromAbove() || !upper && c.operator.fromBelow()) {
			return c.values[0]
		}
	}
	return nil
}

// afterValue is the column's value in the place after which a walk goes on, nil without one.
func (q *Query) afterValue(column string) any {
	if q.after == nil {
		return nil
	}
	for i, s := range q.order.by {
		if q.view.Columns[s.index].Name == column {
			return q.after[i]
		}
	}
	return nil
}

// Live is what only the leader's memory knows.
type Live interface {
	// Reason tells why a pending execution has not been granted, or what is known of a silent running one: a code
	// (command.ReasonSilent and the like) with its arguments.
	Reason(executionID int64) (code string, args []string, ok bool)
	// LastContact is when the leader last heard from a worker.
	LastContact(worker string) (time.Time, bool)
	// Worker is what the leader knows of a registered worker at this moment.
	Worker(id string) (WorkerNow, bool)
	// LeaseUntil is when the lease of a running attempt ends if nothing renews it.
	LeaseUntil(ref command.AttemptRef) (time.Time, bool)
}

// WorkerNow is a worker as the leader sees it.
type WorkerNow struct {
	Online   bool // heard from within twice its agent heartbeat
	Draining bool // it takes nothing new: by its own word it holds nothing more
	Running  int  // attempts that it holds
}

// MessageSource opens a message segment: the local blob, else streamed from a holder.
type MessageSource interface {
	OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error)
}
