package testcluster_test

import (
	"testing"
	"time"

	"scaleout/testcluster"
)

// A cluster of one master grows to three and five, and shrinks back to three and one; leaders leave, too. Workers and
// other callers work all the time: no call fails, and every task runs once.
func TestGrowthAndBackUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	// The added masters also have BootstrapExpect 1, as in a copied settings file: they must look for a cluster before
	// they form one.
	c := testcluster.Start(t, 1)
	out, runs := deployRecorder(t, c, "sleep 0.05")
	c.Worker(testcluster.WorkerConfig{MaxTaskCount: 2})
	var ids []int64
	work := func() {
		for range 3 {
			ids = append(ids, c.Run("ETL/Recorder/work.sh", 0, map[string]any{"Out": out}))
		}
	}
	settled := func(n int) {
		t.Helper()
		c.Eventually("as many healthy voters, and as many may fail", 60*time.Second, func() bool {
			s, err := c.Admin().Cluster(t.Context())
			return err == nil && healthy(s) == n && s.FailureTolerance == (n-1)/2
		})
	}
	up := startLoad(t, c, 2)
	defer up.end()
	for n := 2; n <= 5; n++ {
		work()
		c.Add()
		settled(n)
	}
	up.end()
	down := startLoad(t, c, 2) // its client knows all five
	defer down.end()
	left := map[int]bool{}
	for n := 4; n >= 1; n-- {
		work()
		gone := c.Leader()
		if n%2 == 0 { // alternately the leader and another master
			for _, i := range c.Others(gone) {
				if !left[i] {
					gone = i
					break
				}
			}
		}
		if err := c.Admin().RemoveMember(t.Context(), status(t, c)[c.Name(gone)].ID, false); err != nil {
			t.Fatalf("%s cannot leave: %v", c.Name(gone), err)
		}
		c.Stop(gone)
		c.Forget(gone)
		left[gone] = true
		settled(n)
	}
	for _, id := range ids {
		c.WaitStatus(id, 30*time.Second, 7)
	}
	down.end()
	for _, err := range append(up.errs, down.errs...) {
		t.Errorf("a call failed: %v", err)
	}
	t.Logf("%d writes while growing, %d while shrinking; the longest gaps %v and %v",
		up.done.Load(), down.done.Load(), up.longest().Round(time.Millisecond), down.longest().Round(time.Millisecond))
	for run, n := range runs() {
		if n != 1 {
			t.Errorf("%s ran %d times", run, n)
		}
	}
	if n := len(runs()); n != len(ids) {
		t.Errorf("%d runs of %d executions", n, len(ids))
	}
}
