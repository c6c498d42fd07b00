package service

import (
	"context"

	"scaleout/fsm/view"
)

// Read reads one page of a view: on the leader, behind a proof of leadership, or with stale from this node's state as
// it is, without what only the leader's memory knows. The request's Reader, Live and Messages are filled in here.
// It returns the index of the state that the page is of.
func (s *Service) Read(ctx context.Context, v *view.View, r view.Request, stale bool) (view.Page, uint64, error) {
	if err := v.Authorize(r.Caller); err != nil {
		return view.Page{}, 0, err
	}
	r.Live, r.Messages = nil, s.cfg.Messages
	if !stale {
		if err := s.cfg.Proposer.Read(ctx); err != nil {
			return view.Page{}, 0, err
		}
		r.Live = s.cfg.Live
	}
	r.Reader = s.cfg.State.Reader()
	page, err := view.Select(ctx, v, r)
	return page, r.Reader.Index(), err
}
