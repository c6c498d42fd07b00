package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/fsm/command"
)

// Transfer hands leadership to the voter id, or to the best one when id is empty. It returns nil when this node leads no
// more. Only the leader can.
func (n *Node) Transfer(ctx context.Context, id string) error {
	if _, err := n.leading(); err != nil {
		return err
	}
	return n.handOver(ctx, id)
}

// StepDown prepares to stop: nothing is handed to this node any more, and if it leads, it hands leadership over. It
// returns nil when this node does not lead, or is the only voter and nobody could take over.
func (n *Node) StepDown(ctx context.Context) error {
	n.stopping.Store(true)
	n.announce(func(m *gossip.Meta) { m.Stopping = true })
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
	older  bool // it knows less than we do, though enough for the cluster's level
	full   bool // its disk is none to lead with
	last   uint64
}

// handOver tries one voter after the other, once each. Raft gives up a try after an election time-out and refuses
// writes meanwhile, so the order matters: the first should be the one that needs the least.
func (n *Node) handOver(ctx context.Context, id string) (err error) {
	n.handing.Lock()
	defer n.handing.Unlock()
	list, err := n.candidates(ctx, id)
	if err != nil {
		return err
	}
	if r := n.reign.Load(); r != nil {
		limit, cancel := context.WithTimeout(ctx, n.cfg.Timing.Election)
		release := r.proposer.Hold(limit)
		cancel()
		defer func() {
			if err != nil { // else they end with the generation, certain of not having been applied
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
			n.log.Info("leadership handed over", "peer", c.name, "id", string(c.server.ID), "took", time.Since(started).Round(time.Millisecond))
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
	}
	if n.raft.State() != raft.Leader {
		return nil
	}
	return fmt.Errorf("%w: no master took over: %w", command.ErrRefused, errors.Join(append(errs, ctx.Err())...))
}

// candidates are the voters that may take over, the best first.
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
	level := n.machine.View().Level()
	var list []candidate
	var errs []error
	for id, a := range n.peers.Statuses(ctx, ids, max(n.cfg.Timing.Election, 500*time.Millisecond)) {
		name := n.nameOf(id)
		switch {
		case a.Err != nil:
			errs = append(errs, fmt.Errorf("%s does not answer: %s", name, why(a.Err)))
		case a.Stopping:
			errs = append(errs, fmt.Errorf("%s is stopping too", name))
		case a.Level < level:
			errs = append(errs, fmt.Errorf("%s runs an older version (level %d)", name, a.Level))
		case !n.heard(raft.ServerID(id), 2):
			errs = append(errs, fmt.Errorf("%s has not answered Raft for a while", name))
		default:
			s, _ := findServer(servers, id)
			list = append(list, candidate{server: s, name: name, older: a.Level < n.cfg.Level, full: a.Disk != "", last: a.LastIndex})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no master can take over: %w", command.ErrRefused, errors.Join(errs...))
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(after(a.full, b.full), after(a.older, b.older), cmp.Compare(b.last, a.last), cmp.Compare(a.server.ID, b.server.ID))
	})
	return list, nil
}

// after puts what is so behind what is not.
func after(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// handTo makes one attempt.
func (n *Node) handTo(ctx context.Context, s raft.Server) error {
	limit, cancel := context.WithTimeout(ctx, 3*n.cfg.Timing.Election)
	defer cancel()
	err := n.await(limit, n.raft.LeadershipTransferToServer(s.ID, s.Address))
	// The future answers when the attempt is over; what counts is who leads.
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

// watchers are goroutines that wait for Raft's futures. They are counted and not waited for without a bound.
type watchers struct{ n atomic.Int64 }

// Go runs f.
func (w *watchers) Go(f func()) {
	w.n.Add(1)
	go func() {
		defer w.n.Add(-1)
		f()
	}()
}

// wait returns when none is left, or after limit.
func (w *watchers) wait(limit time.Duration) {
	for deadline := time.Now().Add(limit); w.n.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// await waits for a Raft future, but no longer than ctx: some are never answered, and then only their watcher waits on.
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

// leading is the present generation, ready or not.
func (n *Node) leading() (*reign, error) {
	if !n.up() {
		return nil, command.ErrNotReady
	}
	r := n.reign.Load()
	if r == nil || n.raft.State() != raft.Leader {
		return nil, command.ErrNotLeader
	}
	return r, nil
}
