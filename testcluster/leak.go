package testcluster

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// leaks finds goroutines that clusters left. Parallel tests share the process, so it looks when the last of the
// overlapping tests has ended.
var leaks leakCheck

type leakCheck struct {
	mu     sync.Mutex
	live   int
	before goleak.Option
	// stalled: Raft never answers requests that it got while it hung in a write, and a goroutine waits for each answer.
	// The watchdog of a real master ends the process; here those goroutines stay.
	stalled bool
}

func (l *leakCheck) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == 0 {
		l.before, l.stalled = goleak.IgnoreCurrent(), false
	}
	l.live++
}

// end holds the lock while it looks, so that no test begins meanwhile.
func (l *leakCheck) end(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live--
	if l.live > 0 || tb.Failed() {
		return
	}
	ignored := []goleak.Option{
		l.before,
		// The next parallel test waits for the lock.
		goleak.IgnoreAnyFunction("scaleout/testcluster.Start"),
		// memberlist's Shutdown does not wait for a probe that is under way; it ends with its own time-out.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
	}
	if l.stalled {
		ignored = append(ignored, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"))
	}
	err := goleak.Find(ignored...)
	if err != nil {
		tb.Error(err)
	}
}

func (l *leakCheck) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = true
}
