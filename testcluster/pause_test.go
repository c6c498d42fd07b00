package testcluster_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// pauseTime is how long a leader is stopped: several lease durations.
const pauseTime = time.Minute

// A leader that was stopped with SIGSTOP resumes and believes that it still leads. The calls that wait in its sockets
// must neither read an old state nor renew a lease, and its expired lease clocks must declare no attempt lost.
func TestAPausedLeaderWakes(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Processes())
	deployRecorder(t, c, "true")
	h := c.Controller("controlled", 9*time.Second, 9*time.Second)
	ended := startAndTake(t, c, h, 1)
	kept := startAndTake(t, c, h, 1, ended)
	old := c.Leader()
	alone, stale := c.Client(old), h.At(c, old)
	// The connections exist before: the calls must arrive while the leader is stopped.
	if _, err := alone.View(t.Context(), "folders", client.Query{}); err != nil {
		t.Fatal(err)
	}
	c.Pause(old)
	begin := time.Now()
	through := h.At(c, c.Others(old)[0]) // the worker goes on with another master
	held := []wire.AttemptRef{ended, kept}
	renew := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		a, err := through.Exchange(ctx, 200*time.Millisecond, 0, held)
		if err != nil {
			return false
		}
		for _, ref := range a.Fenced {
			t.Fatalf("%v after the pause began %v is fenced", time.Since(begin), ref)
		}
		return len(a.Renewed) == len(held)
	}
	c.Eventually("the worker renews with the new leader", 20*time.Second, renew)
	ctx, cancel := context.WithTimeout(t.Context(), 2*pauseTime)
	defer cancel()
	others := c.Client(c.Others(old)[0])
	if _, err := others.Call(ctx, "create_folder", map[string]any{"folder_name": "during"}); err != nil {
		t.Fatal(err)
	}
	if a, err := through.Exchange(ctx, 0, 0, []wire.AttemptRef{kept},
		wire.Ended{TaskID: ended.TaskID, Attempt: ended.Attempt, Outcome: wire.OutcomeSucceeded}); err != nil ||
		len(a.Settled) != 1 {
		t.Fatalf("report of %v: %+v, %v", ended, a, err)
	}
	held = []wire.AttemptRef{kept}
	c.Eventually("the pause is over", 2*pauseTime, func() bool { return renew() && time.Since(begin) > pauseTime })

	var group sync.WaitGroup
	read := func() {
		for k := range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			page, err := alone.View(ctx, "folders", client.Query{Equal: map[string]any{"name": "during"}})
			cancel()
			if err == nil && len(page.Rows) == 0 {
				t.Errorf("read %d of the woken leader is older than what was written during its sleep", k)
			}
		}
	}
	exchange := func() {
		for k := range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			a, err := stale.Exchange(ctx, 0, 0, []wire.AttemptRef{ended, kept})
			cancel()
			if err != nil {
				continue
			}
			for _, ref := range a.Renewed {
				if ref == ended {
					t.Errorf("exchange %d renewed an attempt that ended during the sleep", k)
				}
			}
		}
	}
	for range 2 {
		group.Go(read)
	}
	group.Go(exchange)
	c.Resume(old)
	group.Wait()
	c.Eventually("the worker goes on", 20*time.Second, renew)
	if c.Logged(old, "attempt lost") {
		t.Error("the woken leader declared an attempt lost")
	}
	if s := task(t, c, kept.TaskID); s.Text("status") != "running" {
		t.Errorf("the attempt that was renewed all the time is %q", s.Text("status"))
	}
}
