package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/leader"
	"scaleout/fsm/command"
)

// askCutOff asks a leader for something when it has just been cut off from all others, and returns what it says. A busy
// machine may depose it before it was asked: what it then says is certain, and another one is cut off.
func (w *world) askCutOff(ask func(l *host) error) (l *host, err error) {
	w.t.Helper()
	w.until("a leader is asked before it is deposed", func() bool {
		l = w.leader()
		w.isolate(l)
		if err = ask(l); command.NotApplied(err) {
			w.heal()
			return false
		}
		return true
	})
	return l, err
}

// What a deposed leader was asked to do is unknown, and no caller is left waiting.
func TestOutcomesAreUnknownWhenTheLeaderIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	w.voters(3)
	w.write("first")
	var held context.Context
	name := 0
	l, err := w.askCutOff(func(l *host) error {
		var cancel context.CancelFunc
		held, cancel = l.node.Hold(t.Context())
		t.Cleanup(cancel)
		name++
		_, _, err := l.folder(bounded(t), fmt.Sprintf("lost %d?", name))
		return err
	})
	if !errors.Is(err, command.ErrUnknownOutcome) {
		t.Fatalf("a command given to a leader that is cut off: %v", err)
	}
	if err := l.node.Read(bounded(t)); err == nil {
		t.Fatal("a deposed leader let a read pass")
	}
	select {
	case <-held.Done():
	case <-bounded(t).Done():
		t.Fatal("a call held by a leader without a majority was not ended")
	}
	w.write("second", w.except(l)...)
	w.heal()
	w.agree()
	for n := 1; n < name; n++ {
		if refused := fmt.Sprintf("lost %d?", n); l.has(refused) {
			t.Errorf("%s was made although it was certain that it was not", refused)
		}
	}
}

// So is a change of the membership.
func TestARemovalIsUnknownWhenTheLeaderIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	w.voters(3)
	l, err := w.askCutOff(func(l *host) error { return l.node.Remove(bounded(t), w.except(l)[0].node.ID(), true) })
	if !errors.Is(err, command.ErrUnknownOutcome) {
		t.Fatalf("a master was to be removed by a leader that is cut off: %v", err)
	}
	w.write("meanwhile", w.except(l)...) // this stands in the log in place of the removal, of which nobody else had heard
	w.heal()
	w.voters(3)
	w.agree()
}

// The leader and a non-voter are no majority, although the library's own check counts the non-voter ▲.
func TestALeaderAloneWithANonvoterProvesNothing(t *testing.T) {
	no := func(c *Config) {
		c.PromoteCheck = func(context.Context, string) error { return errors.New("never") }
		c.Timing = Timing{Heartbeat: time.Second, Election: time.Second, Lease: 500 * time.Millisecond,
			Commit: 5 * time.Millisecond}
	}
	w := newWorld(t)
	w.start(3, no)
	w.leader()
	w.voters(3)
	non := w.add(no)
	non.start()
	w.until("a non-voter follows", func() bool {
		return non.node.State() == StateNonvoter && non.node.machine.Index() > 0
	})
	// alone reports whether the library called the leader one that leads, which it does within the lease. On a busy
	// machine that one may be over before the question is asked.
	alone := func() bool {
		defer w.heal()
		var l *host
		w.until("a leader that proves it", func() bool {
			l = w.leader()
			err := l.node.Read(bounded(t))
			if err != nil && !command.NotApplied(err) {
				t.Fatal(err)
			}
			return err == nil
		})
		for _, h := range w.except(l, non) {
			w.cut(l.i, h.i)
		}
		arrival := time.Now()
		verified := l.node.raft.VerifyLeader()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := l.node.Read(ctx); err == nil {
			t.Fatal("a read passed with the answer of a non-voter")
		}
		if l.node.Proved().After(arrival) {
			t.Error("leadership is called proven")
		}
		return verified.Error() == nil
	}
	for round := 1; !alone(); round++ {
		t.Logf("round %d: the library did not fall for it", round)
		if round == 10 {
			break
		}
	}
}

