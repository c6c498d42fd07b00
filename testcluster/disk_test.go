package testcluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// A leader with a stalled disk keeps the followers quiet with heartbeats, which need no disk. Its watchdog ends it with
// code 75, and the others elect a leader within the watchdog's time and an election.
func TestALeaderWithAStalledDiskEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3)
	out, runs := deployRecorder(t, c, "sleep 3")
	c.Worker(testcluster.WorkerConfig{})
	id := c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out})
	c.WaitStatus(id, 20*time.Second, 2)
	old := stallLeader(t, c)
	if l := c.Leader(); l == old {
		t.Error("the leader with the stalled disk still leads")
	}
	c.Heal() // a real process would be gone; here the goroutines need the disk to end
	code, err := c.Wait(old)
	if code != cluster.ExitStalled {
		t.Errorf("it ended with code %d (%v), want %d", code, err, cluster.ExitStalled)
	}
	if !c.Logged(old, c.Data(old)) {
		t.Error("nobody was told which disk")
	}
	c.WaitStatus(id, 30*time.Second, 7)
	if n := len(runs()); n != 1 {
		t.Errorf("%d runs of one execution", n)
	}
}

// stallLeader stalls the leader's disk, writes, and returns the leader that ended itself.
func stallLeader(t *testing.T, c *testcluster.Cluster) int {
	t.Helper()
	for try := range 4 {
		old := c.Leader()
		c.Stall(old)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := c.Admin().Call(ctx, "create_folder", map[string]any{"folder_name": fmt.Sprintf("meanwhile-%d", try)})
		cancel()
		if err != nil {
			t.Fatalf("a write while the leader's disk stalls: %v", err)
		}
		took := time.Since(begin)
		watchdog := max(2*time.Second, 4*c.Timing().Election)
		t.Logf("%v without a write; the watchdog waits %v", took.Round(time.Millisecond), watchdog)
		if c.Logged(old, "ends itself") {
			return old
		}
		// On a busy machine the leader may lose its leadership first. A follower with a stalled disk does not end itself.
		c.Heal()
	}
	t.Fatal("no leader with a stalled disk ended itself")
	return 0
}

// cutting makes masters truncate their logs early and keep few entries.
func cutting() testcluster.Option {
	return testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.Snapshots = &cluster.Snapshots{Every: 200 * time.Millisecond, Entries: 64, Trailing: 8}
	})
}

func snapshots(t *testing.T, c *testcluster.Cluster, i int) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.Data(i), "snapshots", "*", "state.bin"))
	must(t, err)
	return found
}

// fill writes n entries, one after the other.
func fill(t *testing.T, c *testcluster.Cluster, prefix string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for k := range n {
		_, err := c.Admin().Call(ctx, "create_folder", map[string]any{"folder_name": fmt.Sprintf("%s-%d", prefix, k)})
		must(t, err)
	}
}

// content returns everything that users can read of a cluster's state, as text.
func content(t *testing.T, c *testcluster.Cluster) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	for _, view := range []string{
		"folders", "projects", "object_versions", "packages", "object_parameters", "executions", "operations",
		"execution_parameter_values", "catalog_properties",
	} {
		for row, err := range c.Admin().Rows(ctx, view, client.Query{PageSize: 1000}) {
			must(t, err)
			line, err := json.Marshal(row)
			must(t, err)
			fmt.Fprintf(&out, "%s %s\n", view, line)
		}
	}
	return out.String()
}

// After a snapshot and a restart a master has the same state as before: the snapshot and the later entries of the log.
// A request key that was used before still gets the first answer.
func TestSnapshotAndReplayAreTheState(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, cutting())
	out, _ := deployRecorder(t, c, "true")
	c.Worker(testcluster.WorkerConfig{})
	done := c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out})
	c.WaitStatus(done, 20*time.Second, 7)
	c.Create("ETL/Recorder/work.sh", map[string]any{"Out": "waits"})
	args := map[string]any{"folder_name": "keyed"}
	first, err := c.Admin().Call(t.Context(), "create_folder", args, client.WithKey("kept"))
	must(t, err)
	fill(t, c, "cut", 150)
	for i := range 3 {
		c.Eventually("a snapshot", 20*time.Second, func() bool { return len(snapshots(t, c, i)) > 0 })
	}
	fill(t, c, "behind", 5)
	before := content(t, c)
	for i := range 3 {
		if i == 1 {
			c.Kill(i)
		} else {
			c.Stop(i)
		}
	}
	for i := range 3 {
		c.Restart(i)
	}
	c.Leader()
	if after := content(t, c); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	again, err := c.Admin().Call(t.Context(), "create_folder", args, client.WithKey("kept"))
	if err != nil || fmt.Sprint(again.Output) != fmt.Sprint(first.Output) {
		t.Errorf("the key's first answer was %v, now %v, %v", first.Output, again.Output, err)
	}
}

