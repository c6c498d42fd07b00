package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/peer"
	"scaleout/fsm/command"
)

func TestJoinIsPromotedWhenItHasCaughtUp(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	var allow atomic.Bool
	var asked atomic.Int32
	check := func(c *Config) {
		c.PromoteCheck = func(context.Context, string) error {
			asked.Add(1)
			if !allow.Load() {
				return errors.New("a blob is missing there")
			}
			return nil
		}
	}
	w := newWorld(t)
	w.start(1, check)
	l := w.leader()
	for i := range 100 {
		w.write(fmt.Sprint(i))
	}
	late := w.add(check)
	late.start()
	w.until("it is a member, no voter, and was considered", func() bool {
		return late.node.State() == StateNonvoter && late.has("99") && asked.Load() > 2
	})
	if _, ids := l.node.Voters(); len(ids) != 1 {
		t.Fatalf("voters %v", ids)
	}
	w.until("it says why it is no voter", func() bool {
		return strings.Contains(w.logs.String(), "a new master is no voter yet") &&
			strings.Contains(w.logs.String(), "a blob is missing there")
	})
	allow.Store(true)
	w.voters(2)
	w.agree()

	// Leaving is asking the leader; what remains goes on.
	must(t, late.node.Leave(bounded(t), false))
	w.until("one voter", func() bool { _, ids := l.node.Voters(); return len(ids) == 1 })
	if s := late.node.State(); s != StateRemoved {
		t.Errorf("the one that left is %s", s)
	}
	w.write("after")
	if err := l.node.Leave(bounded(t), true); !errors.Is(err, command.ErrRefused) {
		t.Errorf("the last voter leaves: %v", err)
	}
}

func TestRemoveIsRefusedWhereItHurts(t *testing.T) {
	lost := func(c *Config) {
		c.RemoveCheck = func(_ context.Context, id string, _ bool) error {
			return fmt.Errorf("blob 1234 would be lost with %s", id[:4])
		}
	}
	w := newWorld(t)
	w.start(3, lost)
	f := w.except(w.leader())[0]
	ctx := bounded(t)
	// Whoever leads: on a busy machine that may change at any time.
	w.until("an unknown one is not found", func() bool {
		return errors.Is(w.leader().node.Remove(ctx, "nobody", false), command.ErrUnknownMember)
	})
	w.until("a follower does not remove", func() bool {
		l := w.leader()
		return errors.Is(w.except(l)[0].node.Remove(ctx, w.except(l)[1].node.ID(), false), command.ErrNotLeader)
	})
	// The leader may not have heard all others lately, which it says before it looks at blobs.
	for what, ask := range map[string]func() error{
		"remove": func() error { return w.leader().node.Remove(ctx, f.node.ID(), false) },
		"leave":  func() error { return f.node.Leave(ctx, false) },
	} {
		w.until(what+" is refused because of a blob", func() bool {
			err := ask()
			if err == nil {
				t.Fatalf("%s: what would be lost did not count", what)
			}
			return errors.Is(err, command.ErrRefused) && strings.Contains(err.Error(), "blob 1234")
		})
	}
	w.voters(3)
	w.until("it is removed by force", func() bool {
		err := w.leader().node.Remove(ctx, f.node.ID(), true)
		return err == nil || errors.Is(err, command.ErrUnknownMember)
	})
	w.until("it knows or gives up", func() bool {
		return f.node.State() != StateFollower || f.node.State() == StateRemoved
	})
	must(t, f.stop())
	f.start() // with its old directory: it must not come back by itself
	w.until("it hears that it was removed", func() bool { return f.node.State() == StateRemoved })
	must(t, f.stop())
}

