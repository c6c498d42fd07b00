package view

import (
	"container/heap"
	"context"
	"errors"
	"slices"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// scan reads a view's rows for one page.
type scan struct {
	view  *View
	q     *Query
	order *order
	equal []condition
	after registry.Row // sparse: only the order's columns are set; nil for the first page
	size  int
	seen  int // rows that the view yielded
	read  int // those after the page before
}

type condition struct {
	index int
	value any
}

func (s *scan) matches(row registry.Row) bool {
	for _, c := range s.equal {
		if !sqltype.Equal(row[c.index], c.value) {
			return false
		}
	}
	return true
}

// step looks every so often whether the caller has gone.
func (s *scan) step(ctx context.Context) error {
	s.seen++
	if s.seen%256 == 0 {
		return ctx.Err()
	}
	return nil
}

// walk takes rows as the view yields them, in the order of its key.
func (s *scan) walk(ctx context.Context) (rows []registry.Row, last registry.Row, err error) {
	s.q.After = s.after
	for row, err := range s.view.Rows(ctx, s.q) {
		hidden := errors.Is(err, errHidden)
		if err == nil || hidden {
			err = s.step(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
		if s.after != nil && s.order.compare(row, s.after) <= 0 {
			continue
		}
		s.read++
		if !hidden && s.matches(row) {
			if len(rows) == s.size {
				return rows, rows[len(rows)-1], nil
			}
			rows = append(rows, row)
		}
		if s.read >= MaxScan {
			return rows, row, nil
		}
	}
	return rows, nil, nil
}

// top keeps the first size+1 of all rows after the page before.
func (s *scan) top(ctx context.Context) (rows []registry.Row, last registry.Row, err error) {
	h := rowHeap{order: s.order}
	for row, err := range s.view.Rows(ctx, s.q) {
		hidden := errors.Is(err, errHidden)
		if err == nil || hidden {
			err = s.step(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
		if s.read++; s.read > MaxScan {
			return nil, nil, command.Refuse(command.CodeQueryTooBroad, s.view.Name, s.view.Key[0], MaxScan)
		}
		if hidden || !s.matches(row) || s.after != nil && s.order.compare(row, s.after) <= 0 {
			continue
		}
		if len(h.rows) <= s.size {
			heap.Push(&h, row)
		} else if s.order.compare(row, h.rows[0]) < 0 {
			h.rows[0] = row
			heap.Fix(&h, 0)
		}
	}
	rows = h.rows
	slices.SortFunc(rows, s.order.compare)
	if len(rows) > s.size {
		rows = rows[:s.size]
		last = rows[s.size-1]
	}
	return rows, last, nil
}

// rowHeap has the row that comes last in the order on top.
type rowHeap struct {
	rows  []registry.Row
	order *order
}

func (h *rowHeap) Len() int           { return len(h.rows) }
func (h *rowHeap) Less(i, j int) bool { return h.order.compare(h.rows[i], h.rows[j]) > 0 }
func (h *rowHeap) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h *rowHeap) Push(x any)         { h.rows = append(h.rows, x.(registry.Row)) }
func (h *rowHeap) Pop() any {
	last := h.rows[len(h.rows)-1]
	h.rows = h.rows[:len(h.rows)-1]
	return last
}