// A master that was away for longer than the log reaches back gets the state as a snapshot, and the projects that it
// lacks from masters that have them.
func TestAMasterThatWasAwayGetsSnapshotAndBlobs(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, cutting())
	leader := c.Leader()
	away := c.Others(leader)[0]
	c.Kill(away)
	deployRecorder(t, c, "true")
	fill(t, c, "cut", 300)
	c.Restart(away)
	c.Eventually("a snapshot is installed", 30*time.Second,
		func() bool { return c.Logged(away, "Installed remote snapshot") })
	blobs := func(i int) string {
		found, err := filepath.Glob(filepath.Join(c.Data(i), "blobs", "??", "*"))
		must(t, err)
		var names []string
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
				names = append(names, filepath.Base(f))
			}
		}
		return fmt.Sprint(names)
	}
	c.Eventually("it holds what the others hold", 30*time.Second, func() bool {
		m := status(t, c)[c.Name(away)]
		return m.MissingBlobs == 0 && blobs(away) == blobs(leader)
	})
	// Together with one other master, it is a majority and serves the project.
	c.Kill(c.Leader())
	c.Leader()
	c.Create("ETL/Recorder/work.sh", map[string]any{"Out": "x"})
}

// The clock of one master is an hour ahead, and another one's is minutes behind. Whichever master leads, its time
// stamps stay within five minutes of the masters' median, work goes on, and the master with the wrong clock does not
// keep leading.
func TestClocksMinutesApart(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	const wrong = 0
	c := testcluster.Start(t, 3, testcluster.Settings(func(i int, cfg *master.Config) {
		off := []time.Duration{time.Hour, 0, -3 * time.Minute}[i]
		cfg.Now = func() time.Time { return time.Now().Add(off) }
	}))
	out, runs := deployRecorder(t, c, "true")
	c.Worker(testcluster.WorkerConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if c.Leader() != wrong {
		_, _ = c.Admin().Transfer(ctx, c.Name(wrong)) // the answer may be lost when leadership moves
	}
	const n = 10
	var ids []int64
	for range n {
		ids = append(ids, c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out}))
	}
	c.Eventually("another one leads", 20*time.Second, func() bool { return c.Leader() != wrong })
	if !c.Logged(wrong, "leads") {
		t.Error("the master with the wrong clock never led: nothing was tested")
	}
	var last time.Time
	for _, id := range ids {
		row := c.WaitStatus(id, 30*time.Second, 7)
		for _, column := range []string{"created_time", "start_time", "end_time"} {
			at, ok := row.Time(column)
			if !ok {
				t.Fatalf("%s of execution %d: %v", column, id, row[column])
			}
			if off := time.Until(at); off > 5*time.Minute+time.Second || off < -5*time.Minute-time.Minute {
				t.Errorf("%s of execution %d is %v from now", column, id, off)
			}
		}
		created, _ := row.Time("created_time")
		if created.Before(last) {
			t.Errorf("execution %d was created %v before the one before it", id, last.Sub(created))
		}
		last = created
	}
	if got := len(runs()); got != n {
		t.Errorf("%d runs of %d executions", got, n)
	}
	c.Eventually("the operator is told", 20*time.Second, func() bool {
		s, err := c.Admin().Cluster(ctx)
		if err != nil {
			return false
		}
		for _, w := range s.Warnings {
			if bytes.Contains([]byte(w), []byte("the clock of "+c.Name(wrong))) {
				return true
			}
		}
		return false
	})
}

// A leader that was partitioned has entries that no other master has. Reconnected, it must replace them, and its disk
// has room for a term and no more: it deletes its own entries and cannot store the new ones. Raft would go on to count
// the deleted entries, and refuse those of every later leader. So the master ends and is started again.
func TestAFullDiskCannotReplaceTheLogsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	// With long timings, the partitioned leader keeps its leadership for about as long as an idle leader waits before it
	// writes an entry.
	c := testcluster.Start(t, 3, testcluster.Profile("wan"))
	ends := func(i int) bool {
		return c.Logged(i, "the disk did not take the entries that replace the end of its log")
	}
	for round := 1; ; round++ {
		idle := time.Now()
		c.Eventually("the leader is idle", 5*time.Second, func() bool { return time.Since(idle) > 1500*time.Millisecond })
		old := c.Leader()
		heal := c.Isolate(old)
		other := c.Client(c.Others(old)[0])
		name := fmt.Sprintf("together-%d", round)
		c.Eventually("the others go on", 30*time.Second, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := other.Call(ctx, "create_folder", map[string]any{"folder_name": name})
			return err == nil || client.Code(err) == "folder_exists"
		})
		c.FailEntryWrites(old)
		heal()
		c.Eventually("its disk has refused", 20*time.Second, func() bool { return c.Logged(old, "failed to append to logs") })
		replaces := c.Logged(old, "clearing log suffix")
		if replaces {
			c.Eventually("it ends itself", 20*time.Second, func() bool { return ends(old) })
		}
		c.Heal()
		c.Eventually("it is back", 30*time.Second, func() bool { return ready(t.Context(), c, old) })
		if replaces {
			break
		}
		if round == 5 {
			t.Fatal("no leader that was cut off wrote anything: nothing was tested")
		}
	}
}