// With one master dead, the other two are the majority: neither can go, and the refusal says why. The dead one can.
func TestRemoveNeverCostsTheMajority(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	l := w.leader()
	w.voters(3)
	dead := w.except(l)[0]
	id := dead.dir.ID()
	must(t, dead.stop())
	w.until("it is silent for long enough", func() bool {
		at, _ := l.node.wire.Contact(raft.ServerID(id))
		return time.Since(at) > 10*l.node.cfg.Timing.Heartbeat
	})
	ctx := bounded(t)
	// refused asks again while leadership changes hands; every other answer is judged.
	refused := func(what, want string, ask func(l, alive *host) error) {
		t.Helper()
		var err error
		w.until(what, func() bool {
			l := w.leader()
			err = ask(l, w.except(l, dead)[0])
			return err == nil || errors.Is(err, command.ErrRefused)
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want a refusal that says %q", what, err, want)
		}
	}
	const few = "1 of 2 voters answer and 2 are needed"
	refused("a living one is removed", few, func(l, alive *host) error {
		return l.node.Remove(ctx, alive.node.ID(), false)
	})
	refused("a living one leaves", few, func(_, alive *host) error { return alive.node.Leave(ctx, false) })
	refused("the leader leaves", "", func(l, _ *host) error { return l.node.Leave(ctx, false) })
	w.until("the dead one alone does not answer", func() bool {
		for _, m := range w.leader().node.Members(ctx) {
			if silent := m.ID == id; silent != (m.Err != "") || strings.Contains(m.Err, "Get ") {
				return false
			}
		}
		return true
	})
	if _, ids := l.node.Voters(); len(ids) != 3 {
		t.Fatalf("voters %v", ids)
	}
	w.until("the dead one is removed", func() bool {
		err := w.leader().node.Remove(ctx, id, false)
		return err == nil || errors.Is(err, command.ErrUnknownMember)
	})
	w.until("two voters are left", func() bool { _, ids := w.leader().node.Voters(); return len(ids) == 2 })
	w.write("after")
}

// Dead masters go by themselves only where somebody asked for it, not before what would be lost is elsewhere, and never
// below three voters.
func TestDeadMastersGoWhenAsked(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	var lost atomic.Bool
	lost.Store(true)
	w := newWorld(t)
	const after = 500 * time.Millisecond
	w.start(5, func(c *Config) {
		c.RemoveDead = after
		c.RemoveCheck = func(context.Context, string, bool) error {
			if lost.Load() {
				return errors.New("blob 1234 would be lost")
			}
			return nil
		}
	})
	w.voters(5)
	l := w.leader()
	others := w.except(l)
	must(t, others[0].stop())
	w.until("it says why not", func() bool {
		return strings.Contains(w.logs.String(), "a dead master is not removed") &&
			strings.Contains(w.logs.String(), "blob 1234")
	})
	if _, ids := l.node.Voters(); len(ids) != 5 {
		t.Fatalf("voters %v", ids)
	}
	lost.Store(false)
	w.voters(4)
	must(t, others[1].stop())
	w.voters(3)
	must(t, others[2].stop())
	dead := time.Now()
	w.until("the third is as long dead as the others were", func() bool { return time.Since(dead) > 6*after })
	l = w.leader() // on a busy machine it may be another by now
	if _, ids := l.node.Voters(); len(ids) != 3 {
		t.Errorf("voters %v", ids)
	}
	w.until("two of three decide", func() bool {
		_, _, err := w.leader().folder(bounded(t), "after")
		return err == nil
	})
}

func TestStoppingIsNotLeavingAndNewAddressesAreTold(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	w.write("before")
	w.agree()
	old := map[string]string{}
	for _, h := range w.hosts {
		old[h.name] = h.address
		must(t, h.stop())
	}
	for _, h := range w.hosts {
		h.start() // each on a new port
	}
	l := w.leader()
	w.voters(3)
	if !l.has("before") {
		t.Error("state was lost")
	}
	w.until("the configuration has the new addresses", func() bool {
		for _, h := range w.hosts {
			_, servers := h.node.configuration()
			for _, o := range w.hosts {
				if s, ok := findServer(servers, o.node.ID()); !ok || string(s.Address) != o.address || o.address == old[o.name] {
					return false
				}
			}
		}
		return true
	})
	// Whoever leads: on a busy machine that may change at any time.
	w.until("a write", func() bool {
		_, _, err := w.leader().folder(bounded(t), "after")
		return err == nil
	})
	w.agree()
	w.until("every master is a voter and answers", func() bool {
		l := w.leader()
		ms := l.node.Members(bounded(t))
		for _, m := range ms {
			if !m.Alive || m.Role != "voter" || m.Err != "" || m.Leader != (m.ID == l.node.ID()) || m.Name == "" ||
				m.Version != "1.0.0" {
				return false
			}
		}
		return len(ms) == 3 && len(l.node.Peers()) == 3
	})
}

func TestAKnownIDWithAnEmptyLogIsRefused(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	l := w.leader()
	w.voters(3)
	victim := w.except(l)[0]
	must(t, victim.stop())
	id := victim.dir.ID()
	err := l.node.takeIn(bounded(t), joinRequest{
		ID: id, Name: victim.name, Address: "127.0.0.1:9", Cluster: w.ca.ClusterID(), Level: l.node.cfg.Level,
	})
	if !errors.Is(err, command.ErrRefused) || !strings.Contains(err.Error(), "log is empty") {
		t.Fatalf("%v", err)
	}
	// The cure: everything empty, so a new id; the old member goes by an operator's word.
	must(t, os.RemoveAll(filepath.Join(victim.path, "data")))
	must(t, l.node.Remove(bounded(t), id, false))
	victim.start()
	w.voters(3)
	if victim.node.ID() == id {
		t.Error("the same id again")
	}
	w.agree()
}

// What the lost one held too keeps nobody from replacing it: its data is gone.
func TestANewMasterAtTheAddressOfALostOneReplacesIt(t *testing.T) {
	w := newWorld(t)
	w.start(3, func(c *Config) {
		c.RemoveCheck = func(_ context.Context, _ string, gone bool) error {
			if gone {
				return nil
			}
			return errors.New("blob 1234 would be held by too few")
		}
	})
	l := w.leader()
	w.voters(3)
	victim := w.except(l)[0]
	old := victim.dir.ID()
	address := victim.address
	must(t, victim.stop())
	j := joinRequest{ID: "11111111-2222-3333-4444-555555555555", Name: "replacement", Address: address,
		Cluster: w.ca.ClusterID(), Level: l.node.cfg.Level}
	w.until("it is taken in", func() bool { return l.node.takeIn(bounded(t), j) == nil })
	_, servers := l.node.configuration()
	if _, ok := findServer(servers, old); ok {
		t.Error("the lost one is still a member")
	}
	if s, ok := findServer(servers, j.ID); !ok || s.Suffrage != raft.Nonvoter {
		t.Errorf("the new one is %+v", s)
	}
}

func TestJoinsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	good := joinRequest{ID: "x", Name: "new", Address: "127.0.0.1:9", Cluster: w.ca.ClusterID(), Level: command.Level,
		Version: "0.9"}
	for what, c := range map[string]struct {
		spoil func(*joinRequest)
		want  error
		says  string
	}{
		"older":           {func(j *joinRequest) { j.Level-- }, command.ErrLevel, "the cluster is at "},
		"another cluster": {func(j *joinRequest) { j.Cluster = "other" }, command.ErrRefused, "other"},
		"name taken":      {func(j *joinRequest) { j.Name = "master-1" }, command.ErrRefused, "taken"},
		"removed":         {func(j *joinRequest) { j.HasState = true }, peer.ErrRemoved, "removed"},
		"bad address":     {func(j *joinRequest) { j.Address = "nowhere" }, nil, "host:port"},
		"our address":     {func(j *joinRequest) { j.Address = l.address }, command.ErrRefused, "address of this master"},
	} {
		j := good
		c.spoil(&j)
		err := l.node.takeIn(bounded(t), j)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if ids := l.node.Servers(); len(ids) != 1 {
		t.Errorf("members %v", ids)
	}
}
