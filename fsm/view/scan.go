package view

import (
	"container/heap"
	"context"
	"slices"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

// reading is the reading of a view's elements by one query.
type reading interface {
	// ordered reports whether the elements come in the order of the key, in the query's direction.
	ordered() bool
	// reorder leaves the path for the one over everything, and reports whether that one is ordered.
	reorder() bool
	// walk reads a page from elements that come in the query's order; top sorts them.
	walk(ctx context.Context, s *scan) (rows []registry.Row, last []any, err error)
	top(ctx context.Context, s *scan) (rows []registry.Row, last []any, err error)
}

// scan is what a page asks for, and what was read for it.
type scan struct {
	columns []int // what a row shows
	after   []any // the place of the last row of the page before; nil for the first page
	size    int
	read    int // elements that the path yielded after the page before
}

// elements are those of a declaration on the path that was chosen.
type elements[T any] struct {
	*declaration[T]
	query *Query
	path  *path[T]
}

func (e *elements[T]) ordered() bool { return e.path.Ordered }

func (e *elements[T]) reorder() bool {
	e.path = &e.Paths[len(e.Paths)-1]
	return e.path.Ordered
}

// matches reports whether an element is shown: what its caller may see, as the predicates say.
func (e *elements[T]) matches(v T) bool {
	if e.Gap != nil && e.Gap(v) || e.Visible != nil && !e.Visible(e.query, v) {
		return false
	}
	for i := range e.query.conditions {
		if c := &e.query.conditions[i]; !c.holds(e.value(e.query, c.index, v)) {
			return false
		}
	}
	return true
}

// place sets into to the values of an element in the order's columns.
func (e *elements[T]) place(v T, into []any) []any {
	into = into[:0]
	for _, s := range e.query.order.by {
		into = append(into, e.value(e.query, s.index, v))
	}
	return into
}

// row has the columns that were asked for.
func (e *elements[T]) row(s *scan, v T) registry.Row {
	row := make(registry.Row, len(s.columns))
	for i, column := range s.columns {
		row[i] = e.value(e.query, column, v)
	}
	return row
}

// limits are the conditions that a path in the order of the key can leave behind for good.
func (e *elements[T]) limits() (list []*condition) {
	for i := range e.query.conditions {
		c := &e.query.conditions[i]
		name := e.Columns[c.index].Name
		if e.path.Ordered && (name == e.Key[0] || slices.Contains(e.Rising, name)) &&
			(e.query.Descending && c.operator.fromBelow() || !e.query.Descending && c.operator.fromAbove()) {
			list = append(list, c)
		}
	}
	return list
}

// behind reports whether an element and all that follow it are outside of a limit.
func (e *elements[T]) behind(v T, limits []*condition) bool {
	for _, c := range limits {
		if !c.holds(e.value(e.query, c.index, v)) {
			return true
		}
	}
	return false
}

// walk takes elements as the path yields them, in the order of the key.
func (e *elements[T]) walk(ctx context.Context, s *scan) (rows []registry.Row, last []any, err error) {
	limits, place := e.limits(), make([]any, 0, len(e.query.order.by))
	var shown T
	for v := range e.path.all(e.query) {
		if err := ctx.Err(); err != nil { // each: a LIKE over a long text takes its time
			return nil, nil, err
		}
		if s.after != nil {
			if place = e.place(v, place); e.query.order.compare(place, s.after) <= 0 {
				continue
			}
		}
		if e.behind(v, limits) {
			return rows, nil, nil
		}
		s.read++
		if e.matches(v) {
			if len(rows) == s.size {
				return rows, e.place(shown, nil), nil
			}
			rows, shown = append(rows, e.row(s, v)), v
		}
		if s.read >= MaxScan {
			return rows, e.place(v, nil), nil
		}
	}
	return rows, nil, e.query.err
}

// top keeps the first size+1 of all rows after the page before.
func (e *elements[T]) top(ctx context.Context, s *scan) (rows []registry.Row, last []any, err error) {
	limits, place := e.limits(), make([]any, 0, len(e.query.order.by))
	h := placeHeap[T]{order: e.query.order}
	for v := range e.path.all(e.query) {
		if err := ctx.Err(); err != nil { // each: a LIKE over a long text takes its time
			return nil, nil, err
		}
		if e.behind(v, limits) {
			break
		}
		if s.read++; s.read > MaxScan {
			return nil, nil, command.Refuse(command.CodeQueryTooBroad, e.Name, e.Key[0], MaxScan)
		}
		if !e.matches(v) {
			continue
		}
		if place = e.place(v, place); s.after != nil && h.order.compare(place, s.after) <= 0 {
			continue
		}
		if len(h.list) <= s.size {
			heap.Push(&h, placed[T]{slices.Clone(place), v})
		} else if h.order.compare(place, h.list[0].place) < 0 {
			h.list[0] = placed[T]{slices.Clone(place), v}
			heap.Fix(&h, 0)
		}
	}
	if e.query.err != nil {
		return nil, nil, e.query.err
	}
	slices.SortFunc(h.list, func(a, b placed[T]) int { return h.order.compare(a.place, b.place) })
	if len(h.list) > s.size {
		h.list = h.list[:s.size]
		last = h.list[s.size-1].place
	}
	for _, x := range h.list {
		rows = append(rows, e.row(s, x.element))
	}
	return rows, last, nil
}

// placed is an element with its place in the order.
type placed[T any] struct {
	place   []any
	element T
}

// placeHeap has the element that comes last in the order on top.
type placeHeap[T any] struct {
	list  []placed[T]
	order *order
}

func (h *placeHeap[T]) Len() int { return len(h.list) }
func (h *placeHeap[T]) Less(i, j int) bool {
	return h.order.compare(h.list[i].place, h.list[j].place) > 0
}
func (h *placeHeap[T]) Swap(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *placeHeap[T]) Push(x any)    { h.list = append(h.list, x.(placed[T])) }
func (h *placeHeap[T]) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}
