package transport

import (
	"context"
	"log/slog"
	"time"
)

// Old connections are looked at this often, and at most one is closed each time:
// a node never loses all its connections at once.
const retireStep = 50 * time.Millisecond

// rotate replaces the connections between masters after each change of
// certificates, until ctx ends.
func (t *Transport) rotate(ctx context.Context) {
	changed := t.cfg.Security.Changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		// Asked for before anything is renewed, so that a change meanwhile is seen.
		changed = t.cfg.Security.Changed()
		t.links.nextGeneration()
		t.peers.renew()
		t.log.LogAttrs(ctx, slog.LevelInfo, "certificates changed; connections between masters are being renewed")
		if !t.retire(ctx, changed) {
			return
		}
	}
}

// retire closes old connections until there are none, or the certificates change
// once more. It is false when ctx has ended.
func (t *Transport) retire(ctx context.Context, changed <-chan struct{}) bool {
	tick := time.NewTicker(retireStep)
	defer tick.Stop()
	for {
		old := t.links.old(time.Now())
		t.peers.sweep(len(old) == 0)
		if len(old) == 0 {
			return true
		}
		if l := t.nextToRetire(old, time.Now()); l != nil {
			t.metrics.retired()
			l.sever()
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return true
		case <-tick.C:
		}
	}
}

// nextToRetire is a Raft connection between two messages, else one of any kind
// whose time is up. Peer connections otherwise end through their pool (outbound)
// or by PeerHandler (inbound): only HTTP knows when they are idle.
func (t *Transport) nextToRetire(old []*link, now time.Time) *link {
	for _, l := range old {
		c := l.upper.Load()
		if c == nil {
			continue // just coming up
		}
		if c.proto == protoRaft && !c.busy.Load() || now.Sub(l.aged) >= t.cfg.Retire {
			return l
		}
	}
	return nil
}
