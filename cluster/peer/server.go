package peer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"scaleout/cluster/transport"
	"scaleout/fsm/command"
)

// ErrRemoved: the caller's data directory belongs to a master that has been removed from the cluster.
var ErrRemoved = errors.New("this master was removed from the cluster")

// Config of a Server. Every field is required.
type Config struct {
	// Name is this master's, for people.
	Name string
	// Started reports whether this master can answer. Before that it refuses every path but those in AlwaysServed.
	Started func() bool
	// AlwaysServed are the paths that need nothing of a started master.
	AlwaysServed []string
	// Leader is the id of the master that leads, if this one believes in one other than itself.
	Leader func() string
}

// Server answers other masters.
type Server struct {
	cfg Config
	mux *http.ServeMux
}

// NewServer makes a Server without routes.
func NewServer(cfg Config) *Server { return &Server{cfg: cfg, mux: http.NewServeMux()} }

// Call is one call of another master.
type Call struct {
	Caller string // node id, as the transport proved it
	Query  url.Values
}

// Get serves GET path: what f returns is the answer.
func (s *Server) Get(path string, f func(ctx context.Context, c Call) (any, error)) {
	s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, f)
	})
}

// Post serves POST path on s: the body is decoded into an In, and what f returns is the answer.
func Post[In any](s *Server, path string, f func(ctx context.Context, c Call, in In) (any, error)) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err == nil {
			err = json.Unmarshal(b, &in)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, Problem{Code: CodeBadRequest, Detail: err.Error()})
			return
		}
		s.serve(w, r, func(ctx context.Context, c Call) (any, error) { return f(ctx, c, in) })
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, f func(ctx context.Context, c Call) (any, error)) {
	caller, _ := transport.PeerID(r) // ServeHTTP has checked it
	out, err := f(r.Context(), Call{Caller: caller, Query: r.URL.Query()})
	if err != nil {
		s.fail(w, err)
		return
	}
	if out == nil {
		out = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// ServeHTTP serves the routes to masters of this cluster.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := transport.PeerID(r); !ok {
		refuse(w, http.StatusForbidden, Problem{Code: CodeRefused, Detail: "this is for masters of the cluster only"})
		return
	}
	s.serveMaster(w, r)
}

func (s *Server) serveMaster(w http.ResponseWriter, r *http.Request) {
	if !s.cfg.Started() && !slices.Contains(s.cfg.AlwaysServed, r.URL.Path) {
		refuse(w, http.StatusServiceUnavailable, Problem{Code: CodeBusy, Detail: s.cfg.Name + " is starting"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	p, status := Problem{Code: CodeBusy, Detail: err.Error()}, http.StatusServiceUnavailable
	switch {
	case errors.Is(err, command.ErrNotLeader):
		p.Code, p.Leader = CodeNotLeader, s.cfg.Leader()
	case errors.Is(err, ErrRemoved):
		p.Code, status = CodeRemoved, http.StatusConflict
	case errors.Is(err, command.ErrUnknownMember):
		p.Code, status = CodeUnknownMember, http.StatusNotFound
	case errors.Is(err, command.ErrRefused), errors.Is(err, command.ErrLevel):
		p.Code, status = CodeRefused, http.StatusConflict
	}
	refuse(w, status, p)
}

func refuse(w http.ResponseWriter, status int, p Problem) {
	p.Status = status
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}
