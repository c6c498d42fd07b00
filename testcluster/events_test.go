package testcluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/fsm/catalog"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// eventsOf returns all events of one master up to now.
func eventsOf(t *testing.T, c *testcluster.Cluster, i int) (out []wire.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Client(i).Events(ctx, client.EventsFrom{After: "0"}, func(e wire.Event) error {
		out = append(out, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// All masters send the same events with the same ids, across a lost leader, a restart and a change of members.
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
	c.Eventually("the new master is told of as a voter", 30*time.Second, func() bool {
		return slices.ContainsFunc(eventsOf(t, c, next), func(e wire.Event) bool {
			// A master that was promoted before the leader announced it joins as a voter.
			return e.Name == c.Name(added) &&
				(e.Type == catalog.EventMemberPromoted || e.Type == catalog.EventMemberJoined && e.Voter)
		})
	})
	c.Eventually("the new leader is told of", 20*time.Second,
		func() bool { return count(next, catalog.EventLeaderElected) >= 2 })
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
		if e.Type == catalog.EventExecutionEnded &&
			(e.Status != 7 || e.StatusName != "succeeded" || e.Folder != "F" || e.Project != "P" || e.Package != "a.sh") {
			t.Errorf("an end is told as %+v", e)
		}
	}
	for kind, want := range map[string]int{"execution_created": 2, "execution_started": 2, "execution_granted": 2,
		"execution_ended":  2,
		"project_deployed": 1, "worker_enabled": 1, "member_joined": 4, "level_raised": 1} {
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

// An operator learns of an important event in three ways: a log line with its keys, a metric, and an event.
func TestEachHappeningIsToldThreeWays(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Profile("lan"),
		testcluster.Settings(func(_ int, cfg *master.Config) { cfg.MetricsOpen = true }))
	s := deployScripts(t, c, map[string]string{"never.sh": "exit 0\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const lease = 9 * time.Second
	h := c.Controller("controlled", lease, lease)
	id := s.startOn("never.sh", 0, h.ID)
	if a, err := h.Exchange(ctx, 5*time.Second, 1, nil); err != nil || len(a.Grants) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	c.WaitStatus(id, 60*time.Second, 6) // the worker stays silent, so the attempt is lost
	ref := wire.AttemptRef{TaskID: id, Attempt: 1}
	if a, err := h.Exchange(ctx, 0, 0, []wire.AttemptRef{ref}); err != nil || len(a.Fenced) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := h.Exchange(ctx, 0, 0, nil,
		wire.Ended{TaskID: id, Attempt: 1, Outcome: wire.OutcomeSucceeded}); err != nil || len(a.Fenced) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	leader := c.Leader()
	gone := c.Others(leader)[0]
	if err := c.Admin().RemoveMember(ctx, status(t, c)[c.Name(gone)].ID, false); err != nil {
		t.Fatal(err)
	}
	c.Stop(gone)
	c.Forget(gone)
	stays := c.Others(leader)[1]
	for _, x := range []struct {
		event string
		least int // on a busy machine leadership moves, and each new leader reports an orphan again
		lines []string
	}{
		{catalog.EventAttemptLost, 1,
			[]string{fmt.Sprintf("component=dispatch task_id=%d attempt=1 worker=%s silent_since=", id,
				h.ID)}},
		{catalog.EventReportFenced, 2, []string{
			fmt.Sprintf("component=dispatch task_id=%d attempt=1 worker=%s", id, h.ID),
			"msg=\"report fenced: the attempt is not that worker's any more\"",
		}},
		{catalog.EventMemberRemoved, 1, []string{"change=member_removed master=" + c.Name(gone) + " master_id="}},
		{catalog.EventLeaderElected, 1, []string{"msg=\"leadership changed\"", " leader=" + c.Name(leader) + " master_id="}},
	} {
		for _, i := range []int{leader, stays} {
			c.Eventually(x.event+" at "+c.Name(i), 20*time.Second, func() bool {
				n := 0
				for _, e := range eventsOf(t, c, i) {
					if e.Type == x.event {
						n++
					}
				}
				counted := 0.0
				for _, m := range families(t, c, i)["scaleout_events_total"].GetMetric() {
					if m.GetLabel()[0].GetValue() == x.event {
						counted = m.GetCounter().GetValue()
					}
				}
				return n >= x.least && counted == float64(n)
			})
		}
		for _, line := range x.lines {
			if !c.Said(line) {
				t.Errorf("%s: the log does not say %q", x.event, line)
			}
		}
	}
}

// A slow commit is reported after it is over.
func TestSlowCommitIsAnEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Profile("wan"))
	leader := 0
	seen := func() bool { return c.Logged(leader, "an entry is not being committed") }
	// On a busy machine the leader may lose its leadership before its watchdog reacts; then no master can be elected.
	for try := 0; !seen(); try++ {
		if try == 5 {
			t.Fatal("no watchdog saw that the followers' disks stall")
		}
		leader = c.Leader()
		for _, i := range c.Others(leader) {
			c.Stall(i)
		}
		c.Eventually("the watchdog sees it, or the leader leads no more", 20*time.Second, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			l, err := c.Client(leader).Leader(ctx)
			return seen() || err != nil || l.Name != c.Name(leader)
		})
		c.Heal()
	}
	c.Eventually("slow_commit", 20*time.Second, func() bool {
		return slices.ContainsFunc(eventsOf(t, c, leader), func(e wire.Event) bool {
			return e.Type == catalog.EventSlowCommit && e.Ms >= 1000 && e.Detail == catalog.SlowOtherMasters
		})
	})
}
