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

// The exit codes of reports that the masters must refuse.
const forgedCode, lateCode = 99, 98

// forgingWorker is a worker that takes no task and reports the attempts of other workers. No leader may accept that.
type forgingWorker struct {
	c          *testcluster.Cluster
	controller *testcluster.Controller
	loop       loop

	refused  int // reports
	accepted []wire.AttemptRef
}

func newForgingWorker(t *testing.T, c *testcluster.Cluster) *forgingWorker {
	t.Helper()
	return &forgingWorker{c: c, controller: c.Controller("forging", 9*time.Second, 9*time.Second)}
}

func (l *forgingWorker) begin() {
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
			reports = append(reports, wire.Ended{TaskID: id, Attempt: int(number), Outcome: wire.OutcomeFailed,
				ExitCode: forgedCode})
		}
		a, err := l.controller.Exchange(ctx, 0, 0, nil, reports...)
		if err != nil {
			return
		}
		l.refused += len(a.Fenced)
		l.accepted = append(l.accepted, a.Settled...)
	})
}

func (l *forgingWorker) end(t *testing.T) {
	t.Helper()
	l.loop.wait()
	t.Logf("%d forged reports were refused", l.refused)
	if len(l.accepted) > 0 {
		t.Errorf("I4: reports of attempts that are another worker's were accepted: %v", l.accepted)
	}
	if l.refused == 0 {
		t.Error("no report was forged: nothing was tested")
	}
}

// lateWorker is a worker that takes a task, is silent until its attempt is declared lost, and then reports it.
type lateWorker struct {
	c          *testcluster.Cluster
	controller *testcluster.Controller
	watch      *watch
	loop       loop
	over       atomic.Bool // it takes no more tasks

	mu       sync.Mutex
	holds    []wire.AttemptRef
	refused  int
	accepted []wire.AttemptRef
}

func newLateWorker(t *testing.T, c *testcluster.Cluster, w *watch) *lateWorker {
	t.Helper()
	return &lateWorker{c: c, controller: c.Controller("late", 9*time.Second, 9*time.Second), watch: w}
}

func (l *lateWorker) begin() {
	l.loop.run(200*time.Millisecond, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.holds) == 0 && !l.over.Load() {
			// An answer may be lost, and a later answer repeats its grants: the worker keeps all of them.
			if a, err := l.controller.Exchange(ctx, time.Second, 1, nil); err == nil {
				for _, g := range a.Grants {
					l.holds = append(l.holds, wire.AttemptRef{TaskID: g.TaskID, Attempt: g.Attempt})
				}
			}
			return
		}
		l.holds = slices.DeleteFunc(l.holds,
			func(ref wire.AttemptRef) bool { return l.watch.lost(ref) && l.report(ctx, ref) })
	})
}

// report sends a report for a lost attempt, and returns whether there was an answer.
func (l *lateWorker) report(ctx context.Context, ref wire.AttemptRef) bool {
	a, err := l.controller.Exchange(ctx, 0, 0, nil,
		wire.Ended{TaskID: ref.TaskID, Attempt: ref.Attempt, Outcome: wire.OutcomeFailed, ExitCode: lateCode})
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

func (l *lateWorker) end(t *testing.T) {
	t.Helper()
	l.c.Eventually("every attempt of the late worker is declared lost", 3*time.Minute, func() bool {
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
