package testcluster

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// leaks looks for goroutines that clusters left behind. Parallel tests share the process, so it looks when the last
// of those that overlapped has ended.
var leaks leakCheck

type leakCheck struct {
	mu     sync.Mutex
	live   int
	before goleak.Option
	// stalled: Raft never answers what was asked of it while it hung in a write, and somebody waits for the answer. A
	// process ends with its watchdog; here the goroutine stays.
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

// end holds the lock while it looks: nobody begins in between.
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
