package transport

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandshakesTakeTurns: addresses take turns however many wait from one, a place rests as long as it was used, up to
// a bound, and comes back when nobody waits.
func TestHandshakesTakeTurns(t *testing.T) {
	flood, few := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, true)
		began := time.Now()
		turns.enter(flood)
		var mu sync.Mutex
		var served []netip.Prefix
		var when []time.Duration
		var group sync.WaitGroup
		for _, from := range []netip.Prefix{flood, flood, flood, flood, few, few} {
			group.Go(func() {
				turns.enter(from)
				mu.Lock()
				served, when = append(served, from), append(when, time.Since(began))
				mu.Unlock()
				took := time.Since(began) / 2 // some more each time
				time.Sleep(took)
				turns.leave(took)
			})
			synctest.Wait()
		}
		const ms = time.Millisecond
		time.Sleep(10 * ms)
		turns.leave(10 * ms)
		group.Wait()
		if want := []netip.Prefix{flood, few, flood, few, flood, flood}; !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
		// Each works for half of the time since the beginning and pauses as long, 50 ms at most.
		if want := []time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms, 290 * ms, 485 * ms}; !slices.Equal(when, want) {
			t.Errorf("at %v, want %v", when, want)
		}
		time.Sleep(longestPause)
		synctest.Wait()
		if turns.free != 1 || len(turns.waiting) != 0 || len(turns.next) != 0 {
			t.Errorf("%d free, %d waiting", turns.free, len(turns.waiting))
		}
	})
}

// TestHandshakesPauseWhileTheProcessIsLate: a place whose pause ended late pauses again, a bounded number of times.
func TestHandshakesPauseWhileTheProcessIsLate(t *testing.T) {
	for name, x := range map[string]struct {
		late time.Duration
		left int
		more time.Duration
	}{
		"in time":           {tooLate, mostPauses, 0},
		"late":              {2 * tooLate, mostPauses, 2 * tooLate},
		"very late":         {time.Minute, mostPauses, longestPause},
		"late for too long": {time.Minute, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turns := newTurns(1, true)
				turns.enter(netip.Prefix{})
				began := time.Now()
				turns.paused(x.late, x.left)
				turns.enter(netip.Prefix{})
				if got := time.Since(began); got != x.more {
					t.Errorf("the next turn came after %v, want %v", got, x.more)
				}
			})
		})
	}
}