func TestTwentyTransfersLeaveNoGoroutine(t *testing.T) {
	var most, established, dropped atomic.Int32
	w := newLoneWorld(t)
	w.start(3, func(c *Config) {
		var live atomic.Int32 // on this master
		c.Routines = []leader.Routine{{Name: "test", Run: func(ctx context.Context) error {
			most.Store(max(most.Load(), live.Add(1)))
			defer live.Add(-1)
			<-ctx.Done()
			return nil
		}}}
		c.Establish = func(context.Context, Term) error { established.Add(1); return nil }
		c.Drop = func() { dropped.Add(1) }
	})
	w.leader()
	w.voters(3)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var applied, unknown, refused atomic.Int32
	for i := range 4 {
		wg.Go(func() {
			for k := 0; !stop.Load(); k++ {
				for _, h := range w.hosts {
					if _, ready := h.node.IsLeader(); !ready {
						continue
					}
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
					res, _, err := h.folder(ctx, fmt.Sprintf("%d-%d-%s", i, k, h.name))
					cancel()
					switch {
					case err == nil && res.Rejection != nil:
						t.Errorf("a name that was used once: %v: it was applied before", res.Rejection)
					case err == nil:
						applied.Add(1)
					case errors.Is(err, command.ErrUnknownOutcome):
						unknown.Add(1)
						fmt.Fprintf(w.logs, "time=%sZ UNKNOWN %v\n", time.Now().UTC().Format("2006-01-02T15:04:05.000"), err)
					default:
						refused.Add(1)
					}
				}
				runtime.Gosched()
			}
		})
	}
	defer func() { stop.Store(true); wg.Wait() }()
	move := func() {
		l := w.leader()
		// The target may just have failed its check of contact: try as an operator would.
		w.until("leadership moves", func() bool {
			err := l.node.Transfer(bounded(t), "")
			return err == nil || errors.Is(err, command.ErrNotLeader)
		})
		w.until("the old one has ended", func() bool {
			term, _ := l.node.IsLeader()
			return term == 0 || l.node.raft.State() == raft.Leader
		})
		w.leader()
	}
	for range 5 {
		move()
	}
	idle := func() { // connections come and go with load; they are no leak
		for _, h := range w.hosts {
			h.transport.ClosePeerConnections()
		}
	}
	idle()
	before := runtime.NumGoroutine()
	for range 20 {
		move()
	}
	stop.Store(true)
	wg.Wait()
	idle()
	deadline := time.Now().Add(waitLimit)
	const slack = 10 // Raft's connections; a leak would be at least one a transfer
	for runtime.NumGoroutine() > before+slack && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before+slack {
		var b strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
		t.Errorf("goroutines grew from %d to %d:\n%s", before, after, b.String())
	}
	if most.Load() > 1 {
		t.Errorf("%d sets of routines at once", most.Load())
	}
	if e, d := established.Load(), dropped.Load(); e-d > 1 || e < 26 {
		t.Errorf("%d generations established, %d dropped", e, d)
	}
	if applied.Load() == 0 {
		t.Error("nothing was applied")
	}
	t.Logf("applied %d, refused %d, unknown %d", applied.Load(), refused.Load(), unknown.Load())
	w.agree()
}

func TestStepDownHandsOverAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	l := w.leader()
	w.voters(3)
	rest := w.except(l)
	changed := rest[0].node.LeaderChanged()
	// next is another one that leads, or nil. StepDown is refused while nobody has answered lately, and on a busy machine
	// the one that stepped down may have lost its place before, and is elected again.
	next := func() *host {
		err := l.node.StepDown(bounded(t))
		for _, h := range rest {
			if _, ready := h.node.IsLeader(); err == nil && ready {
				return h
			}
		}
		return nil
	}
	w.until("another one leads", func() bool { return next() != nil })
	select {
	case <-changed:
	case <-bounded(t).Done():
		t.Error("the others were not told")
	}
	w.until("leadership does not go back to a master that is stopping", func() bool {
		h := next()
		if h == nil {
			return false
		}
		err := h.node.Transfer(bounded(t), l.node.ID())
		if err == nil {
			t.Fatal("leadership went back to a master that is stopping")
		}
		return errors.Is(err, command.ErrRefused)
	})
	must(t, l.stop())
	w.until("still three voters", func() bool { _, ids := rest[0].node.Voters(); return len(ids) == 3 })
	w.write("x")
	w.until("the leader knows itself", func() bool {
		h := w.leader(rest...)
		info, ok := h.node.Leader()
		return ok && info.ID == h.node.ID() && info.Name == h.name && info.Term > 0 && info.Address == h.address
	})
}

