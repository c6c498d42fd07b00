package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// patientWorld is a world whose leaders keep their place on a busy machine.
func patientWorld(t *testing.T) *world {
	w := newWorld(t)
	w.timing, _ = TimingProfile("wan")
	return w
}

// patiently lets the followers' heartbeats decide long after a succession has.
func (w *world) patiently(leader *host) {
	for _, h := range w.except(leader) {
		conf := h.node.raft.ReloadableConfig()
		conf.HeartbeatTimeout, conf.ElectionTimeout = waitLimit/6, waitLimit/6
		must(w.t, h.node.raft.ReloadConfig(conf))
	}
}

// When the leader's process ends, the others elect at once and do not wait for the heartbeats.
func TestSuccessionOfADeadProcess(t *testing.T) {
	w := patientWorld(t)
	w.start(3)
	dead := w.leader()
	w.voters(3)
	w.until("both follow", func() bool {
		for _, h := range w.except(dead) {
			if l, ok := h.node.Leader(); !ok || l.ID != dead.node.ID() || !h.node.wire.Connected(raft.ServerID(dead.node.ID())) {
				return false
			}
		}
		return true
	})
	w.patiently(dead)
	w.write("before")
	dead.kill()
	rest := w.except(dead)
	next := w.leader(rest...)
	if !next.has("before") {
		t.Error("what was acknowledged is lost")
	}
	if !w.logs.has("another master was asked to call an election") {
		t.Error("the heartbeats decided")
	}
	w.write("after")
}

// One master that cannot reach the leader does not depose it: the others still have it.
func TestSuccessionNeedsAMajority(t *testing.T) {
	w := patientWorld(t)
	w.start(3)
	leader := w.leader()
	w.voters(3)
	follower := w.except(leader)[0]
	id := raft.ServerID(leader.node.ID())
	w.until("it follows", func() bool {
		l, ok := follower.node.Leader()
		return ok && l.ID == leader.node.ID() && follower.node.wire.Connected(id)
	})
	w.patiently(leader)
	term := leader.node.raft.CurrentTerm()
	var cut time.Time
	w.until("the follower finds the leader gone", func() bool {
		if time.Since(cut) > 500*time.Millisecond { // on a busy machine the leader may be back before the follower asks
			w.refuse(follower.i, leader.i)
			cut = time.Now()
		}
		return follower.node.leaderless.Load() != nil
	})
	w.until("the leader is back", func() bool {
		_, _, err := leader.folder(within(t, time.Second), "on")
		return err == nil && follower.node.wire.Connected(id) && follower.has("on")
	})
	if follower.node.leaderGone() {
		t.Error("the follower still says that the leader is gone, and follows it")
	}
	w.heal()
	if now := leader.node.raft.CurrentTerm(); now != term || w.leader() != leader {
		t.Errorf("term %d became %d; want the same leader in the same term", term, now)
	}
	w.agree()
}
