package testcluster_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// eventsOf is what one master tells from the beginning up to now.
func eventsOf(t *testing.T, c *testcluster.Cluster, i int) (out []wire.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Client(i).Events(ctx, client.EventsFrom{After: "0"}, func(e wire.Event) error {
		out = append(out, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// The masters tell one story: across a lost leader, a restart and a change of members, with the same ids.
func TestEventsAreOneStory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Deploy("F", "P", map[string]string{"a.sh": "exit 0\n"})
	w := c.Worker(testcluster.WorkerConfig{})
	c.WaitStatus(c.Run("F/P/a.sh", 0, nil), 20*time.Second, 7)
	leader := c.Leader()
	c.Kill(leader)
	next := c.Leader()
	c.WaitStatus(c.Run("F/P/a.sh", 0, nil), 20*time.Second, 7)
	c.Restart(leader)
	added := c.Add()
	count := func(i int, kind string) (n int) {
		for _, e := range eventsOf(t, c, i) {
			if e.Type == kind {
				n++
			}
		}
		return n
	}
	c.Eventually("the new master is told of as a voter", 30*time.Second, func() bool { return count(next, catalog.EventMemberPromoted) > 0 })
	c.Eventually("the new leader is told of", 20*time.Second, func() bool { return count(next, catalog.EventLeaderElected) >= 2 })
	c.Eventually("all tell the same", 20*time.Second, func() bool {
		story := eventsOf(t, c, next)
		return slices.Equal(story, eventsOf(t, c, leader)) && slices.Equal(story, eventsOf(t, c, added))
	})
	var types []string
	for _, e := range eventsOf(t, c, added) {
		types = append(types, e.Type)
		if e.Type == catalog.EventExecutionGranted && e.Worker != w.ID() {
			t.Errorf("granted to %s", e.Worker)
		}
	}
	for kind, want := range map[string]int{"execution_created": 2, "execution_started": 2, "execution_granted": 2, "execution_ended": 2,
		"project_deployed": 1, "worker_enabled": 1, "member_joined": 4, "member_promoted": 1, "level_raised": 1} {
		got := 0
		for _, k := range types {
			if k == kind {
				got++
			}
		}
		if got != want {
			t.Errorf("%d of %s, want %d: %q", got, kind, want, types)
		}
	}
}

// A commit that waits for the others is told of once it is over.
func TestSlowCommitIsAnEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	leader := c.Leader()
	for _, i := range c.Others(leader) {
		c.Stall(i)
	}
	slow := func() bool {
		return slices.ContainsFunc(eventsOf(t, c, leader), func(e wire.Event) bool { return e.Type == catalog.EventSlowCommit && e.Ms >= 2000 })
	}
	c.Eventually("the watchdog sees it", 20*time.Second, func() bool { return c.Logged(leader, "an entry is not being committed") })
	c.Heal()
	c.Eventually("slow_commit", 20*time.Second, slow)
}