func TestAFailedEstablishHandsLeadershipOver(t *testing.T) {
	var bad atomic.Value
	bad.Store("")
	w := newWorld(t)
	for range 3 {
		h := w.add(expect(3))
		h.options = append(h.options, func(c *Config) {
			c.Establish = func(context.Context, Term) error {
				if bad.Load() == "" || bad.Load() == h.name {
					bad.Store(h.name)
					return errors.New("the queue cannot be rebuilt")
				}
				return nil
			}
		})
		h.start()
	}
	l := w.leader()
	if l.name == bad.Load() {
		t.Errorf("%s leads although it cannot", l.name)
	}
	w.write("x")
}

func TestRefusedCommands(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	ctx := bounded(t)
	big := folderEnvelope(t, "big")
	big.Body = make([]byte, 300<<10)
	if _, _, err := l.node.Propose(ctx, big); !errors.Is(err, command.ErrTooLarge) {
		t.Errorf("300 KiB: %v", err)
	}
	odd := folderEnvelope(t, "odd")
	odd.Kind = 9999
	if _, _, err := l.node.Propose(ctx, odd); !errors.Is(err, command.ErrLevel) {
		t.Errorf("an unknown kind: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err := l.node.Propose(over, folderEnvelope(t, "gone"))
	if err == nil {
		t.Log("it was quicker than its caller's end")
	}
}

func TestAKilledLeaderComesBackAndAgrees(t *testing.T) {
	w := newWorld(t)
	w.start(3)
	l := w.leader()
	w.voters(3)
	for i := range 20 {
		w.write(fmt.Sprint(i))
	}
	l.kill()
	next := w.leader(w.except(l)...)
	for i := range 20 {
		if !next.has(fmt.Sprint(i)) {
			t.Errorf("folder %d was acknowledged and is lost", i)
		}
	}
	w.write("meanwhile")
	l.start()
	w.until("it has caught up", func() bool {
		select {
		case <-l.node.CaughtUp():
			return true
		default:
			return false
		}
	})
	if !l.has("meanwhile") {
		t.Error("caught up without what was committed before")
	}
	w.agree()
}

// Raft forgets the futures of entries that are on their way to the state machine when it ends.
func TestRaftOwesNoAnswerAtTheEnd(t *testing.T) {
	w := newWorld(t)
	applying, gate := make(chan struct{}, 1), make(chan struct{})
	var slow atomic.Bool
	h := w.start(1, func(c *Config) {
		machine := c.FSM
		c.FSM = func(applied func(Applied), failed func(error)) (Machine, error) {
			return machine(func(a Applied) {
				if slow.CompareAndSwap(true, false) {
					applying <- struct{}{}
					<-gate
				}
				applied(a)
			}, failed)
		}
	})[0]
	w.leader(h)
	slow.Store(true)
	go func() { _, _, _ = h.folder(t.Context(), "slow") }()
	<-applying
	last := h.node.raft.LastIndex()
	for range 16 {
		h.node.futures.Go(func() { _ = h.node.raft.Barrier(0).Error() })
	}
	w.until("all is committed", func() bool { return h.node.raft.AppliedIndex() >= last+16 })
	h.stopNode()
	early := time.Now().Add(w.timing.Election) // long before the answers are given up
	w.until("Raft ends or waits", func() bool { return h.node.raft.State() == raft.Shutdown || time.Now().After(early) })
	close(gate)
	must(t, h.stop())
	if n := h.node.futures.n.Load(); n > 0 {
		t.Errorf("%d wait for answers that nobody will give", n)
	}
}
