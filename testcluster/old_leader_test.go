package testcluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// witness calls one master alone, as a user who writes and as a worker that takes tasks, and records the answers. All
// of them must hold after the faults are healed.
type witness struct {
	stop   atomic.Bool
	group  sync.WaitGroup
	worker *testcluster.Controller
	master int

	mu      sync.Mutex
	rounds  int
	acked   []string
	granted []wire.AttemptRef
}

func startWitness(t *testing.T, c *testcluster.Cluster, master int, worker *testcluster.Controller,
	name string) *witness {
	t.Helper()
	w := &witness{worker: worker.At(c, master), master: master}
	user := c.Client(master)
	w.group.Go(func() {
		for k := 0; !w.stop.Load(); k++ {
			folder := fmt.Sprintf("%s-%d", name, k)
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			_, err := user.Call(ctx, "create_folder", map[string]any{"folder_name": folder}, client.Once())
			cancel()
			w.mu.Lock()
			w.rounds++
			if err == nil {
				w.acked = append(w.acked, folder)
			}
			w.mu.Unlock()
		}
	})
	w.group.Go(func() {
		for !w.stop.Load() {
			w.mu.Lock()
			holds := append([]wire.AttemptRef(nil), w.granted...)
			w.mu.Unlock()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			a, err := w.worker.Exchange(ctx, 0, len(holds)+1, holds)
			cancel()
			if err != nil {
				continue
			}
			w.mu.Lock()
			for _, g := range a.Grants {
				w.granted = append(w.granted, wire.AttemptRef{TaskID: g.TaskID, Attempt: g.Attempt})
			}
			w.mu.Unlock()
		}
	})
	return w
}

func (w *witness) end() { w.stop.Store(true); w.group.Wait() }

func (w *witness) count() (rounds, acked, granted int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rounds, len(w.acked), len(w.granted)
}

// awaitMoreWrites waits until some more writes have been answered or have failed.
func (w *witness) awaitMoreWrites(c *testcluster.Cluster) {
	was, _, _ := w.count()
	c.Eventually("some more writes", 30*time.Second, func() bool { n, _, _ := w.count(); return n > was+3 })
}

// check compares what the witness was told with the state of the cluster.
func (w *witness) check(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	rounds, acked, granted := w.count()
	t.Logf("%s: %d writes, %d acknowledged, %d grants", c.Name(w.master), rounds, acked, granted)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	have := map[string]bool{}
	for row, err := range c.Admin().Rows(ctx, "folders", client.Query{PageSize: 1000}) {
		must(t, err)
		have[row.Text("name")] = true
	}
	for _, folder := range w.acked {
		if !have[folder] {
			t.Errorf("%s acknowledged %s, and it is lost", c.Name(w.master), folder)
		}
	}
	for _, ref := range w.granted {
		row := task(t, c, ref.TaskID)
		if n, _ := row.Int("attempt"); int(n) != ref.Attempt || !strings.EqualFold(row.Text("worker_agent_id"), w.worker.ID) {
			t.Errorf("%s granted attempt %d of %d, which is attempt %d of %s", c.Name(w.master), ref.Attempt, ref.TaskID, n,
				row.Text("worker_agent_id"))
		}
	}
}

// takeOver waits until a healthy master names a leader other than the old one.
func takeOver(t *testing.T, c *testcluster.Cluster, old int) {
	t.Helper()
	at := time.Now()
	well := c.Client(c.Others(old)[0])
	// Two elections and the watchdog's time are enough; the limit is for a busy machine.
	c.Eventually("another master leads", 20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l, err := well.Leader(ctx)
		return err == nil && l.Name != c.Name(old)
	})
	t.Logf("%v until another master leads", time.Since(at).Round(time.Millisecond))
}

