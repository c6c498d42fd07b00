package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"scaleout/cluster/gossip"
	"scaleout/cluster/peer"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Barrier returns when this node's state has everything that the cluster had committed when Barrier was called.
func (n *Node) Barrier(ctx context.Context) error {
	if !n.up() {
		return command.ErrNotReady
	}
	index, err := n.leaderBarrier(ctx)
	if errors.Is(err, command.ErrNotLeader) {
		l, ok := n.Leader()
		if !ok || l.ID == n.id {
			return command.ErrNoLeader
		}
		var a barrierAnswer
		if err := n.peers.Call(ctx, l.ID, "/peer/barrier", nil, struct{}{}, &a); err != nil {
			return fmt.Errorf("barrier: %w", err)
		}
		index, err = a.Index, nil
	}
	if err != nil {
		return err
	}
	for n.machine.Index() < index {
		if !pauseFor(ctx, 5*time.Millisecond) {
			return fmt.Errorf("barrier: this master has applied %d of %d entries: %w", n.machine.Index(), index,
				context.Cause(ctx))
		}
	}
	return nil
}

// leaderBarrier commits a no-op and returns its index.
func (n *Node) leaderBarrier(ctx context.Context) (uint64, error) {
	r, err := n.readyLeadership()
	if err != nil {
		return 0, err
	}
	_, index, err := r.proposer.ProposeOwn(ctx, &command.Noop{})
	return index, err
}

// catchUp does what a member has to do whenever it hears of another leader: it fetches the key ring and reports a
// changed address. Once after its start it also waits until its state is current.
func (n *Node) catchUp(ctx context.Context) {
	var served string // the leader with which this is done
	var alone time.Time
	for ctx.Err() == nil {
		changed := n.LeaderChanged()
		l, known := n.Leader()
		switch {
		case !n.hasLog():
		case !known:
			if alone.IsZero() {
				alone = time.Now()
			}
			if time.Since(alone) > 20*n.cfg.Timing.Election {
				alone = time.Now()
				n.askWhetherMember(ctx)
			}
		default:
			alone = time.Time{}
			n.markCaughtUp(ctx)
			if served != l.ID && n.greet(ctx, l) {
				served = l.ID
			}
		}
		t := time.NewTimer(max(n.cfg.Timing.Election, 500*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (n *Node) markCaughtUp(ctx context.Context) {
	select {
	case <-n.caught:
		return
	default:
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if n.Barrier(limit) == nil {
		n.announce(ctx, func(m *gossip.Meta) { m.HasState = true })
		close(n.caught)
	}
}

// greet fetches the leader's key ring and has this node's new address written to the configuration. It returns false if
// that has to be tried again.
func (n *Node) greet(ctx context.Context, l Leader) bool {
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if n.cfg.KeyRing != nil && l.ID != n.id {
		var a keyRingMessage
		if err := n.peers.Call(limit, l.ID, "/peer/keyring", nil, nil, &a); err != nil {
			n.log.LogAttrs(ctx, slog.LevelDebug, "the leader's key ring could not be fetched yet", slog.Any(logkey.Err, err))
			return false
		}
		if err := n.cfg.KeyRing.Merge(a.Ring); err != nil {
			n.log.LogAttrs(ctx, slog.LevelError,
				"the leader's key ring could not be taken up; secrets sealed with its keys cannot be opened here",
				slog.Any(logkey.Err, err))
			return false
		}
	}
	_, servers := n.configuration()
	if self, ok := findServer(servers, n.id); ok && string(self.Address) != n.cfg.AdvertiseAddress {
		err := error(nil)
		if l.ID == n.id {
			err = n.readdress(limit, self, n.cfg.AdvertiseAddress)
		} else {
			err = n.askToJoin(ctx, l.ID)
		}
		if err != nil {
			n.log.LogAttrs(ctx, slog.LevelWarn, "this master's new address is not in the configuration yet",
				slog.String(logkey.Address, n.cfg.AdvertiseAddress), slog.String(logkey.Was, string(self.Address)),
				slog.Any(logkey.Err, err))
			return false
		}
	}
	return true
}

// askWhetherMember finds out, after a while without a leader, whether the others have removed this node meanwhile.
// Masters do not talk to a removed node, so it would not learn it in any other way.
func (n *Node) askWhetherMember(ctx context.Context) {
	for _, m := range n.cfg.Gossip.Members() {
		if !m.HasState || m.ID == n.id {
			continue
		}
		err := n.askToJoin(ctx, m.ID)
		if p, ok := peer.Refusal(err); ok && p.Code == peer.CodeRemoved && !n.removed.Swap(true) {
			n.log.LogAttrs(ctx, slog.LevelError, "this master was removed from its cluster while it was away",
				slog.String(logkey.Err, p.Detail))
		}
		if err == nil {
			return
		}
	}
}
