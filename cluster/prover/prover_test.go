package prover

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
)

// provable is a prover whose proofs a test makes.
type provable struct {
	*Prover
	mu       sync.Mutex
	newest   time.Time
	changed  chan struct{}
	triggers int
	trigger  func() error
}

func startProver(t *testing.T, limit time.Duration) (*provable, func()) {
	v := &provable{changed: make(chan struct{})}
	v.Prover = New(Config{
		Limit:    limit,
		Proof:    func() time.Time { v.mu.Lock(); defer v.mu.Unlock(); return v.newest },
		Answered: func() <-chan struct{} { v.mu.Lock(); defer v.mu.Unlock(); return v.changed },
		Go:       func(f func()) { go f() },
		Verify: func() error {
			v.mu.Lock()
			v.triggers++
			v.mu.Unlock()
			if v.trigger != nil {
				return v.trigger()
			}
			return nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
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
		go func() { done <- v.Wait(t.Context(), arrival) }()
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
		if got := v.Newest(); !got.Equal(arrival.Add(time.Nanosecond)) {
			t.Fatalf("newest proof %v", got)
		}
	})
}

func TestATriggerThatProvesNothingDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		defer stop()
		go func() { _ = v.Wait(t.Context(), time.Now()) }()
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
		silent := make(chan error, 1)
		v.trigger = func() error { return <-silent }
		done := make(chan error, 2)
		arrival := time.Now()
		go func() { done <- v.Wait(t.Context(), arrival) }()
		synctest.Wait()
		v.prove(arrival.Add(time.Millisecond)) // the heartbeats went out all the same
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		go func() { done <- v.Wait(t.Context(), time.Now().Add(time.Second)) }()
		synctest.Wait()
		stop()
		if err := <-done; !errors.Is(err, command.ErrNotLeader) {
			t.Fatalf("a read that waited when leadership ended: %v", err)
		}
		silent <- nil
	})
}

func TestDoubtEndsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, stop := startProver(t, time.Second)
		doubt := v.Doubt()
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
		go func() { read <- v.Wait(t.Context(), time.Now()) }()
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
		case <-v.Doubt():
			t.Fatal("still in doubt after a new proof")
		default:
		}
		stop()
		<-v.Doubt() // ended leadership is in doubt
	})
}
