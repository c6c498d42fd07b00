package transport

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		pipe := func() net.Conn {
			a, b := net.Pipe()
			t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
			return a
		}
		first, second := pipe(), pipe()
		leaveFirst := g.enter(t.Context(), first)
		time.Sleep(gateGrace / 2) // the bubble's clock: no time passes
		leaveSecond := g.enter(t.Context(), second)

		// A place that is given back in time goes to who waits.
		began := time.Now()
		go func() {
			time.Sleep(gateGrace / 10)
			leaveSecond()
		}()
		leaveThird := g.enter(t.Context(), pipe())
		if waited := time.Since(began); waited != gateGrace/10 {
			t.Errorf("waited %s", waited)
		}
		// Otherwise the oldest makes room once it is old enough.
		leaveFourth := g.enter(t.Context(), pipe())
		if waited := time.Since(began); waited != gateGrace/2 {
			t.Errorf("waited %s for the oldest", waited)
		}
		if _, err := first.Write([]byte("x")); err == nil {
			t.Error("the oldest is still open")
		}
		leaveFirst() // comes late; it has no place to give back
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if g.enter(ctx, pipe()) != nil {
			t.Error("a third place was given")
		}
		leaveThird()
		leaveFourth()
		if len(g.inside) != 0 {
			t.Errorf("%d inside", len(g.inside))
		}
	})
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Now()
	for i, want := range []bool{true, false, false} {
		if _, ok := th.due("a", now.Add(time.Duration(i)*time.Second)); ok != want {
			t.Errorf("%d: %v", i, ok)
		}
	}
	if silent, ok := th.due("a", now.Add(11*time.Second)); !ok || silent != 2 {
		t.Error(silent, ok)
	}
	if _, ok := th.due("b", now); !ok {
		t.Error("reasons share a throttle")
	}
}
