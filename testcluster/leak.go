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
}

func (l *leakCheck) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == 0 {
		l.before = goleak.IgnoreCurrent()
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
	err := goleak.Find(l.before,
		// The next parallel test waits for the lock.
		goleak.IgnoreAnyFunction("scaleout/testcluster.Start"),
		// memberlist's Shutdown does not wait for a probe that is under way; it ends with its own time-out.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
	if err != nil {
		tb.Error(err)
	}
}
