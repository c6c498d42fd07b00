package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"scaleout/cluster/peer"
	"scaleout/fsm/command"
)

const clockPath = "/peer/clock"

// keyRingMessage carries a key ring, secrets included, between masters.
type keyRingMessage struct {
	Ring []byte `json:"ring"`
}

type barrierAnswer struct {
	Index uint64 `json:"index"`
}

type clockAnswer struct {
	Clock int64 `json:"clock"` // nanoseconds since 1970
}

// PeerHandler serves what other masters ask of this node, below /peer/, on the server behind Transport.Peer. Other
// rooms mount their routes beside it.
func (n *Node) PeerHandler() http.Handler {
	s := peer.NewServer(peer.Config{
		Name: n.cfg.Name, Started: n.up, Leader: n.otherLeader,
		AlwaysServed: []string{clockPath}, // a new leader asks it at once; everything else needs Raft
	})
	s.Get(peer.StatusPath, func(context.Context, peer.Call) (any, error) { return n.status(), nil })
	s.Get(clockPath, func(context.Context, peer.Call) (any, error) { return clockAnswer{n.cfg.Now().UnixNano()}, nil })
	s.Get("/peer/keyring", func(context.Context, peer.Call) (any, error) { return n.keyRing() })
	// Another master got keys from a backup.
	peer.Post(s, "/peer/keyring", func(_ context.Context, _ peer.Call, in keyRingMessage) (any, error) {
		if n.cfg.KeyRing == nil {
			return nil, fmt.Errorf("%w: %s has no key ring", command.ErrRefused, n.cfg.Name)
		}
		return nil, n.cfg.KeyRing.Merge(in.Ring)
	})
	peer.Post(s, "/peer/join", func(ctx context.Context, c peer.Call, in joinRequest) (any, error) {
		if in.ID != c.Caller {
			return nil, fmt.Errorf("%w: master %s asked for %s to be taken in", command.ErrRefused, c.Caller, in.ID)
		}
		return nil, n.takeIn(ctx, in)
	})
	// A master's own wish to leave; an operator's wish comes in another way.
	peer.Post(s, "/peer/remove", func(ctx context.Context, c peer.Call, _ struct{}) (any, error) {
		id := c.Query.Get("id")
		if id != c.Caller {
			return nil, fmt.Errorf("%w: master %s asked for %s to be removed", command.ErrRefused, c.Caller, id)
		}
		return nil, n.Remove(ctx, id, c.Query.Get("force") == "1")
	})
	peer.Post(s, "/peer/barrier", func(ctx context.Context, _ peer.Call, _ struct{}) (any, error) {
		index, err := n.leaderBarrier(ctx)
		return barrierAnswer{index}, err
	})
	n.boot.Mount(s)
	return s
}

func (n *Node) keyRing() (any, error) {
	if n.cfg.KeyRing == nil {
		return nil, fmt.Errorf("%w: %s has no key ring", command.ErrRefused, n.cfg.Name)
	}
	ring, err := n.cfg.KeyRing.Marshal()
	if err != nil {
		return nil, errors.New("the key ring could not be encoded")
	}
	return keyRingMessage{ring}, nil
}

// otherLeader is the id of the leader that this node believes in, or "" if it knows of none or leads itself.
func (n *Node) otherLeader() string {
	if l, ok := n.Leader(); ok && l.ID != n.id {
		return l.ID
	}
	return ""
}

// status is what this node says about itself.
func (n *Node) status() peer.Status {
	// First: once the leader is gone the log grows no more, so the indexes below are final then.
	gone := n.leaderGone()
	free, trouble := n.disk()
	s := peer.Status{
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
