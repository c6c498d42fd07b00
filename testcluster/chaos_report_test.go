package testcluster_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Exit codes of reports that must be refused.
const lie, late = 99, 98

// liar is a worker that takes nothing and reports what others run: none of it may be accepted, whoever leads.
type liar struct {
	c          *testcluster.Cluster
	controller *testcluster.Controller
	loop       loop

	told     int
	accepted []wire.AttemptRef
}

func newLiar(t *testing.T, c *testcluster.Cluster) *liar {
	t.Helper()
	return &liar{c: c, controller: c.Controller("liar", 9*time.Second, 9*time.Second)}
}

func (l *liar) begin() {
	l.loop.run(200*time.Millisecond, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		page, err := l.c.Admin().View(ctx, "tasks", client.Query{Equal: map[string]any{"status": "running"}, PageSize: 10})
		if err != nil {
			return
		}
		var reports []wire.Ended
		for _, row := range page.Rows {
			id, _ := row.Int("task_id")
			number, _ := row.Int("attempt")
			reports = append(reports, wire.Ended{TaskID: id, Attempt: int(number), Outcome: wire.OutcomeFailed, ExitCode: lie})
		}
		a, err := l.controller.Exchange(ctx, 0, 0, nil, reports...)
		if err != nil {
			return
		}
		l.told += len(a.Fenced)
		l.accepted = append(l.accepted, a.Settled...)
	})
}

func (l *liar) end(t *testing.T) {
	t.Helper()
	l.loop.wait()
	t.Logf("%d lies were refused", l.told)
	if len(l.accepted) > 0 {
		t.Errorf("I4: reports of attempts that are another worker's were accepted: %v", l.accepted)
	}
	if l.told == 0 {
		t.Error("no lie was told: nothing was tested")
	}
}

// laggard is a worker that takes a task, falls silent until the attempt is called lost, and then reports it.
type laggard struct {
	c          *testcluster.Cluster
	controller *testcluster.Controller
	watch      *watch
	loop       loop
	over       atomic.Bool // takes no more

	mu       sync.Mutex
	holds    []wire.AttemptRef
	refused  int
	accepted []wire.AttemptRef
}

func newLaggard(t *testing.T, c *testcluster.Cluster, w *watch) *laggard {
	t.Helper()
	return &laggard{c: c, controller: c.Controller("laggard", 9*time.Second, 9*time.Second), watch: w}
}

func (l *laggard) begin() {
	l.loop.run(200*time.Millisecond, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.holds) == 0 && !l.over.Load() {
			// An answer may be lost, and what was granted in it comes with a later one: all of it grows old.
			if a, err := l.controller.Exchange(ctx, time.Second, 1, nil); err == nil {
				for _, g := range a.Grants {
					l.holds = append(l.holds, wire.AttemptRef{TaskID: g.TaskID, Attempt: g.Attempt})
				}
			}
			return
		}
		l.holds = slices.DeleteFunc(l.holds, func(ref wire.AttemptRef) bool { return l.watch.lost(ref) && l.report(ctx, ref) })
	})
}

// report brings the news that nobody waits for any more, and says whether there was an answer.
func (l *laggard) report(ctx context.Context, ref wire.AttemptRef) bool {
	a, err := l.controller.Exchange(ctx, 0, 0, nil, wire.Ended{TaskID: ref.TaskID, Attempt: ref.Attempt, Outcome: wire.OutcomeFailed, ExitCode: late})
	if err != nil {
		return false
	}
	if slices.Contains(a.Fenced, ref) {
		l.refused++
	} else {
		l.accepted = append(l.accepted, ref)
	}
	return true
}

func (l *laggard) end(t *testing.T) {
	t.Helper()
	l.c.Eventually("what the laggard holds is called lost", 3*time.Minute, func() bool {
		if err := l.watch.look(t.Context()); err != nil {
			return false
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.holds) == 0
	})
	l.loop.wait()
	t.Logf("%d late reports were refused", l.refused)
	if len(l.accepted) > 0 {
		t.Errorf("I4: reports of lost attempts were not refused: %v", l.accepted)
	}
}
