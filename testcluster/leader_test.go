package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/fsm/ispac"
	"scaleout/testcluster"
)

// loops are the functions of the leader routines in a goroutine dump: each runs in one goroutine, on one master of this
// process.
var loops = []string{
	"cluster/routine.(*Heartbeat).Run(", "cluster/routine.(*Expiry).Run(", "cluster/routine.(*Cleanup).Run(",
	"cluster/dispatch.(*Dispatcher).Run(", "cluster/segmenter.(*Packer).Run(",
}

func dump() string {
	buf := make([]byte, 16<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// routines counts how often each leader routine runs in this process.
func routines() map[string]int {
	out := map[string]int{}
	for g := range strings.SplitSeq(dump(), "\n\n") {
		for _, l := range loops {
			if strings.Contains(g, l) {
				out[l]++
			}
		}
	}
	return out
}

func oneSet() bool {
	seen := routines()
	for _, l := range loops {
		if seen[l] != 1 {
			return false
		}
	}
	return true
}

// deployRecorder deploys a package that appends its execution and attempt to a file. It returns the file and a function
// that counts the lines.
func deployRecorder(t *testing.T, c *testcluster.Cluster, body string) (out string, runs func() map[string]int) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "ran")
	c.Deploy("ETL", "Recorder", map[string]string{
		"work.sh": "echo $SCALEOUT_EXECUTION_ID.$SCALEOUT_ATTEMPT >> \"$PROJECT_PARAM_OUT\"\n" + body + "\n",
	}, ispac.ParameterDefinition{Name: "Out", Type: "String", Required: true})
	return out, func() map[string]int {
		raw, err := os.ReadFile(out)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, line := range strings.Fields(string(raw)) {
			seen[line]++
		}
		return seen
	}
}

// Leadership moves twenty times while packages run. No goroutine is left, exactly one set of leader routines runs in
// the whole cluster after each transfer, and no task is granted twice.
func TestTwentyTransfersUnderWork(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Profile("lan"))
	out, runs := deployRecorder(t, c, "sleep 0.05")
	c.Worker(testcluster.WorkerConfig{MaxTaskCount: 2})
	c.Worker(testcluster.WorkerConfig{MaxTaskCount: 2})
	c.Eventually("one set of routines", 10*time.Second, oneSet)
	const transfers = 20
	var ids []int64
	var before int
	refused := 0
	for k := 0; k < transfers; k++ {
		ids = append(ids, c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out}))
		from := c.Leader()
		to := c.Others(from)[k%2]
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		l, err := c.Admin().Transfer(ctx, c.Name(to))
		cancel()
		if err != nil {
			// On a busy machine the other master may not take over within an election time-out; then nothing has changed.
			if refused++; refused > transfers/2 {
				t.Fatalf("transfer %d from %s to %s: %v", k, c.Name(from), c.Name(to), err)
			}
			k--
			continue
		}
		if l.Name != c.Name(to) {
			t.Errorf("transfer %d went to %s, asked for %s", k, l.Name, c.Name(to))
		}
		c.Leader()
		c.Eventually("exactly one set of routines", 10*time.Second, oneSet)
		if k == 2 {
			before = runtime.NumGoroutine()
		}
	}
	for _, id := range ids {
		row := c.WaitStatus(id, 30*time.Second, 7)
		if n, _ := row.Int("executed_count"); n != 1 {
			t.Errorf("execution %d has executed_count %d", id, n)
		}
	}
	for run, n := range runs() {
		if n != 1 || !strings.HasSuffix(run, ".1") {
			t.Errorf("%s ran %d times", run, n)
		}
	}
	if n := len(runs()); n != len(ids) {
		t.Errorf("%d runs of %d executions", n, len(ids))
	}
	// Idle connections and held polls come and go; a leak of one goroutine per transfer and master would be fifty.
	c.Eventually("goroutines of transfers ended", 20*time.Second,
		func() bool { return runtime.NumGoroutine() < before+25 })
}

// load is several users who call the masters without pause until it is stopped. It counts the calls.
type load struct {
	stop    atomic.Bool
	group   sync.WaitGroup
	done    atomic.Int64
	mu      sync.Mutex
	moments []time.Time // of successful writes
	errs    []error
}

// loads numbers the loads, so that their folders have different names.
var loads atomic.Int64

func startLoad(t *testing.T, c *testcluster.Cluster, users int) *load {
	t.Helper()
	l := &load{}
	name := fmt.Sprintf("load-%d", loads.Add(1))
	admin := c.Admin()
	for u := range users {
		l.group.Go(func() {
			for k := 0; !l.stop.Load(); k++ {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				_, err := admin.Call(ctx, "create_folder", map[string]any{"folder_name": fmt.Sprintf("%s-%d-%d", name, u, k)})
				cancel()
				l.mu.Lock()
				if err != nil {
					l.errs = append(l.errs, err)
				} else {
					l.moments = append(l.moments, time.Now())
				}
				l.mu.Unlock()
				l.done.Add(1)
			}
		})
	}
	return l
}

