package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Transfer hands leadership to the voter id, or to the best voter if id is empty. It returns nil when this node does
// not lead any more. Only the leader can.
func (n *Node) Transfer(ctx context.Context, id string) error {
	if _, err := n.leading(); err != nil {
		return err
	}
	return n.handOver(ctx, id)
}

// StepDown prepares to stop: no leadership is handed to this node any more, and if it leads, it hands leadership over.
// It returns nil if this node does not lead, or if it is the only voter, so that no other node could take over.
func (n *Node) StepDown(ctx context.Context) error {
	n.stopping.Store(true)
	n.announce(ctx, func(m *gossip.Meta) { m.Stopping = true })
	if !n.up() || n.raft.State() != raft.Leader {
		return nil
	}
	if _, servers := n.configuration(); len(voterIDs(servers)) < 2 {
		return nil
	}
	return n.handOver(ctx, "")
}

// candidate is a voter that could lead.
type candidate struct {
	server raft.Server
	name   string
	older  bool // it knows fewer levels than this node does, though enough for the cluster's level
	full   bool // its disk is not healthy enough to lead
	last   uint64
}

// handOver tries one voter after the other, once each. Raft gives up an attempt after an election time-out and refuses
// writes meanwhile, so the voter that lacks the fewest entries should come first.
func (n *Node) handOver(ctx context.Context, id string) (err error) {
	n.transfers.Lock()
	defer n.transfers.Unlock()
	list, err := n.candidates(ctx, id)
	if err != nil {
		return err
	}
	if r := n.leadership.Load(); r != nil {
		limit, cancel := context.WithTimeout(ctx, n.cfg.Timing.Election)
		release := r.proposer.Hold(limit)
		cancel()
		defer func() {
			if err != nil { // else they end with the generation, and are certain not to have been applied
				release()
			}
		}()
	}
	var errs []error
	for _, c := range list {
		if n.raft.State() != raft.Leader {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		started := time.Now()
		err := n.handTo(ctx, c.server)
		if err == nil {
			n.log.LogAttrs(ctx, slog.LevelInfo, "leadership handed over", slog.String(logkey.Master, c.name),
				slog.String(logkey.MasterID, string(c.server.ID)),
				slog.Duration(logkey.Took, time.Since(started).Round(time.Millisecond)))
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
	}
	if n.raft.State() != raft.Leader {
		return nil
	}
	return fmt.Errorf("%w: no master took over: %w", command.ErrRefused, errors.Join(append(errs, ctx.Err())...))
}

// candidates returns the voters that may take over, the best first.
func (n *Node) candidates(ctx context.Context, want string) ([]candidate, error) {
	_, servers := n.configuration()
	if want == n.id {
		return nil, fmt.Errorf("%w: %s leads already", command.ErrRefused, n.cfg.Name)
	}
	if want != "" {
		s, ok := findServer(servers, want)
		if !ok {
			return nil, fmt.Errorf("%w: %q", command.ErrUnknownMember, want)
		}
		if s.Suffrage != raft.Voter {
			return nil, fmt.Errorf("%w: %s is not a voter yet", command.ErrRefused, n.nameOf(want))
		}
		servers = []raft.Server{s}
	}
	ids := otherVoters(servers, n.id)
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: there is no other voter", command.ErrRefused)
	}
	level := n.machine.Reader().Level()
	var list []candidate
	var errs []error
	for id, a := range n.peers.Statuses(ctx, ids, max(n.cfg.Timing.Election, 500*time.Millisecond)) {
		name := n.nameOf(id)
		switch {
		case a.Err != nil:
			errs = append(errs, fmt.Errorf("%s does not answer: %s", name, briefly(a.Err)))
		case a.Stopping:
			errs = append(errs, fmt.Errorf("%s is stopping too", name))
		case a.Level < level:
			errs = append(errs, fmt.Errorf("%s runs an older version (level %d)", name, a.Level))
		case !n.heard(raft.ServerID(id), 2):
			errs = append(errs, fmt.Errorf("%s has not answered Raft for a while", name))
		default:
			s, _ := findServer(servers, id)
			list = append(list, candidate{server: s, name: name, older: a.Level < n.cfg.Level, full: a.Disk != "",
				last: a.LastIndex})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no master can take over: %w", command.ErrRefused, errors.Join(errs...))
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(falseFirst(a.full, b.full), falseFirst(a.older, b.older), cmp.Compare(b.last, a.last),
			cmp.Compare(a.server.ID, b.server.ID))
	})
	return list, nil
}

// falseFirst orders false before true.
func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// handTo makes one attempt to hand leadership to s.
func (n *Node) handTo(ctx context.Context, s raft.Server) error {
	limit, cancel := context.WithTimeout(ctx, 3*n.cfg.Timing.Election)
	defer cancel()
	err := n.await(limit, n.raft.LeadershipTransferToServer(s.ID, s.Address))
	// The future only says that the attempt is over. What counts is who leads.
	for range 10 {
		if n.raft.State() != raft.Leader {
			return nil
		}
		if err != nil || !pauseFor(limit, n.cfg.Timing.Election/20) {
			break
		}
	}
	if err == nil {
		err = errors.New("it did not take over in time")
	}
	return err
}

// futureWaiters counts the goroutines that wait for Raft's futures. Some futures are never answered, so nobody waits
// for these goroutines without a bound.
type futureWaiters struct{ n atomic.Int64 }

// Go runs f.
func (w *futureWaiters) Go(f func()) {
	w.n.Add(1)
	go func() {
		defer w.n.Add(-1)
		f()
	}()
}

// wait returns when no goroutine is left, or after limit.
func (w *futureWaiters) wait(limit time.Duration) {
	for deadline := time.Now().Add(limit); w.n.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// await waits for a Raft future, but not beyond the end of ctx. Some futures are never answered; then only the counted
// goroutine goes on waiting.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	n.futures.Go(func() { done <- f.Error() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leading returns the present generation, ready or not.
func (n *Node) leading() (*leadership, error) {
	if !n.up() {
		return nil, command.ErrNotReady
	}
	r := n.leadership.Load()
	if r == nil || n.raft.State() != raft.Leader {
		return nil, command.ErrNotLeader
	}
	return r, nil
}
