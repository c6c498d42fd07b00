package testcluster_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/fsm/catalog"
	"scaleout/testcluster"
)

// ends returns a master's counts of ended executions by "status folder/project/package", and nil while the master shows
// none.
func ends(t *testing.T, c *testcluster.Cluster, i int) map[string]float64 {
	t.Helper()
	var out map[string]float64
	for _, m := range families(t, c, i)["scaleout_executions_ended_total"].GetMetric() {
		l := map[string]string{}
		for _, pair := range m.GetLabel() {
			l[pair.GetName()] = pair.GetValue()
		}
		if out == nil {
			out = map[string]float64{}
		}
		out[fmt.Sprintf("%s %s/%s/%s", l["status"], l["folder"], l["project"], l["package"])] = m.GetCounter().GetValue()
	}
	return out
}

// Every master shows how often executions have ended. It counts each end once, whichever masters led or were killed
// meanwhile. A master's counter never falls, not even while the master restarts.
func TestEndsAreCountedOnceWhoeverLeads(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	c.Deploy("F", "P", map[string]string{"good.sh": "true\n", "bad.sh": "exit 3\n"})
	c.Worker(testcluster.WorkerConfig{})
	want := map[string]float64{}
	for _, pkg := range []string{"good.sh", "bad.sh"} {
		for _, status := range []string{"succeeded", "failed", "canceled", "ended_unexpectedly"} {
			want[status+" F/P/"+pkg] = 0
		}
	}
	run := func(pkg string, status catalog.Status) {
		t.Helper()
		c.WaitStatus(c.Run("F/P/"+pkg, 0, nil), 60*time.Second, int64(status))
		want[status.String()+" F/P/"+pkg]++
	}
	all := func() {
		t.Helper()
		for i := range 3 {
			c.Eventually(c.Name(i)+" shows the counts", 60*time.Second, func() bool { return maps.Equal(ends(t, c, i), want) })
		}
	}
	run("good.sh", catalog.Succeeded)
	run("bad.sh", catalog.Failed)
	all()
	for range 2 {
		old := c.Leader()
		before := maps.Clone(want)
		c.Kill(old)
		run("bad.sh", catalog.Failed)
		run("good.sh", catalog.Succeeded)
		c.Restart(old)
		c.Eventually("the master that was killed shows counts again", 60*time.Second, func() bool {
			now := ends(t, c, old)
			for key, n := range now {
				if n < before[key] {
					t.Fatalf("%s fell from %v to %v at %s", key, before[key], n, c.Name(old))
				}
			}
			return now != nil
		})
		all()
	}
}
