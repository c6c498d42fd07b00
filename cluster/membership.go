package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/cluster/peer"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

const changeTimeout = 10 * time.Second

// Remove takes a master out of the configuration. It is refused if a majority of the remaining voters does not answer,
// or if something would be lost. force overrides both, but never removes the last voter. Only the leader can remove. A
// leader that is to remove itself hands leadership over and fails with command.ErrNotLeader: the caller asks the next
// leader.
func (n *Node) Remove(ctx context.Context, id string, force bool) error {
	return n.remove(ctx, id, force, false)
}

// remove is Remove. If gone is true the master's data is lost already, so only data that no other master has is a
// reason to refuse.
func (n *Node) remove(ctx context.Context, id string, force, gone bool) error {
	if _, err := n.leading(); err != nil {
		return err
	}
	_, servers := n.configuration()
	s, ok := findServer(servers, id)
	if !ok {
		return fmt.Errorf("%w: %q", command.ErrUnknownMember, id)
	}
	if s.Suffrage == raft.Voter {
		if err := n.mayLose(servers, s, force); err != nil {
			return err
		}
	}
	if !force && n.cfg.RemoveCheck != nil {
		if err := n.cfg.RemoveCheck(ctx, id, gone); err != nil {
			return fmt.Errorf("%w: without %s: %w", command.ErrRefused, n.nameOf(id), err)
		}
	}
	if id == n.id {
		if err := n.handOver(ctx, ""); err != nil {
			return err
		}
		return fmt.Errorf("%w any more: it handed leadership over to be removed by the next leader",
			command.ErrNotLeader)
	}
	name := n.nameOf(id)
	if err := n.change(ctx, func() raft.IndexFuture {
		return n.raft.RemoveServer(s.ID, 0, changeTimeout)
	}); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "a master was removed from the cluster", slog.String(logkey.Master, name),
		slog.String(logkey.MasterID, id), slog.Bool(logkey.Forced, force))
	return nil
}

// mayLose refuses a removal after which too few voters would answer to decide anything.
func (n *Node) mayLose(servers []raft.Server, gone raft.Server, force bool) error {
	remain, reachable := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == gone.ID {
			continue
		}
		remain++
		if n.heard(s.ID, 10) {
			reachable++
		}
	}
	name := n.nameOf(string(gone.ID))
	if remain == 0 {
		return fmt.Errorf("%w: %s is the only voter; stop it instead", command.ErrRefused, name)
	}
	if need := remain/2 + 1; !force && reachable < need {
		return fmt.Errorf("%w: without %s, %d of %d voters answer and %d are needed: the cluster would stop",
			command.ErrRefused, name, reachable, remain, need)
	}
	return nil
}

// Leave takes this node out of the cluster for good: its data directory is of no use afterwards. A node that only stops
// does not leave. Leave is refused for the same reasons as Remove.
func (n *Node) Leave(ctx context.Context, force bool) error {
	if !n.up() {
		return command.ErrNotReady
	}
	n.announce(ctx, func(m *gossip.Meta) { m.Stopping = true })
	undo := func() { n.announce(ctx, func(m *gossip.Meta) { m.Stopping = n.stopping.Load() }) }
	if _, err := n.leading(); err == nil {
		err := n.Remove(ctx, n.id, force)
		if !errors.Is(err, command.ErrNotLeader) {
			undo()
			return err
		}
	}
	query := url.Values{"id": {n.id}}
	if force {
		query.Set("force", "1")
	}
	for {
		changed := n.LeaderChanged()
		l, known := n.Leader()
		if known && l.ID != n.id {
			err := n.peers.Call(ctx, l.ID, "/peer/remove", query, struct{}{}, nil)
			if err == nil {
				n.removed.Store(true)
				n.log.LogAttrs(ctx, slog.LevelInfo, "this master has left the cluster")
				return nil
			}
			// Neither a leader that does not lead any more nor one that cannot know is a refusal.
			if p, refused := peer.Refusal(err); refused && p.Code != peer.CodeNotLeader && p.Code != peer.CodeBusy {
				if p.Code == peer.CodeUnknownMember {
					return nil // an earlier attempt has removed it
				}
				undo()
				return fmt.Errorf("%w: %s", command.ErrRefused, p.Detail)
			}
		}
		select {
		case <-ctx.Done():
			undo()
			return fmt.Errorf("leave: %w", context.Cause(ctx))
		case <-changed:
		case <-time.After(n.cfg.Timing.Election):
		}
	}
}

