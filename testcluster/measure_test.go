package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"scaleout/testcluster"
)

// writer writes without pause and records when each write was acknowledged.
type writer struct {
	mu     sync.Mutex
	acks   []time.Time
	took   []time.Duration
	failed int
}

// run writes until ctx ends. A write is a real command through the log; the client tries every master.
func (w *writer) run(ctx context.Context, c *testcluster.Cluster) {
	admin := c.Admin()
	for ctx.Err() == nil {
		began := time.Now()
		_, err := admin.Call(ctx, "enable_scaleout", nil)
		now := time.Now()
		w.mu.Lock()
		switch {
		case err == nil:
			w.acks = append(w.acks, now)
			w.took = append(w.took, now.Sub(began))
		case ctx.Err() == nil:
			w.failed++
		}
		w.mu.Unlock()
	}
}

// next waits for the first acknowledgement of a write that began after the leader ended, so that leader cannot have
// acknowledged it. It returns how long after the moment began the acknowledgement came.
func (w *writer) next(c *testcluster.Cluster, began, died time.Time) (gap time.Duration) {
	c.Eventually("a write after a failure", 30*time.Second, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := len(w.acks) - 1; i >= 0 && w.acks[i].After(died); i-- {
			if w.acks[i].Add(-w.took[i]).After(died) {
				gap = w.acks[i].Sub(began)
			}
		}
		return gap > 0
	})
	return gap
}

// slowest returns the longest write that was acknowledged since the moment.
func (w *writer) slowest(since time.Time) (most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.acks) - 1; i >= 0 && w.acks[i].After(since); i-- {
		most = max(most, w.took[i])
	}
	return most
}

func percentiles(all []time.Duration) string {
	slices.Sort(all)
	at := func(p float64) time.Duration {
		return all[min(len(all)-1, int(p*float64(len(all))))].Round(time.Millisecond)
	}
	return fmt.Sprintf("n=%d min %v, median %v, p90 %v, p99 %v, max %v", len(all), at(0), at(.5), at(.9), at(.99), at(1))
}

// allReady reports whether each master says that it is ready. The leader's view of a master that was away for a moment
// is older.
func allReady(ctx context.Context, c *testcluster.Cluster) bool {
	return ready(ctx, c, 0) && ready(ctx, c, 1) && ready(ctx, c, 2)
}

// ready reports whether one master says within a short time that it is ready.
func ready(ctx context.Context, c *testcluster.Cluster, i int) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := c.Client(i).Ready(ctx)
	return err == nil && r.Ready
}

// rounds returns how many rounds are measured: SCALEOUT_MEASURE. Other tests check what must hold.
func rounds(t *testing.T) int {
	text := os.Getenv("SCALEOUT_MEASURE")
	if text == "" {
		t.Skip("SCALEOUT_MEASURE=50 measures")
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The leader ends or stops answering under load, and the next write is soon acknowledged. The bound is generous, since
// a machine that also runs other tests is slow; the logged figures are for people.
func TestFailoverFigures(t *testing.T) {
	faults := []struct {
		name         string
		inject, heal func(c *testcluster.Cluster, i int)
	}{
		{"SIGKILL", (*testcluster.Cluster).Kill, (*testcluster.Cluster).Restart},
		// to the other masters this looks like a power cut
		{"SIGSTOP", (*testcluster.Cluster).Pause, (*testcluster.Cluster).Resume},
	}
	for _, profile := range []string{"lan", "fast"} {
		for _, fault := range faults {
			t.Run(fault.name+" "+profile, func(t *testing.T) {
				n := rounds(t)
				c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.Profile(profile))
				ctx, stop := context.WithCancel(t.Context())
				var group sync.WaitGroup
				w := &writer{}
				for range 4 {
					group.Go(func() { w.run(ctx, c) })
				}
				var gaps []time.Duration
				for range n {
					i := c.Leader()
					c.Eventually("all masters are healthy", 30*time.Second, func() bool {
						s, err := c.Admin().Cluster(ctx)
						return err == nil && s.FailureTolerance == 1 && allReady(ctx, c)
					})
					began := time.Now()
					fault.inject(c, i)
					gaps = append(gaps, w.next(c, began, time.Now()))
					fault.heal(c, i)
				}
				stop()
				group.Wait()
				t.Logf("from %s of the leader to the next write, profile %s: %s; writes failed: %d", fault.name, profile,
					percentiles(gaps), w.failed)
				if gaps[len(gaps)-1] > 10*time.Second || w.failed > 0 {
					t.Errorf("slowest %v, %d writes failed", gaps[len(gaps)-1], w.failed)
				}
			})
		}
	}
}

// Every master is restarted in turn under load: no call fails, and a write waits little longer than usual.
func TestRollingRestartFigures(t *testing.T) {
	n := rounds(t)
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.Profile("lan"))
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	w := &writer{}
	for range 4 {
		group.Go(func() { w.run(ctx, c) })
	}
	var handovers, rolls []time.Duration
	for range n {
		before := time.Now()
		for i := range 3 {
			began := time.Now()
			c.Stop(i)
			handovers = append(handovers, w.slowest(began))
			c.Restart(i)
			c.Eventually("the master is ready", 30*time.Second, func() bool { return ready(ctx, c, i) })
		}
		rolls = append(rolls, time.Since(before))
	}
	stop()
	group.Wait()
	t.Logf("slowest write while one master stops: %s", percentiles(handovers))
	t.Logf("one rolling restart of three masters: %s", percentiles(rolls))
	if w.failed > 0 {
		t.Errorf("%d writes failed", w.failed)
	}
	s, err := c.Admin().Cluster(t.Context())
	if err != nil || len(s.Members) != 3 {
		t.Errorf("membership changed: %+v, %v", s.Members, err)
	}
}
