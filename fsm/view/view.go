package view

import (
	"iter"
	"math"
	"slices"
	"sync"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// All returns every view, by name. The slice and what it points to must not be changed.
func All() []*View { return views().All() }

// Named returns the view of that name, in any case and without "catalog.".
func Named(name string) (*View, bool) { return views().Named(name) }

// Find is Named with a refusal ("view_not_found") that helps.
func Find(name string) (*View, error) { return views().Find(name) }

var views = sync.OnceValue(func() *registry.Names[*View] {
	return registry.NewNames(command.CodeViewNotFound, []*View{
		catalogPropertiesView(), executionParameterValuesView(), executionsView(), foldersView(), masterNodesView(),
		masterPropertiesView(), objectParametersView(), objectVersionsView(), operationMessagesView(), operationsView(),
		packagesView(), projectsView(), tasksView(), workerAgentsView(),
	}, func(v *View) []string { return []string{v.Name} })
})

// Authorize refuses ("permission_denied") a caller without the permission to read the view, in the state that the
// reader reads. Select does so too.
func (v *View) Authorize(r *catalog.Reader, c command.Caller) error {
	return catalog.Authorize(r, c, v.Permission, v.Name)
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

// Helpers of paths.

// integer is Takes of a path whose index holds integers.
func integer(v any) bool { _, ok := v.(int64); return ok }

// found yields what lookups of values find, in the order of the values as the query walks them.
func found[V, T any](q *Query, values []any, find func(V) (T, bool)) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, value := range inOrder(q, values) {
			if v, ok := find(value.(V)); ok && !yield(v) {
				return
			}
		}
	}
}

// inOrder sorts values as the query walks them.
func inOrder(q *Query, values []any) []any {
	values = slices.SortedFunc(slices.Values(values), sqltype.Compare)
	if q.Descending {
		slices.Reverse(values)
	}
	return values
}

// each yields the list of each value, one list after the other.
func each[V, T any](values []any, list func(V) iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, value := range values {
			for v := range list(value.(V)) {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// merged yields the lists of all values together in the order of ids as the query walks them, in which each list is.
func merged[T any](q *Query, values []any, id func(T) int64, listOf func(value int64) iter.Seq[T]) iter.Seq[T] {
	var all iter.Seq[T]
	for i, value := range values {
		if next := listOf(value.(int64)); i == 0 {
			all = next
		} else {
			all = merge(q, all, next, id)
		}
	}
	return all
}

// merge yields two sequences that are in the order of ids, as the query walks them, in that order.
func merge[T any](q *Query, a, b iter.Seq[T], id func(T) int64) iter.Seq[T] {
	return func(yield func(T) bool) {
		next, stop := iter.Pull(b)
		defer stop()
		y, more := next()
		for x := range a {
			for more && (id(y) < id(x)) != q.Descending {
				if !yield(y) {
					return
				}
				y, more = next()
			}
			if !yield(x) {
				return
			}
		}
		for more {
			if !yield(y) {
				return
			}
			y, more = next()
		}
	}
}

// everything is From of a path over all elements of a small list, in an order of its own.
func everything[T any](list func(r *catalog.Reader) iter.Seq[T]) func(*Query, any) iter.Seq[T] {
	return func(q *Query, _ any) iter.Seq[T] { return list(q.Reader) }
}

func empty[T any](func(T) bool) {}

// walked yields a short sequence that is in the order of ids as the query walks it.
func walked[T any](q *Query, seq iter.Seq[T]) iter.Seq[T] {
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

// Values of nullable columns.

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeOrNull is shownTime of a nullable column.
func timeOrNull(t command.Time) any {
	if t == 0 {
		return nil
	}
	return shownTime(t)
}

// shownTime is the instant in the seven decimals of its column: what a row shows must be what a filter and a page token
// can say.
func shownTime(t command.Time) command.Time { return t - (t%100+100)%100 }

func guidOrNull(s string) any {
	if g, ok := sqltype.ParseGUID(s); ok {
		return g
	}
	return nil
}

// seesOperation reports whether the query's caller may see an operation and what is inside it.
func seesOperation(q *Query, o operation) bool {
	return catalog.Can(q.Reader, q.Caller, command.RightRead, command.OperationObject(o.id(), o.caller()))
}

// seesExecution reports whether the query's caller may see an execution and what is inside it.
func seesExecution(q *Query, e execution) bool { return seesOperation(q, operation{execution: e}) }

// seesProject reports whether the query's caller may see a project and what is inside it.
func seesProject(q *Query, id int64) bool {
	return catalog.Can(q.Reader, q.Caller, command.RightRead, command.ProjectObject(id))
}