// Whatever happens to a leader that keeps running, another master takes over. From then on the old leader acknowledges
// and grants nothing on its own: neither before it learns of the new leader nor in the first answers after the fault is
// healed.
func TestTheOldLeaderNeitherAcknowledgesNorGrants(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	each := func(c *testcluster.Cluster, old int, f func(int)) {
		for _, i := range c.Others(old) {
			f(i)
		}
	}
	for _, fault := range []struct {
		name   string
		mute   bool // it reaches no master, so it cannot even forward a call to the new leader
		opts   []testcluster.Option
		inject func(c *testcluster.Cluster, old int)
		heal   func(c *testcluster.Cluster, old int)
	}{
		{"stopped with SIGSTOP", true, []testcluster.Option{testcluster.Processes()},
			(*testcluster.Cluster).Pause, (*testcluster.Cluster).Resume},
		{"cut off", true, nil, func(c *testcluster.Cluster, old int) { c.Isolate(old) }, heal},
		{"heard by nobody", true, nil, func(c *testcluster.Cluster, old int) {
			each(c, old, func(i int) { c.CutOneWay(old, i) })
		}, heal},
		{"partitioned one way", true, nil, func(c *testcluster.Cluster, old int) {
			each(c, old, func(i int) { c.CutOneWay(i, old) })
		}, heal},
		{"full disk", false, nil, (*testcluster.Cluster).FailWrites, heal},
		{"stalled disk", false, nil, (*testcluster.Cluster).Stall, func(c *testcluster.Cluster, old int) {
			c.Heal()
			if c.Logged(old, "ends itself") { // on a busy machine it may lose its leadership first
				if code, err := c.Wait(old); code != cluster.ExitStalled {
					t.Errorf("it ended with code %d (%v), want %d", code, err, cluster.ExitStalled)
				}
				c.Restart(old)
			}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := testcluster.Start(t, 3, fault.opts...)
			deployRecorder(t, c, "true")
			mine := c.Controller("mine", time.Minute, time.Minute)
			rival := c.Controller("rival", time.Minute, time.Minute)
			const n = 3
			for range n {
				c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": "x"}) // no worker has offered a slot yet
			}
			old := c.Leader()
			// The connections exist before the fault: the calls must arrive whatever happens to the master.
			if _, err := c.Client(old).View(t.Context(), "folders", client.Query{}); err != nil {
				t.Fatal(err)
			}
			other := c.Others(old)[0]
			fault.inject(c, old)
			w := startWitness(t, c, old, mine, "asked-of-the-old-one")
			defer w.end()
			takeOver(t, c, old)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.Client(other).Call(ctx, "create_folder", map[string]any{"folder_name": "after"}); err != nil {
				t.Fatalf("a write to the others: %v", err)
			}
			var taken []wire.AttemptRef
			through := rival.At(c, other)
			c.Eventually("the others grant what the old leader had in its queue", 20*time.Second, func() bool {
				a, err := through.Exchange(ctx, time.Second, n, taken)
				if err == nil {
					for _, g := range a.Grants {
						taken = append(taken, wire.AttemptRef{TaskID: g.TaskID, Attempt: g.Attempt})
					}
				}
				// Some tasks may have gone to the other worker: the old leader may forward calls whose answers do not reach it.
				page, err := c.Client(other).View(ctx, "tasks", client.Query{Equal: map[string]any{"status": "running"}})
				return err == nil && len(page.Rows) == n
			})
			if _, acked, granted := w.count(); fault.mute && acked+granted > 0 {
				t.Errorf("the old leader acknowledged %d writes and granted %d attempts although nobody hears it", acked, granted)
			}
			fault.heal(c, old)
			w.awaitMoreWrites(c)
			w.end()
			w.check(t, c)
			for _, ref := range taken {
				row := task(t, c, ref.TaskID)
				if at, _ := row.Int("attempt"); int(at) != ref.Attempt ||
					!strings.EqualFold(row.Text("worker_agent_id"), rival.ID) {
					t.Errorf("the new leader's grant of %v is now attempt %d of %s", ref, at, row.Text("worker_agent_id"))
				}
			}
		})
	}
}

// A master with a full disk cannot save a term. It still stops in good order when it is told to.
func TestAMasterWithAFullDiskStops(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	old := c.Leader()
	c.FailWrites(old)
	takeOver(t, c, old)
	c.Eventually("it waits for room", 20*time.Second, func() bool { return c.Logged(old, "until its disk has room") })
	c.Stop(old)
	if _, err := c.Wait(old); err != nil {
		t.Errorf("it ended with %v", err)
	}
	c.Heal()
}

func heal(c *testcluster.Cluster, _ int) { c.Heal() }