func (l *load) end() { l.stop.Store(true); l.group.Wait() }

// gap returns the longest time after the moment in which no write succeeded.
func (l *load) gap(after time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := time.Time{}
	for _, m := range l.moments {
		if m.After(after) && (first.IsZero() || m.Before(first)) {
			first = m
		}
	}
	return first.Sub(after)
}

// longest returns the longest time between two successful writes.
func (l *load) longest() (gap time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	moments := slices.SortedFunc(slices.Values(l.moments), time.Time.Compare)
	for i := 1; i < len(moments); i++ {
		gap = max(gap, moments[i].Sub(moments[i-1]))
	}
	return gap
}

// The test logs how long a writer has no leader, and asserts only a generous bound.
func TestFailoverUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, profile := range []string{"fast", "lan"} {
		t.Run(profile, func(t *testing.T) {
			c := testcluster.Start(t, 3, testcluster.Profile(profile))
			l := startLoad(t, c, 4)
			defer l.end()
			const kills = 3
			for k := range kills {
				was := l.done.Load()
				c.Eventually("the load runs", 30*time.Second, func() bool { return l.done.Load() > was+20 })
				old := c.Leader()
				at := time.Now()
				c.Kill(old)
				was = l.done.Load()
				c.Eventually("writes again", 30*time.Second, func() bool { return l.done.Load() > was+20 })
				gap := l.gap(at.Add(100 * time.Millisecond)) // calls in flight may still have been answered
				t.Logf("%s: kill %d: %v without a write", profile, k, (gap + 100*time.Millisecond).Round(time.Millisecond))
				if gap > 15*time.Second {
					t.Errorf("%v without a write", gap)
				}
				c.Restart(old)
			}
			l.end()
			for _, err := range l.errs {
				t.Errorf("a write failed for good: %v", err)
			}
		})
	}
}

// All masters are restarted one after the other, in good order, while workers work. No call of a worker fails beyond
// the one retry after a closed connection, and the members stay the same.
func TestRollingRestartUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3)
	out, runs := deployRecorder(t, c, "sleep 0.1")
	for range 2 {
		c.Worker(testcluster.WorkerConfig{MaxTaskCount: 2})
	}
	members := func() map[string]string {
		m := map[string]string{}
		status, err := c.Admin().Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range status.Members {
			m[x.ID] = x.Name + " " + x.Role + " " + x.Address
		}
		return m
	}
	before := members()
	h := c.Controller("controlled", 60*time.Second, 60*time.Second)
	l := startLoad(t, c, 2)
	defer l.end()
	polls := startPolls(h)
	defer polls.end()
	var ids []int64
	for i := range 3 {
		for range 5 {
			ids = append(ids, c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out}))
		}
		c.Stop(i)
		was := polls.done.Load()
		c.Eventually("polls go on with two masters", 20*time.Second, func() bool { return polls.done.Load() > was+5 })
		c.Restart(i)
		c.Eventually(c.Name(i)+" is ready", 30*time.Second, func() bool { return ready(t.Context(), c, i) })
	}
	for _, id := range ids {
		c.WaitStatus(id, 30*time.Second, 7)
	}
	polls.end()
	l.end()
	for _, err := range append(polls.errs, l.errs...) {
		t.Errorf("a call failed: %v", err)
	}
	t.Logf("%d polls, %d writes, worst poll %v", polls.done.Load(), l.done.Load(), polls.worst.Round(time.Millisecond))
	for run, n := range runs() {
		if n != 1 {
			t.Errorf("%s ran %d times", run, n)
		}
	}
	if n := len(runs()); n != len(ids) {
		t.Errorf("%d runs of %d executions", n, len(ids))
	}
	after := members()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("members before %v, after %v", before, after)
	}
}

// polls are the exchanges of an idle worker, one after the other.
type polls struct {
	stop  atomic.Bool
	group sync.WaitGroup
	done  atomic.Int64
	worst time.Duration
	errs  []error
}

func startPolls(h *testcluster.Controller) *polls {
	p := &polls{}
	p.group.Go(func() {
		for !p.stop.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			begin := time.Now()
			// The worker offers no slots: it wants answers and no work.
			_, err := h.Exchange(ctx, 200*time.Millisecond, 0, nil)
			cancel()
			p.worst = max(p.worst, time.Since(begin))
			if err != nil {
				p.errs = append(p.errs, err)
			}
			p.done.Add(1)
		}
	})
	return p
}

func (p *polls) end() { p.stop.Store(true); p.group.Wait() }
