package view

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Views returns every view, by name. The slice and what it points to must not be changed.
func All() []*View { return views().list }

// ViewNamed returns the view of that name, in any case and without "catalog.".
func Named(name string) (*View, bool) {
	v, ok := views().byName[sqltype.Fold(name)]
	return v, ok
}

// FindView is ViewNamed with a refusal ("view_not_found") that helps.
func Find(name string) (*View, error) {
	if v, ok := Named(name); ok {
		return v, nil
	}
	names := make([]string, len(All()))
	for i, v := range All() {
		names[i] = v.Name
	}
	return nil, command.Refuse(command.CodeViewNotFound, name, names)
}

type viewTable struct {
	list   []*View
	byName map[string]*View
}

var views = sync.OnceValue(func() viewTable {
	t := viewTable{list: slices.Concat(clusterViews(), projectViews(), executionViews(), messageViews())}
	slices.SortFunc(t.list, func(a, b *View) int { return strings.Compare(a.Name, b.Name) })
	t.byName = make(map[string]*View, len(t.list))
	for _, v := range t.list {
		t.byName[sqltype.Fold(v.Name)] = v
	}
	return t
})

// Authorize refuses ("permission_denied") a caller without the permission to read the view. Select does so too.
func (v *View) Authorize(c command.Caller) error {
	return catalog.Authorize("read "+v.Name, v.Permission, c)
}

// Column returns the position of a column, in any case.
func (v *View) Column(name string) (int, bool) {
	for i := range v.Columns {
		if sqltype.EqualText(v.Columns[i].Name, name) {
			return i, true
		}
	}
	return 0, false
}

// errHidden stands beside a row that was read but is not shown, as its caller may not see it or nothing of it is left:
// only the key's columns are set. So that what is not shown counts, too, and a walk can go on from there.
var errHidden = errors.New("catalog: a row that is not shown")

// rowsOf makes a view's function of a sequence and a function that turns an element into a row.
func rowsOf[T any](list func(q *Query) iter.Seq[T],
	row func(q *Query, v T) registry.Row) func(context.Context, *Query) iter.Seq2[registry.Row, error] {
	return visibleRowsOf(list, func(q *Query, v T) (registry.Row, error) { return row(q, v), nil })
}

// visibleRowsOf is rowsOf for elements that may be hidden.
func visibleRowsOf[T any](list func(q *Query) iter.Seq[T],
	row func(q *Query, v T) (registry.Row, error)) func(context.Context, *Query) iter.Seq2[registry.Row, error] {
	return func(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
		return func(yield func(registry.Row, error) bool) {
			for v := range list(q) {
				if !yield(row(q, v)) {
					return
				}
			}
		}
	}
}

// one is a sequence of what a lookup found.
func one[T any](v T, ok bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		if ok {
			yield(v)
		}
	}
}

func empty[T any](func(T) bool) {}

// always is Walks of a view whose Rows are in key order whatever the filter.
func always(*Query) bool { return true }

// walked yields a short sequence that is in the order of ids as the query walks it.
func walked[T any](seq iter.Seq[T], q *Query) iter.Seq[T] {
	if !q.Descending {
		return seq
	}
	return func(yield func(T) bool) {
		for _, v := range slices.Backward(slices.Collect(seq)) {
			if !yield(v) {
				return
			}
		}
	}
}

// lastPlace is a number behind all others in the direction of the walk, for the second column of a key.
func lastPlace(q *Query) int64 {
	if q.Descending {
		return math.MinInt32
	}
	return math.MaxInt32
}

// equalInt is the filter's value of an integer column; ok is false without a filter or for IS NULL.
func equalInt(q *Query, column string) (int64, bool) {
	n, ok := q.Equal[column].(int64)
	return n, ok
}

// Values of nullable columns.

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeOrNull is the instant in the seven decimals of its column: what a row shows must be what a filter and a page
// token can say.
func timeOrNull(t command.Time) any {
	if t == 0 {
		return nil
	}
	return t - (t%100+100)%100
}

func guidOrNull(s string) any {
	if g, ok := sqltype.ParseGUID(s); ok {
		return g
	}
	return nil
}

// sees reports whether the query's caller may see an operation.
func sees(q *Query, id int64, owner string) bool {
	return catalog.Can(q.View, q.Caller, catalog.Read, catalog.OperationObject(id, owner))
}
