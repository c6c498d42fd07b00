package testcluster_test

import (
	"context"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// With SYNCHRONIZED start_execution is held until the execution ends, across leaders. A repeated call with the same key
// continues the wait.
func TestSynchronizedStart(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, map[string]string{"gated.sh": gated})
	c.Worker(testcluster.WorkerConfig{})
	id := c.Create("F/P/gated.sh", nil)
	s.call("set_execution_parameter_value", map[string]any{
		"execution_id": id, "object_type": 50, "parameter_name": "SYNCHRONIZED", "parameter_value": true})
	type reply struct {
		client.Result
		err error
	}
	start := func(ctx context.Context, by *client.Client) chan reply {
		out := make(chan reply, 1)
		go func() {
			r, err := by.Call(ctx, "start_execution", map[string]any{"execution_id": id}, client.WithKey("the-one-start"))
			out <- reply{r, err}
		}()
		return out
	}
	leader := c.Leader()
	follower := c.Others(leader)[0]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	short, leave := context.WithCancel(ctx)
	left := start(short, c.Admin())
	c.Eventually("it runs", 20*time.Second, func() bool { return s.ran(id, "ran") == 1 })
	leave() // a caller gives up and calls again
	if r := <-left; r.err == nil {
		t.Fatalf("answered before the end: %+v", r)
	}
	resumed := start(ctx, c.Client(follower))
	direct := start(ctx, c.Admin())
	// Both calls are at the leader when it ends: one comes through a follower, the other may have come directly.
	s.noReason(id)
	c.Kill(leader)
	c.Leader()
	for _, r := range []chan reply{resumed, direct} {
		select {
		case r := <-r:
			t.Fatalf("answered before the end: %+v, %v", r.Result, r.err)
		default:
		}
	}
	c.WaitStatus(id, 5*time.Second, 2)
	s.open("go")
	ended := s.WaitStatus(id, 20*time.Second, 7)
	for _, r := range []chan reply{resumed, direct, start(ctx, c.Admin())} {
		select {
		case r := <-r:
			if r.err != nil || r.ReturnValue != 0 {
				t.Errorf("%+v, %v", r.Result, r.err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("still held after the end")
		}
	}
	if n, _ := ended.Int("executed_count"); n != 1 || s.ran(id, "ran") != 1 {
		t.Errorf("%d attempts, ran %d times", n, s.ran(id, "ran"))
	}
}
