package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// provable is a prover whose proofs a test makes.
type provable struct {
	*prover
	mu       sync.Mutex
	newest   time.Time
	changed  chan struct{}
	triggers int
	trigger  func() raft.Future
}

func startProver(t *testing.T, limit time.Duration) (*provable, func()) {
	v := &provable{prover: newProver(limit, &watchers{}), changed: make(chan struct{})}
	v.prover.proof = func() time.Time { v.mu.Lock(); defer v.mu.Unlock(); return v.newest }
	v.prover.answered = func() <-chan struct{} { v.mu.Lock(); defer v.mu.Unlock(); return v.changed }
	v.prover.verify = func() raft.Future {
		v.mu.Lock()
		v.triggers++
		v.mu.Unlock()
		if v.trigger != nil {
			return v.trigger()
		}
		return answered(nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.run(ctx) }()
	return v, func() { cancel(); <-done }
}

// prove is an answer of a majority to messages sent at t.
func (v *provable) prove(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.newest = t
	close(v.changed)
	v.changed = make(chan struct{})
}

func TestAReadPassesOnlyWithAProofFromAfterItsArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		defer stop()
		time.Sleep(time.Millisecond)
		arrival := time.Now()
		done := make(chan error, 1)
		go func() { done <- v.wait(t.Context(), arrival) }()
		synctest.Wait()
		v.prove(arrival.Add(-time.Nanosecond)) // answered after the arrival, sent before it
		synctest.Wait()
		v.prove(arrival)
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("a proof from before the read arrived let it pass")
		}
		v.prove(arrival.Add(time.Nanosecond))
		synctest.Wait()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := v.prover.newest(); !got.Equal(arrival.Add(time.Nanosecond)) {
			t.Fatalf("newest proof %v", got)
		}
	})
}

func TestATriggerThatProvesNothingDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		defer stop()
		go func() { _ = v.wait(t.Context(), time.Now()) }()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if v.triggers < 3 || v.triggers > 30 {
			t.Fatalf("%d triggers in half a second; want one in about 25 ms", v.triggers)
		}
	})
}

func TestATriggerThatNeverAnswersBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		silent := newFuture()
		v.trigger = func() raft.Future { return silent }
		done := make(chan error, 2)
		arrival := time.Now()
		go func() { done <- v.wait(t.Context(), arrival) }()
		synctest.Wait()
		v.prove(arrival.Add(time.Millisecond)) // the heartbeats went out all the same
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		go func() { done <- v.wait(t.Context(), time.Now().Add(time.Second)) }()
		synctest.Wait()
		stop()
		if err := <-done; !errors.Is(err, command.ErrNotLeader) {
			t.Fatalf("a read that waited when leadership ended: %v", err)
		}
		silent.answer <- nil
	})
}

func TestDoubtEndsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		doubt := v.doubtful()
		time.Sleep(900 * time.Millisecond)
		v.prove(time.Now())
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		select {
		case <-doubt:
			t.Fatal("in doubt 0.9 s after a proof; the limit is 1 s")
		default:
		}
		read := make(chan error, 1)
		go func() { read <- v.wait(t.Context(), time.Now()) }()
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		select {
		case <-doubt:
		default:
			t.Fatal("not in doubt 1.2 s after the last proof")
		}
		if err := <-read; !errors.Is(err, command.ErrDoubt) {
			t.Fatalf("the read that waited: %v", err)
		}
		v.prove(time.Now())
		synctest.Wait()
		select {
		case <-v.doubtful():
			t.Fatal("still in doubt after a new proof")
		default:
		}
		stop()
		<-v.doubtful() // ended leadership is in doubt
	})
}

func TestTimingRelations(t *testing.T) {
	for _, name := range []string{"", "lan", "fast", "wan"} {
		p, err := TimingProfile(name)
		must(t, err)
		must(t, p.Check())
	}
	if _, err := TimingProfile("moon"); err == nil {
		t.Error("profile moon exists")
	}
	good, _ := TimingProfile("lan")
	for what, spoil := range map[string]func(*Timing){
		"short election": func(p *Timing) { p.Election = p.Heartbeat / 2 },
		"long lease":     func(p *Timing) { p.Lease = p.Heartbeat },
		"slow commit":    func(p *Timing) { p.Commit = p.Heartbeat },
		"no heartbeat":   func(p *Timing) { p.Heartbeat = 0 },
		"no lease":       func(p *Timing) { p.Lease = 0 },
		"no commit":      func(p *Timing) { p.Commit = 0 },
		"hour":           func(p *Timing) { p.Election = time.Hour },
	} {
		p := good
		spoil(&p)
		if p.Check() == nil {
			t.Errorf("%s: %+v passes", what, p)
		}
	}
}
