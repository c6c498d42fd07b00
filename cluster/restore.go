package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/recovery"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// installJump is how far beyond the end of the log a restored state is put: the log grows while the state is made
// ready.
const installJump = 10_000

// LogPosition is where a state stands in the log: after the entry of that index and term.
type LogPosition struct{ Index, Term uint64 }

// RestoreReady returns where a restored state is to be put, or why a backup of the given feature level must not be
// restored now. Every master has to answer, because each must get the key ring.
func (n *Node) RestoreReady(ctx context.Context, level int) (LogPosition, error) {
	r, err := n.leading()
	if err != nil {
		return LogPosition{}, err
	}
	_, servers := n.configuration()
	for id, a := range n.peers.Statuses(ctx, others(servers, n.id), 2*time.Second) {
		switch {
		case a.Err != nil:
			return LogPosition{}, fmt.Errorf("%w: %s does not answer; all masters must be there while a backup is restored: %s",
				command.ErrRefused, n.nameOf(id), briefly(a.Err))
		case a.Level < level:
			return LogPosition{}, fmt.Errorf("%w: the backup is of feature level %d, %s knows levels up to %d: install a "+
				"newer version there",
				command.ErrLevel, level, n.nameOf(id), a.Level)
		}
	}
	return LogPosition{n.raft.LastIndex() + installJump, r.term}, nil
}

// SpreadKeyRing hands this master's key ring to every other master and returns when all have it.
func (n *Node) SpreadKeyRing(ctx context.Context) error {
	if n.cfg.KeyRing == nil {
		return nil
	}
	ring, err := n.cfg.KeyRing.Marshal()
	if err != nil {
		return errors.New("the key ring could not be encoded")
	}
	_, servers := n.configuration()
	for _, id := range others(servers, n.id) {
		if err := n.peers.Call(ctx, id, "/peer/keyring", nil, keyRingMessage{Ring: ring}, nil); err != nil {
			return fmt.Errorf("%w: %s did not take the key ring: %w", command.ErrRefused, n.nameOf(id), err)
		}
	}
	return nil
}

// Install makes a snapshot the state of the whole cluster: in place of all that it has, at every member. It holds
// commands back, asks check once nothing is on its way any more, and returns nil when a majority has the state and this
// master, if it leads still, has begun anew from it. Of the errors, command.ErrUnknownOutcome alone leaves open
// whether the state was taken over; with every other one nothing was changed. Where there are other masters, one that
// cannot know ends.
func (n *Node) Install(ctx context.Context, at LogPosition, size int64, snapshot io.Reader, check func() error) error {
	r, err := n.readyLeadership()
	if err != nil {
		return err
	}
	n.changes.Lock()
	defer n.changes.Unlock()
	defer r.proposer.Hold(ctx)()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := r.prover.Wait(ctx, time.Now()); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if last := n.raft.LastIndex(); last >= at.Index || r.term != at.Term {
		return fmt.Errorf("%w: the state was made ready for entry %d of term %d, and the log is at entry %d of term %d by "+
			"now; try again",
			command.ErrRefused, at.Index, at.Term, last, r.term)
	}
	_, servers := n.configuration()
	alone := len(servers) == 1
	if !alone {
		if err := recovery.MarkInstalling(n.cfg.Dir, n.cfg.Now()); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	before := n.restores()
	n.log.LogAttrs(ctx, slog.LevelWarn, "a restored state replaces this cluster's", slog.Uint64(logkey.Index, at.Index),
		slog.Int64(logkey.Bytes, size))
	err = n.install(r, at, size, snapshot)
	switch {
	case err == nil:
	case n.untouched(before, at, err):
		return errors.Join(fmt.Errorf("%w: %w", command.ErrRefused, err), recovery.ClearInstalling(n.cfg.Dir))
	case alone:
		// Its own disk decides: the next start reads what is there.
		n.log.LogAttrs(ctx, slog.LevelError, "this master ended, or lost its leadership, while it took a restored state",
			slog.Any(logkey.Err, err))
		return fmt.Errorf("%w: this master, the only one, ended before it was sure of the restored state; once it runs "+
			"again, "+
			"look whether the restored state is there: %w", command.ErrUnknownOutcome, err)
	default:
		n.log.LogAttrs(ctx, slog.LevelError,
			"this master ends itself: it took a restored state and the others did not confirm it", slog.Any(logkey.Err, err))
		n.die(fmt.Errorf("%w: %w", recovery.ErrInstalling, err), ExitStateMachine)
		return fmt.Errorf("%w: %w", command.ErrUnknownOutcome, err)
	}
	if !alone {
		if err := recovery.ClearInstalling(n.cfg.Dir); err != nil {
			n.log.LogAttrs(ctx, slog.LevelError,
				"the mark of the restore could not be cleared: this master will ask for an empty data directory "+
					"at its next start", slog.Any(logkey.Err, err))
		}
	}
	n.renew(ctx, r)
	return nil
}

// untouched reports whether the attempt to install a state has certainly changed nothing: Raft refused the state before
// the state machine had it, is not still working on it, and has left no snapshot of it that the next start would read.
func (n *Node) untouched(before uint64, at LogPosition, err error) bool {
	if n.restores() != before || errors.Is(err, raft.ErrRaftShutdown) {
		return false
	}
	list, err := n.cfg.Dir.Snapshots().List()
	if err != nil {
		return false
	}
	for _, s := range list {
		if s.Index >= at.Index {
			return false
		}
	}
	return true
}

// install waits for Raft, but not much longer than the generation lasts: some futures are never answered.
func (n *Node) install(r *leadership, at LogPosition, size int64, snapshot io.Reader) error {
	// Raft installs the state at the index that follows the given one.
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: at.Index - 1, Term: r.term, Size: size}
	done := make(chan error, 1)
	n.installs.Go(func() { done <- n.raft.Restore(meta, snapshot, 0) })
	select {
	case err := <-done:
		return err
	case <-r.ended:
	}
	select {
	case err := <-done:
		return err
	case <-time.After(4 * n.cfg.Timing.Election):
		return fmt.Errorf("%w: leadership ended meanwhile", raft.ErrRaftShutdown)
	}
}

// restores counts how often a snapshot has replaced the state.
func (n *Node) restores() uint64 {
	if m, ok := n.machine.(interface{ Restored() uint64 }); ok {
		return m.Restored()
	}
	return 0
}

// renew makes a leader begin anew, because what this leader has in memory was built from a state that is gone. If there
// are other masters, one of them takes over. renew returns when a master leads and is ready, as far as this one knows.
func (n *Node) renew(ctx context.Context, old *leadership) {
	old.ready.Store(false)
	if err := n.handOver(ctx, ""); err != nil && n.raft.State() == raft.Leader {
		// No other master can take over. A second notification that this node leads begins another generation here.
		select {
		case n.notify <- true:
		default:
		}
	}
	limit, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for limit.Err() == nil && n.raft.State() != raft.Shutdown {
		changed := n.LeaderChanged()
		if r := n.leadership.Load(); r != old && r != nil && r.ready.Load() {
			return
		}
		if l, known := n.Leader(); known && l.ID != n.id {
			return
		}
		select {
		case <-changed:
		case <-limit.Done():
		case <-time.After(n.cfg.Timing.Election):
		}
	}
}
