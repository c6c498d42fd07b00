package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/logkey"
	"scaleout/store"
)

// watchDisk ends a leader whose disk stalls. While Raft stores an entry it does nothing else: it cannot transfer
// leadership, verify it or shut down, and its heartbeats, which need no disk, keep the others from electing. So
// watchDisk runs outside Raft, shares no lock with it, and cuts its connections.
//
// It ends any master whose log has lost its end (see store.ErrTorn), which Raft does not notice.
//
// It also reports an entry that waits long to be committed, because of this disk or of the other masters; a master does
// not end for that.
//
// Both are measured in time in which this process ran: a tick that came late itself proves nothing.
func (n *Node) watchDisk(ctx context.Context) {
	limit := n.cfg.Timing.stall()
	clock := awakeClock{interval: limit / 20}
	tick := time.NewTicker(clock.interval)
	defer tick.Stop()
	var warned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.cfg.Dir.Log().Torn() {
			n.log.LogAttrs(ctx, slog.LevelError,
				"this master ends itself: the disk did not take the entries that replace the end of its log; started "+
					"again, it goes on from what the disk holds", slog.String(logkey.Path, n.cfg.Dir.Path()))
			n.die(fmt.Errorf("%w: %w", ErrStalled, store.ErrTorn), ExitStalled)
			return
		}
		// Measured before look is called, so that the clock knows of a pause in between.
		writing, waits := n.cfg.Dir.Log().Writing(), n.overdue()
		clock.look(time.Now())
		writing, waits = clock.running(writing), clock.running(waits)
		if n.raft.State() != raft.Leader {
			continue
		}
		if writing >= limit {
			n.giveUp(ctx, writing)
			return
		}
		if waits >= limit/2 && time.Since(warned) > 30*time.Second {
			warned = time.Now()
			ownDisk, why := writing > waits/2, "too few other masters take entries"
			if ownDisk {
				why = "this master's disk is slow"
			}
			n.log.LogAttrs(ctx, slog.LevelWarn, "an entry is not being committed", slog.String(logkey.Detail, why),
				slog.Duration(logkey.For, waits.Round(time.Millisecond)), slog.Uint64(logkey.Term, n.raft.CurrentTerm()))
			if n.cfg.SlowCommit != nil {
				n.cfg.SlowCommit(waits, ownDisk)
			}
		}
	}
}

// overdue returns how long the oldest entry given to Raft has been waiting to be committed, or 0 if that is nothing
// unusual.
func (n *Node) overdue() time.Duration {
	r := n.leadership.Load()
	if r == nil {
		return 0
	}
	waits := r.proposer.Oldest()
	if waits < n.cfg.Timing.stall()/2 {
		return 0
	}
	return waits
}

// giveUp lets the other masters elect: this node is not ready any more, cuts its Raft connections, logs a line if the
// disk allows it, and exits.
func (n *Node) giveUp(ctx context.Context, writing time.Duration) {
	if r := n.leadership.Load(); r != nil {
		r.ready.Store(false)
	}
	n.cfg.Transport.CutRaft()
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		n.log.LogAttrs(ctx, slog.LevelError,
			"this master ends itself: a write to its disk does not end, and while it leads nobody else can",
			slog.Duration(logkey.For, writing.Round(time.Millisecond)), slog.Duration(logkey.Limit, n.cfg.Timing.stall()),
			slog.String(logkey.Path, n.cfg.Dir.Path()))
	}()
	select {
	case <-logged:
	case <-time.After(200 * time.Millisecond): // the log may be on the same disk
	}
	n.die(fmt.Errorf("%w: a write has been running for %v", ErrStalled, writing.Round(time.Millisecond)), ExitStalled)
}

// watchLog takes a snapshot when the log has grown by snapshotBytes, whatever the number of entries. Raft itself only
// counts entries, and entries of this program are big.
func (n *Node) watchLog(ctx context.Context) {
	log := n.cfg.Dir.Log()
	base := uint64(0)
	for pauseFor(ctx, 5*time.Second) {
		size := log.Bytes()
		base = min(base, size) // old entries were deleted
		n.keepTrailing(ctx, size)
		if size-base < snapshotBytes {
			continue
		}
		err := n.await(ctx, n.raft.Snapshot())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot):
			n.log.LogAttrs(ctx, slog.LevelWarn, "a snapshot failed; it will be tried again", slog.Any(logkey.Err, err))
			continue
		}
		base = log.Bytes()
		n.log.LogAttrs(ctx, slog.LevelInfo, "a snapshot was taken because of the size of the log",
			slog.Uint64(logkey.Bytes, size), slog.Uint64(logkey.Left, base))
	}
}

// keepTrailing makes Raft keep about trailingBytes of entries behind a snapshot, for followers that lag a little, but
// never more entries than Config.Snapshots says.
func (n *Node) keepTrailing(ctx context.Context, size uint64) {
	first, err1 := n.cfg.Dir.Log().FirstIndex()
	last, err2 := n.cfg.Dir.Log().LastIndex()
	if err1 != nil || err2 != nil || last <= first {
		return
	}
	average := max(size/(last-first+1), 1)
	most := uint64(trailingEntries)
	if s := n.cfg.Snapshots; s != nil {
		most = s.Trailing
	}
	want := min(max(trailingBytes/average, 256), most)
	c := n.raft.ReloadableConfig()
	if now := c.TrailingLogs; want > now/2 && want < 2*now {
		return // near enough: each change wakes Raft's replication
	}
	c.TrailingLogs = want
	if err := n.raft.ReloadConfig(c); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "the number of log entries kept could not be set",
			slog.Any(logkey.Err, err))
	}
}
