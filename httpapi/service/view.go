package service

import (
	"context"

	"scaleout/fsm/command"
	"scaleout/fsm/view"
)

// View is a view that a caller may read.
type View struct{ view *view.View }

// View finds a view by its name, in any case, and asks whether the caller may read it: a door does so before it looks
// at anything else that the caller sent. Errors are *command.Rejection.
func (s *Service) View(caller command.Caller, name string) (View, error) {
	v, err := view.Find(name)
	if err != nil {
		return View{}, err
	}
	if err := v.Authorize(s.cfg.State.Reader(), caller); err != nil {
		return View{}, err
	}
	return View{v}, nil
}

// MaxPageSize is the most rows of a page.
const MaxPageSize = view.MaxPageSize

// Query says what is to be read of a view.
type Query struct {
	Columns string // "column,column": what each row shows; "" is every column
	// Where has the predicates: the values by "column" or "column.operator".
	Where     map[string][]string
	Order     string // "column,-column"; "" is the view's key
	PageSize  int    // 0 is the default
	PageToken string // of the page before; "" is the first
	// Stale reads this node's state as it is, whoever leads, without what only the leader's memory knows.
	Stale bool
}

// Page is a part of a view's rows, with the index of the state that it is of.
type Page struct {
	view.Page
	Index uint64
}

// Read reads one page of a view: on the leader, behind a proof of leadership, or stale.
//
// Errors are *command.Rejection, or wrap an outcome of a proof that package command declares.
func (s *Service) Read(ctx context.Context, v View, caller command.Caller, q Query) (Page, error) {
	if err := v.view.Authorize(s.cfg.State.Reader(), caller); err != nil {
		return Page{}, err
	}
	r := view.Request{Caller: caller, Messages: s.cfg.Messages, Columns: q.Columns, Where: view.Where(q.Where),
		Order: q.Order, PageSize: q.PageSize, PageToken: q.PageToken}
	if !q.Stale {
		if err := s.cfg.Proposer.Read(ctx); err != nil {
			return Page{}, err
		}
		r.Live = s.cfg.Live
	}
	r.Reader = s.cfg.State.Reader()
	page, err := view.Select(ctx, v.view, r)
	return Page{Page: page, Index: r.Reader.Index()}, err
}
