package testcluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/testcluster"
)

// All masters are paused for 3 s at once while they write, as by a snapshot of their virtual machines. A write that
// spans the pause says nothing about the disk: no master ends, and the cluster goes on.
func TestMastersOutliveAPauseOfAll(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.SlowDisk(40*time.Millisecond))
	var written atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				if _, err := c.Admin().Call(ctx, "create_folder",
					map[string]any{"folder_name": fmt.Sprintf("f-%d-%d", w, k)}); err == nil {
					written.Add(1)
				}
			}
		})
	}
	goesOn := func() {
		t.Helper()
		before := written.Load()
		c.Eventually("the cluster writes", 30*time.Second, func() bool { return written.Load() > before+20 })
	}
	for round := range 4 {
		goesOn()
		for i := range 3 {
			c.Pause(i)
		}
		time.Sleep(3 * time.Second) // the pause itself
		for i := range 3 {
			c.Resume(i)
		}
		goesOn()
		for i := range 3 {
			if c.Logged(i, "ends itself") {
				t.Fatalf("round %d: %s has ended because of the pause", round, c.Name(i))
			}
		}
	}
	cancel()
	group.Wait()
	c.WaitHashes()
}
