package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"scaleout/fsm/logkey"

	"github.com/hashicorp/raft"
)

// Leader is the leader that one node believes in.
type Leader struct {
	ID      string
	Name    string
	Address string // "host:port"
	Term    uint64
	Since   time.Time // when this node learned it
}

// leaderWatch remembers who leads in which term, and wakes callers that wait for a change.
type leaderWatch struct {
	mu       sync.Mutex
	id       string
	address  string
	term     uint64
	since    time.Time
	changed  chan struct{}
	notified chan struct{}
}

func newLeaderWatch() *leaderWatch {
	return &leaderWatch{changed: make(chan struct{}), notified: make(chan struct{}, 1)}
}

// notify makes watchLeader look again. It never blocks.
func (v *leaderWatch) notify() {
	select {
	case v.notified <- struct{}{}:
	default:
	}
}

// update takes what Raft says now and reports whether leader or term changed. force wakes waiters even if neither did.
func (v *leaderWatch) update(id, address string, term uint64, force bool) (changed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	same := v.id == id && v.term == term
	if same && !force {
		return false
	}
	if !same {
		v.since = time.Now()
	}
	v.id, v.address, v.term = id, address, term
	close(v.changed)
	v.changed = make(chan struct{})
	return !same
}

// next is closed at the next change.
// next is closed at the next change.
func (v *leaderWatch) next() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// Leader returns the leader that this node believes in, and false if it knows of none. It is not a proof.
func (n *Node) Leader() (Leader, bool) {
	if !n.up() {
		return Leader{}, false
	}
	address, id := n.raft.LeaderWithID()
	if id == "" {
		return Leader{}, false
	}
	l := Leader{ID: string(id), Name: n.nameOf(string(id)), Address: string(address), Term: n.raft.CurrentTerm()}
	if string(id) == n.id {
		l.Address = n.cfg.AdvertiseAddress
	} else if a, ok := n.cfg.Gossip.Address(l.ID); ok {
		l.Address = a
	}
	n.watch.mu.Lock()
	if n.watch.id == l.ID && n.watch.term == l.Term {
		l.Since = n.watch.since
	} else {
		l.Since = time.Now()
	}
	n.watch.mu.Unlock()
	return l, true
}

// LeaderChanged is closed when this node hears of another leader, of no leader any more or of a higher term, and when
// this node becomes a ready leader or stops being one.
func (n *Node) LeaderChanged() <-chan struct{} { return n.watch.next() }

// IsLeader returns the Raft term in which this node leads, zero if it does not, and whether it is ready to take calls.
// It is not a proof: Read is.
func (n *Node) IsLeader() (term uint64, ready bool) {
	r := n.leadership.Load()
	if r == nil {
		return 0, false
	}
	return r.term, r.ready.Load()
}

// State is what a node is at the moment.
type State string

// The states of a node.
const (
	StateStarting  State = "starting"
	StateEmpty     State = "empty" // in no cluster yet: it waits to begin one or to join one
	StateFollower  State = "follower"
	StateCandidate State = "candidate"
	StateLeader    State = "leader"
	StateNonvoter  State = "nonvoter"
	StateRemoved   State = "removed"
	StateStopping  State = "stopping"
)

// State returns what this node is at the moment.
func (n *Node) State() State {
	switch {
	case !n.up():
		return StateStarting
	case n.stopping.Load():
		return StateStopping
	case n.removed.Load():
		return StateRemoved
	}
	_, servers := n.configuration()
	self, member := findServer(servers, n.id)
	switch {
	case !member:
		return StateEmpty
	case self.Suffrage != raft.Voter:
		return StateNonvoter
	}
	switch n.raft.State() {
	case raft.Leader:
		return StateLeader
	case raft.Candidate:
		return StateCandidate
	case raft.Shutdown:
		return StateStopping
	}
	return StateFollower
}

// Waiting says in a sentence what an empty master waits for. It is "" on a member.
func (n *Node) Waiting() string { return n.boot.Waiting() }

// watchLeader follows leader and term. Raft drops an observation that nobody takes, so an observation only makes it
// look, and a slow tick makes it look anyway.
func (n *Node) watchLeader(ctx context.Context) {
	seen := make(chan raft.Observation, 64)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState, raft.RequestVoteRequest:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	tick := time.NewTicker(n.cfg.Timing.Election / 4)
	defer tick.Stop()
	_, higher := n.wire.HigherTerm()
	for {
		force := false
		select {
		case <-ctx.Done():
			return
		case <-seen:
		case <-n.watch.notified:
			force = true
		case <-higher:
			_, higher = n.wire.HigherTerm()
		case <-tick.C:
		}
		heard, _ := n.wire.HigherTerm()
		address, id := n.raft.LeaderWithID()
		if n.watch.update(string(id), string(address), max(n.raft.CurrentTerm(), heard), force) && id != "" {
			n.log.LogAttrs(ctx, slog.LevelInfo, "leader", slog.String(logkey.Leader, n.nameOf(string(id))),
				slog.String(logkey.MasterID, string(id)), slog.Uint64(logkey.Term, n.raft.CurrentTerm()))
		}
		n.noteMembership(ctx)
	}
}

