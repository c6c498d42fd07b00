package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/cluster/leader"
	"scaleout/cluster/recovery"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/store/hclog"
)

const (
	snapshotEntries = 8192
	snapshotBytes   = 64 << 20
	trailingEntries = 2 * snapshotEntries // a follower that was away for one snapshot still catches up from the log
	trailingBytes   = 2 * snapshotBytes
	shutdownLimit   = 15 * time.Second
)

// Snapshots says how often Raft checks, after how many entries it takes a snapshot, and how many it keeps behind one.
type Snapshots struct {
	Every             time.Duration
	Entries, Trailing uint64
}

func (n *Node) raftConfig(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.id)
	c.HeartbeatTimeout = n.cfg.Timing.Heartbeat
	c.ElectionTimeout = n.cfg.Timing.Election
	c.LeaderLeaseTimeout = n.cfg.Timing.Lease
	c.CommitTimeout = n.cfg.Timing.Commit
	c.MaxAppendEntries = 64 // the library counts entries, and entries of this program are big
	c.BatchApplyCh = false  // it would break the bound on how long an entry waits for Raft
	// a removed node says so and waits for its operator; after a shutdown it would only look broken
	c.ShutdownOnRemove = false
	c.TrailingLogs = trailingEntries
	c.SnapshotThreshold = snapshotEntries
	c.SnapshotInterval = 20 * time.Second
	if s := n.cfg.Snapshots; s != nil {
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = s.Every, s.Entries, s.Trailing
	}
	c.NotifyCh = notify
	c.Logger = hclog.New(n.log).Named("raft")
	c.NoLegacyTelemetry = true
	return c
}

// Run takes part in the cluster until ctx ends, and returns when everything that it started has ended: leader routines
// first, then gossip, peer connections and Raft. It returns an error if the node cannot go on, because the log cannot
// be opened, the state machine has failed or the disk stalls.
//
// A master that stops in good order calls StepDown and answers the calls that it holds before it cancels ctx.
func (n *Node) Run(ctx context.Context) error {
	// Buffered, because nobody reads it between the end of the last generation and the end of Raft.
	notify := make(chan bool, 16)
	n.notify = notify
	if err := recovery.CheckInstalling(n.cfg.Dir); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	n.wire = n.cfg.Transport.Raft()
	had := !n.cfg.Dir.New()
	var err error
	n.raft, err = raft.NewRaft(n.raftConfig(notify), n.machine, n.cfg.Dir.Log(), stableStore{n.cfg.Dir.Log(), n},
		n.cfg.Dir.Snapshots(), n.wire)
	if err != nil {
		return fmt.Errorf("cluster: open the log: %w", err)
	}
	if err := n.checkState(); err != nil {
		return errors.Join(err, n.shutdown())
	}
	close(n.started)
	n.announce(ctx, func(m *gossip.Meta) { m.HasState = had })

	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background, gossiping sync.WaitGroup
	gossipCtx, stopGossip := context.WithCancel(context.WithoutCancel(ctx)) // gossip outlasts the rest
	defer stopGossip()
	gossiping.Go(func() {
		if err := n.cfg.Gossip.Run(gossipCtx); err != nil {
			n.stopWith(err)
		}
	})
	leaderDone := make(chan struct{})
	go func() {
		defer close(leaderDone)
		_ = n.runner().Run(runCtx, notify)
	}()
	for _, loop := range []func(context.Context){n.watchLeader, n.succession, n.watchDisk, n.form, n.catchUp, n.watchLog} {
		background.Go(func() { loop(runCtx) })
	}

	var fatal error
	select {
	case <-runCtx.Done():
	case fatal = <-n.fatal:
	}
	n.stopping.Store(true)
	cancel()
	<-leaderDone
	background.Wait()
	stopGossip()
	gossiping.Wait()
	n.cfg.Transport.ClosePeerConnections()
	return errors.Join(fatal, n.shutdown())
}

// stopWith makes Run end with err.
func (n *Node) stopWith(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// shutdown ends Raft after it has answered its futures: Raft forgets those whose entries are committed and on their way
// to the state machine when it ends. A leader without a majority answers them when its lease ends. A stalled disk or a
// failed state machine can hold this up for ever, so the waits are bounded.
func (n *Node) shutdown() error {
	// Raft panics if it is shut down while the state machine takes over a restored state.
	n.installs.wait(shutdownLimit)
	n.futures.wait(2 * n.cfg.Timing.Election)
	done := make(chan error, 1)
	future := n.raft.Shutdown()
	close(n.ended)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		n.futures.wait(time.Second)
		return err
	case <-time.After(shutdownLimit):
		return fmt.Errorf("cluster: raft did not end within %v", shutdownLimit)
	}
}

// checkState refuses a state that is too new for this program or that belongs to another cluster than the certificate.
func (n *Node) checkState() error {
	v := n.machine.Reader()
	if have := v.Level(); have > n.cfg.Level {
		return fmt.Errorf("cluster: %w: the state of this master is at level %d, this program (version %s) knows levels "+
			"up to %d; start the newer version again",
			command.ErrLevel, have, n.cfg.Version, n.cfg.Level)
	}
	if id := v.ClusterID(); id != "" && id != n.cfg.ClusterID {
		return fmt.Errorf("cluster: the data directory belongs to cluster %s, the certificate to cluster %s; use the "+
			"certificates of the first, or an empty directory",
			id, n.cfg.ClusterID)
	}
	return nil
}

func (n *Node) announce(ctx context.Context, change func(*gossip.Meta)) {
	if err := n.cfg.Gossip.Update(change); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "gossip could not be updated", slog.Any(logkey.Err, err))
	}
}

// runner returns the runner that makes leadership a scope.
func (n *Node) runner() leader.Runner {
	own := []leader.Routine{
		{Name: "clock", Run: n.clockRoutine},
		{Name: "disk", Run: n.diskRoutine},
		{Name: "idle", Run: n.idleRoutine},
		{Name: "promote", Run: n.promoteRoutine},
		{Name: "level", Run: n.levelRoutine},
		{Name: "dead", Run: n.deadRoutine},
	}
	return leader.Runner{
		Establish: n.establish,
		Ready:     n.nowReady,
		Unready:   n.unready,
		Routines:  append(own, n.cfg.Routines...),
		Drop:      n.drop,
		HandOver:  n.handOverAfterFailure,
		Logger:    n.log,
	}
}
