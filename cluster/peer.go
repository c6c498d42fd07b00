package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"scaleout/cluster/transport"
	"scaleout/fsm/command"
)

// peerServer answers other masters. It trusts the transport: only masters of this cluster get here.
type peerServer struct {
	n   *Node
	mux *http.ServeMux
}

// PeerHandler is the peer protocol, below /peer/, for the server behind Transport.Peer: other rooms mount theirs
// beside it.
func (n *Node) PeerHandler() http.Handler {
	s := &peerServer{n: n, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /peer/status", s.status)
	s.mux.HandleFunc("GET /peer/clock", s.clock)
	s.mux.HandleFunc("GET /peer/keyring", s.keyring)
	s.mux.HandleFunc("POST /peer/keyring", s.takeKeyring)
	s.mux.HandleFunc("GET /peer/proposal", s.proposal)
	s.mux.HandleFunc("POST /peer/promise", s.promise)
	s.mux.HandleFunc("POST /peer/release", s.release)
	s.mux.HandleFunc("POST /peer/join", s.join)
	s.mux.HandleFunc("POST /peer/remove", s.remove)
	s.mux.HandleFunc("POST /peer/barrier", s.barrier)
	return s
}

func (s *peerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := transport.PeerID(r); !ok {
		s.refuse(w, http.StatusForbidden, problem{Code: codeRefused, Detail: "this is for masters of the cluster only"})
		return
	}
	// The clock is asked by a new leader at once; everything else needs Raft.
	if !s.n.up() && r.URL.Path != "/peer/clock" {
		s.refuse(w, http.StatusServiceUnavailable, problem{Code: codeBusy, Detail: s.n.cfg.Name + " is starting"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *peerServer) status(w http.ResponseWriter, _ *http.Request) { answer(w, s.n.status()) }

func (s *peerServer) clock(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]int64{"clock": s.n.cfg.Now().UnixNano()})
}

func (s *peerServer) keyring(w http.ResponseWriter, _ *http.Request) {
	if s.n.cfg.KeyRing == nil {
		s.refuse(w, http.StatusNotFound, problem{Code: codeRefused, Detail: s.n.cfg.Name + " has no key ring"})
		return
	}
	ring, err := s.n.cfg.KeyRing.Marshal()
	if err != nil {
		s.fail(w, errors.New("the key ring could not be encoded"))
		return
	}
	answer(w, keyRingAnswer{Ring: ring})
}

// takeKeyring takes up keys that another master got from a backup.
func (s *peerServer) takeKeyring(w http.ResponseWriter, r *http.Request) {
	var in keyRingAnswer
	if !s.read(w, r, &in) {
		return
	}
	if s.n.cfg.KeyRing == nil {
		s.fail(w, fmt.Errorf("%w: %s has no key ring", command.ErrRefused, s.n.cfg.Name))
		return
	}
	s.done(w, s.n.cfg.KeyRing.Merge(in.Ring))
}

type keyRingAnswer struct {
	Ring []byte `json:"ring"`
}

func (s *peerServer) proposal(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]string{"fate": s.n.boot.fate(r.URL.Query().Get("id"))})
}

func (s *peerServer) promise(w http.ResponseWriter, r *http.Request) {
	var in promiseRequest
	if !s.read(w, r, &in) {
		return
	}
	caller, _ := transport.PeerID(r)
	s.done(w, s.n.promiseTo(in, caller))
}

func (s *peerServer) release(w http.ResponseWriter, r *http.Request) {
	var in releaseRequest
	if !s.read(w, r, &in) {
		return
	}
	caller, _ := transport.PeerID(r)
	s.done(w, s.n.boot.release(in.ID, caller))
}

func (s *peerServer) join(w http.ResponseWriter, r *http.Request) {
	var in joinRequest
	if !s.read(w, r, &in) {
		return
	}
	if caller, _ := transport.PeerID(r); in.ID != caller {
		s.fail(w, fmt.Errorf("%w: master %s asked for %s to be taken in", command.ErrRefused, caller, in.ID))
		return
	}
	s.done(w, s.n.takeIn(r.Context(), in))
}

// remove is a master's own wish to leave; an operator's wish comes in another way.
func (s *peerServer) remove(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	if caller, _ := transport.PeerID(r); id != caller {
		s.fail(w, fmt.Errorf("%w: master %s asked for %s to be removed", command.ErrRefused, caller, id))
		return
	}
	s.done(w, s.n.Remove(r.Context(), id, r.URL.Query().Get("force") == "1"))
}

func (s *peerServer) barrier(w http.ResponseWriter, r *http.Request) {
	index, err := s.n.leaderBarrier(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, barrierAnswer{Index: index})
}

type barrierAnswer struct {
	Index uint64 `json:"index"`
}

func (s *peerServer) read(w http.ResponseWriter, r *http.Request, into any) bool {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPeerBody))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, problem{Code: codeBad, Detail: err.Error()})
		return false
	}
	return true
}

func (s *peerServer) done(w http.ResponseWriter, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	answer(w, struct{}{})
}

func (s *peerServer) fail(w http.ResponseWriter, err error) {
	p, status := problem{Code: codeBusy, Detail: err.Error()}, http.StatusServiceUnavailable
	switch {
	case errors.Is(err, command.ErrNotLeader):
		p.Code = codeNotLeader
		if l, ok := s.n.Leader(); ok && l.ID != s.n.id {
			p.Leader = l.ID
		}
	case errors.Is(err, ErrRemoved):
		p.Code, status = codeRemoved, http.StatusConflict
	case errors.Is(err, command.ErrUnknownMember):
		p.Code, status = codeUnknown, http.StatusNotFound
	case errors.Is(err, command.ErrRefused), errors.Is(err, command.ErrLevel):
		p.Code, status = codeRefused, http.StatusConflict
	}
	s.refuse(w, status, p)
}

func (s *peerServer) refuse(w http.ResponseWriter, status int, p problem) {
	p.Status = status
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// status is what this node says about itself.
func (n *Node) status() Status {
	gone := n.leaderGone() // first: once it is so, the log grows no more
	free, trouble := n.disk()
	s := Status{
		ID: n.id, Name: n.cfg.Name, Address: n.cfg.AdvertiseAddress, Version: n.cfg.Version, Level: n.cfg.Level,
		BootstrapExpect: n.cfg.BootstrapExpect, HasState: n.hasLog(),
		Stopping: n.stopping.Load() || n.cfg.Gossip.Self().Stopping,
		State:    string(n.State()), Term: n.raft.CurrentTerm(),
		LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.raft.AppliedIndex(),
		LogBytes: n.cfg.Dir.Log().Bytes(), Clock: n.cfg.Now().UnixNano(), FreeBytes: free, Disk: trouble,
	}
	if _, id := n.raft.LeaderWithID(); id != "" {
		s.Leader, s.LeaderGone = string(id), gone
	}
	return s
}
