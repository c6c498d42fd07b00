package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/leader"
	"scaleout/cluster/proposer"
	"scaleout/cluster/prover"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// leadership is one generation of leadership, as far as callers need it.
type leadership struct {
	Term
	term     uint64
	proposer *proposer.Proposer
	prover   *prover.Prover
	ready    atomic.Bool
	scope    *leader.Scope
	ended    <-chan struct{}
}

// establish prepares a newly elected leader: it compares clocks, applies its whole log (barrier) and rebuilds the
// caller's in-memory state. The order matters: without the barrier, the rebuilt state would lack entries of the
// previous leader.
func (n *Node) establish(ctx context.Context, s *leader.Scope) error {
	term := n.raft.CurrentTerm()
	if n.raft.State() != raft.Leader {
		return fmt.Errorf("%w any more", command.ErrNotLeader)
	}
	if _, trouble := n.disk(); trouble != "" && n.betterDisk(ctx) != "" {
		return fmt.Errorf("another master should lead: %s", trouble)
	}
	since := time.Now()
	r := &leadership{Term: Term{Number: term, Generation: s.Generation, Since: since}, term: term, scope: s,
		ended: ctx.Done()}
	r.prover = prover.New(prover.Config{
		Proof: func() time.Time {
			_, servers := n.configuration()
			if n.raft.CurrentTerm() != term {
				return time.Time{}
			}
			return n.wire.Proof(term, raft.ServerID(n.id), voterIDs(servers))
		},
		Answered: n.wire.Answered,
		Verify:   func() error { return n.raft.VerifyLeader().Error() },
		Go:       n.futures.Go,
		Limit:    n.cfg.Timing.doubt(),
	})
	r.proposer = proposer.New(proposer.Config{
		Term:      term,
		Apply:     n.raft.Apply,
		Stamp:     n.clocks.stamp,
		Committed: r.prover.Note,
		Go:        n.futures.Go,
		Metrics:   n.metrics,
	})
	n.leadership.Store(r)
	s.Go("propose", r.proposer.Run)
	s.Go("prove", r.prover.Run)

	_, servers := n.configuration()
	if ids := others(servers, n.id); len(ids) > 0 {
		n.compareClocks(ctx, ids, len(voterIDs(servers))/2, n.cfg.Timing.Election)
		n.clocks.warn(ctx, n.nameOf)
	}
	if _, _, err := r.proposer.ProposeOwn(ctx, &command.Noop{}); err != nil {
		return fmt.Errorf("catch up with the log: %w", err)
	}
	if err := n.ensureInitialised(ctx, r); err != nil {
		return err
	}
	if n.cfg.Establish != nil {
		if err := n.cfg.Establish(ctx, r.Term); err != nil {
			return err
		}
	}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return fmt.Errorf("%w any more", command.ErrNotLeader)
	}
	return nil
}

// ensureInitialised gives a new cluster its id and its level. Only the first leader finds a state without them.
func (n *Node) ensureInitialised(ctx context.Context, r *leadership) error {
	switch id := n.machine.Reader().ClusterID(); id {
	case n.cfg.ClusterID:
		return nil
	case "":
		// The level that every founder knows. If one of them is silent it is 1, and is raised later.
		level, _ := n.commonLevel(ctx)
		level = max(level, 1)
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		res, _, err := r.proposer.ProposeOwn(ctx, &command.InitCluster{ClusterID: n.cfg.ClusterID, Level: level,
			KeySecret: secret})
		if err != nil {
			return fmt.Errorf("initialise the cluster: %w", err)
		}
		if res.Rejection != nil {
			return fmt.Errorf("initialise the cluster: %w", res.Rejection)
		}
		n.log.LogAttrs(ctx, slog.LevelInfo, "a new cluster begins", slog.String(logkey.Cluster, n.cfg.ClusterID),
			slog.Int(logkey.FeatureLevel, level))
		return nil
	default:
		return fmt.Errorf("the state belongs to cluster %s, this master's certificate to cluster %s", id, n.cfg.ClusterID)
	}
}

func (n *Node) nowReady(*leader.Scope) {
	if r := n.leadership.Load(); r != nil {
		r.ready.Store(true)
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "this master leads", slog.Uint64(logkey.Term, r.term),
			slog.Uint64(logkey.Generation, r.Generation),
			slog.Duration(logkey.Took, time.Since(r.Since).Round(time.Millisecond)))
		n.watch.notify()
	}
}

func (n *Node) unready(*leader.Scope) {
	if r := n.leadership.Load(); r != nil {
		r.ready.Store(false)
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "this master does not lead any more",
			slog.Uint64(logkey.Term, r.term), slog.Uint64(logkey.Generation, r.Generation))
		n.watch.notify()
	}
}

// drop forgets what remains of a generation, or of a failed attempt to establish one.
func (n *Node) drop() {
	n.leadership.Store(nil)
	if n.cfg.Drop != nil {
		n.cfg.Drop()
	}
	n.watch.notify()
}

// handOverAfterFailure hands over a leadership that could not be established: no leader is better than a leader that
// takes no calls.
func (n *Node) handOverAfterFailure(ctx context.Context, _ error) {
	if n.raft.State() != raft.Leader {
		return
	}
	if err := n.handOver(ctx, ""); err != nil && ctx.Err() == nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "leadership could not be handed over; this master tries again to establish it",
			slog.Any(logkey.Err, err))
	}
}

// idleRoutine writes a no-op in each second without other commands, so that a stalled disk is noticed before a caller
// waits for it.
func (n *Node) idleRoutine(ctx context.Context) error {
	const every = time.Second
	for {
		r := n.leadership.Load()
		if r == nil {
			return nil
		}
		pause := every - r.proposer.Idle()
		if pause <= 0 {
			_, _, err := r.proposer.ProposeOwn(ctx, &command.Noop{})
			if err != nil && !errors.Is(err, command.ErrBusy) && ctx.Err() == nil {
				n.log.LogAttrs(ctx, slog.LevelDebug, "the idle no-op was not committed", slog.Any(logkey.Err, err))
			}
			pause = every
		}
		if !pauseFor(ctx, pause) {
			return nil
		}
	}
}
