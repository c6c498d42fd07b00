package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

// asMaster calls s as if the transport had proved that the caller is a master: serve is what comes after that check.
func asMaster(s *Server) *Client {
	return NewClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		s.serveMaster(w, r)
		return w.Result(), nil
	})})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newServer(started bool) *Server {
	return NewServer(Config{
		Name: "m1", Started: func() bool { return started }, AlwaysServed: []string{"/peer/clock"},
		Leader: func() string { return "node-2" },
	})
}

type number struct{ N int }

func TestACallIsAnswered(t *testing.T) {
	s := newServer(true)
	s.Get("/peer/get", func(_ context.Context, c Call) (any, error) { return number{len(c.Query.Get("q"))}, nil })
	Post(s, "/peer/post", func(_ context.Context, _ Call, in number) (any, error) { return number{in.N + 1}, nil })
	Post(s, "/peer/nothing", func(context.Context, Call, number) (any, error) { return nil, nil })
	c := asMaster(s)
	var out number
	if err := c.Call(t.Context(), "node-1", "/peer/get", map[string][]string{"q": {"four"}}, nil, &out); err != nil ||
		out.N != 4 {
		t.Errorf("GET: %+v, %v", out, err)
	}
	if err := c.Call(t.Context(), "node-1", "/peer/post", nil, number{1}, &out); err != nil || out.N != 2 {
		t.Errorf("POST: %+v, %v", out, err)
	}
	if err := c.Call(t.Context(), "node-1", "/peer/nothing", nil, number{1}, nil); err != nil {
		t.Error(err)
	}
	var p *Problem
	if err := c.Call(t.Context(), "node-1", "/peer/post", nil, "no number", nil); !errors.As(err, &p) ||
		p.Code != CodeBadRequest {
		t.Errorf("a body that is none: %v", err)
	}
}

// Each outcome reaches the other master as the code by which it decides what to do next.
func TestOutcomesBecomeCodes(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		code   string
		status int
		leader string
	}{
		"not the leader": {fmt.Errorf("%w any more", command.ErrNotLeader), CodeNotLeader, http.StatusServiceUnavailable,
			"node-2"},
		"removed":         {fmt.Errorf("%w: m3", ErrRemoved), CodeRemoved, http.StatusConflict, ""},
		"unknown member":  {fmt.Errorf("%w: m3", command.ErrUnknownMember), CodeUnknownMember, http.StatusNotFound, ""},
		"refused":         {fmt.Errorf("%w: harm", command.ErrRefused), CodeRefused, http.StatusConflict, ""},
		"level":           {command.ErrLevel, CodeRefused, http.StatusConflict, ""},
		"stopping":        {command.ErrStopping, CodeBusy, http.StatusServiceUnavailable, ""},
		"any other error": {errors.New("disk"), CodeBusy, http.StatusServiceUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(true)
			s.Get("/peer/x", func(context.Context, Call) (any, error) { return nil, c.err })
			err := asMaster(s).Call(t.Context(), "node-1", "/peer/x", nil, nil, nil)
			p, refused := Refusal(err)
			if !refused || p.Code != c.code || p.Status != c.status || p.Leader != c.leader || p.Detail != c.err.Error() {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestAMasterThatStartsAnswersOnlyWhatNeedsNothing(t *testing.T) {
	s := newServer(false)
	for _, path := range []string{"/peer/clock", "/peer/other"} {
		s.Get(path, func(context.Context, Call) (any, error) { return number{1}, nil })
	}
	c := asMaster(s)
	if err := c.Call(t.Context(), "node-1", "/peer/clock", nil, nil, nil); err != nil {
		t.Error(err)
	}
	p, refused := Refusal(c.Call(t.Context(), "node-1", "/peer/other", nil, nil, nil))
	if !refused || p.Code != CodeBusy || !strings.Contains(p.Detail, "m1 is starting") {
		t.Errorf("%+v", p)
	}
}

func TestOnlyMastersAreAnswered(t *testing.T) {
	s := newServer(true)
	s.Get("/peer/x", func(context.Context, Call) (any, error) { t.Error("it is served"); return nil, nil })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/peer/x", nil))
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}