// noteMembership notices that this node was removed from the configuration, or is back in it.
func (n *Node) noteMembership(ctx context.Context) {
	_, servers := n.configuration()
	_, member := findServer(servers, n.id)
	gone := len(servers) > 0 && !member && n.raft.State() != raft.Leader
	if gone && !n.removed.Swap(true) {
		n.log.LogAttrs(ctx, slog.LevelError,
			"this master is not a member of its cluster any more; to bring the machine back, start it with an "+
				"empty data directory")
	} else if _, leader := n.raft.LeaderWithID(); member && leader != "" && n.removed.Swap(false) {
		n.log.LogAttrs(ctx, slog.LevelInfo, "this master is a member of its cluster again")
	}
}

// Member is one master as seen from this one.
type Member struct {
	ID          string
	Name        string
	Address     string
	Self        bool
	Leader      bool
	Role        string // "voter", "nonvoter", or "outside" for a master that only gossip knows
	Alive       bool   // gossip hears it, or it answered this call this call
	Version     string
	Level       int
	State       State
	Stopping    bool
	LastIndex   uint64
	Applied     uint64
	Lag         uint64        // how many entries of this node it lacks
	LastContact time.Time     // on the leader only: when it last answered Raft under the present leadership
	ClockOffset time.Duration // how far its clock is ahead of this node's
	ClockKnown  bool
	FreeBytes   int64  // -1: unknown
	Disk        string // why it must not lead with its disk; "" if the disk is healthy
	Err         string // why it did not answer
}

// briefly is what a person needs to know of a failed call. The member's row shows its id already.
func briefly(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op):
		return op.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return err.Error()
}

// Members returns all masters, sorted by name. It asks each of them and waits for at most half a second.
func (n *Node) Members(ctx context.Context) []Member {
	if !n.up() {
		return nil
	}
	_, servers := n.configuration()
	seen := make(map[string]*Member)
	for _, s := range servers {
		m := &Member{ID: string(s.ID), Address: string(s.Address), Role: "voter"}
		if s.Suffrage != raft.Voter {
			m.Role = "nonvoter"
		}
		seen[m.ID] = m
	}
	for _, g := range n.cfg.Gossip.Members() {
		m := seen[g.ID]
		if m == nil {
			m = &Member{ID: g.ID, Role: "outside"}
			seen[g.ID] = m
		}
		m.Name, m.Address, m.Version, m.Level, m.Stopping, m.Alive = g.Name, g.Address, g.Version, g.Level, g.Stopping, true
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		if id != n.id {
			ids = append(ids, id)
		}
	}
	answers := n.peers.Statuses(ctx, ids, 500*time.Millisecond)
	own := n.status()
	_, leader := n.raft.LeaderWithID()
	leading := n.leadership.Load()
	list := make([]Member, 0, len(seen))
	for id, m := range seen {
		m.Self, m.Leader = id == n.id, id == string(leader)
		s, err := own, error(nil)
		if !m.Self {
			a := answers[id]
			s, err = a.Status, a.Err
			if offset, ok := n.clocks.offset(id); ok {
				m.ClockOffset, m.ClockKnown = offset, true
			}
			if at, ok := n.wire.Contact(raft.ServerID(id)); ok && leading != nil && at.After(leading.Since) {
				m.LastContact = at // an answer to an earlier leadership of this node says nothing about its silence now
			}
		}
		if err != nil {
			m.Err, m.FreeBytes = briefly(err), -1
		} else {
			m.Alive, m.Stopping = true, s.Stopping
			m.Version, m.Level, m.State = s.Version, s.Level, State(s.State)
			m.LastIndex, m.Applied, m.FreeBytes, m.Disk = s.LastIndex, s.AppliedIndex, s.FreeBytes, s.Disk
			m.Name = s.Name
			if own.LastIndex > s.LastIndex {
				m.Lag = own.LastIndex - s.LastIndex
			}
		}
		if m.Name == "" {
			m.Name = n.nameOf(id)
		}
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return list
}