// change makes one change of the configuration and waits until it is committed. Of the errors, those that say that Raft
// had the change when leadership or the wait ended are command.ErrUnknownOutcome.
func (n *Node) change(ctx context.Context, f func() raft.IndexFuture) error {
	n.changes.Lock()
	defer n.changes.Unlock()
	limit, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	// Handing the change to Raft may block too, while Raft settles an earlier one.
	handed := make(chan raft.IndexFuture, 1)
	n.futures.Go(func() { handed <- f() })
	var err error
	select {
	case future := <-handed:
		err = n.await(limit, future)
	case <-limit.Done():
		err = context.Cause(limit)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", command.ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), limit.Err() != nil:
		return fmt.Errorf("%w: %w", command.ErrUnknownOutcome, err)
	}
	return err
}

// promoteRoutine makes voters of the non-voters that have caught up.
func (n *Node) promoteRoutine(ctx context.Context) error {
	usual := 20 * n.cfg.Timing.Election
	logAt := map[raft.ServerID]time.Time{} // when to log why a master is no voter yet
	for {
		_, servers := n.configuration()
		for _, s := range servers {
			if s.Suffrage != raft.Nonvoter {
				continue
			}
			err := n.promote(ctx, s)
			switch at, waits := logAt[s.ID]; {
			case err == nil:
				delete(logAt, s.ID)
			case ctx.Err() != nil:
			case !waits:
				logAt[s.ID] = time.Now().Add(usual)
			case time.Now().After(at):
				logAt[s.ID] = time.Now().Add(max(usual, time.Minute))
				n.log.LogAttrs(ctx, slog.LevelWarn, "a new master is no voter yet",
					slog.String(logkey.Master, n.nameOf(string(s.ID))), slog.String(logkey.MasterID, string(s.ID)),
					slog.Any(logkey.Err, err))
			}
		}
		if !pauseFor(ctx, max(n.cfg.Timing.Election, 200*time.Millisecond)) {
			return nil
		}
	}
}

// promote makes s a voter, or returns why it cannot be one yet.
func (n *Node) promote(ctx context.Context, s raft.Server) error {
	id := string(s.ID)
	if err := n.close(ctx, s.ID); err != nil {
		return err
	}
	if n.cfg.PromoteCheck != nil {
		if err := n.cfg.PromoteCheck(ctx, id); err != nil {
			return err
		}
		// The check may have taken long.
		if err := n.close(ctx, s.ID); err != nil {
			return err
		}
	}
	if err := n.change(ctx, func() raft.IndexFuture {
		return n.raft.AddVoter(s.ID, s.Address, 0,
			changeTimeout)
	}); err != nil {
		return err
	}
	n.log.LogAttrs(ctx, slog.LevelInfo, "a master became a voter", slog.String(logkey.Master, n.nameOf(id)),
		slog.String(logkey.MasterID, id))
	return nil
}

// close returns nil if a node's log is close to the leader's, else why it is not.
func (n *Node) close(ctx context.Context, id raft.ServerID) error {
	const near = 64
	goal := n.raft.CommitIndex()
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := n.peers.Status(limit, string(id))
	if err != nil {
		return err
	}
	switch level := n.machine.Reader().Level(); {
	case !n.heard(id, 2):
		return errors.New("it does not answer Raft")
	case s.Stopping:
		return errors.New("it is stopping")
	case s.Level < level:
		return fmt.Errorf("it knows levels up to %d, the cluster is at %d", s.Level, level)
	case s.LastIndex+near < goal || s.AppliedIndex+near < goal:
		return fmt.Errorf("it has applied %d of %d entries", s.AppliedIndex, goal)
	}
	return nil
}
