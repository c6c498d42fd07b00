package testcluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// watch reads the catalog again and again, with linearizable reads, and compares each result with the earlier ones:
// what was acknowledged exists (I1), and the outcome of an attempt does not change (I4).
type watch struct {
	c    *testcluster.Cluster
	load *chaosLoad
	loop loop

	looking sync.Mutex // held from before a look's first read until it has been compared

	mu       sync.Mutex
	looks    int
	problems []string
	attempts map[wire.AttemptRef]attemptRow
	statuses map[int64]int64 // of executions
}

// attemptRow is the catalog's row of an attempt that was granted to a worker.
type attemptRow struct {
	worker, outcome, message string
	granted, ended           time.Time
	exitCode                 int64
}

func newWatch(c *testcluster.Cluster, load *chaosLoad) *watch {
	return &watch{c: c, load: load, attempts: map[wire.AttemptRef]attemptRow{}, statuses: map[int64]int64{}}
}

func (w *watch) begin() {
	w.loop.run(300*time.Millisecond, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_ = w.look(ctx) // there may be no leader now
	})
}

func (w *watch) end(t *testing.T) {
	t.Helper()
	w.loop.wait()
	must(t, w.look(t.Context()))
	t.Logf("the catalog was read %d times and knows %d attempts", w.looks, len(w.attempts))
	for _, p := range w.problems[:min(len(w.problems), 20)] {
		t.Error(p)
	}
}

func (w *watch) wrong(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf("look %d: ", w.looks)+fmt.Sprintf(format, args...))
}

// lost reports whether the catalog says that an attempt is lost.
func (w *watch) lost(ref wire.AttemptRef) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts[ref].outcome == "lost"
}

// look reads everything once. The result must contain all that was known before. Only one look runs at a time: of two
// parallel ones, the one with the newer rows may be compared first, and the older rows would then look like a catalog
// that went back.
func (w *watch) look(ctx context.Context) error {
	w.looking.Lock()
	defer w.looking.Unlock()
	acknowledged := w.load.acknowledged()
	admin := w.c.Admin()
	statuses := map[int64]int64{}
	for row, err := range admin.Rows(ctx, "executions", client.Query{PageSize: 1000}) {
		if err != nil {
			return err
		}
		id, _ := row.Int("execution_id")
		statuses[id], _ = row.Int("status")
	}
	tasks := map[int64][]attemptRow{}
	found := map[wire.AttemptRef]attemptRow{}
	for row, err := range admin.Rows(ctx, "tasks", client.Query{PageSize: 1000}) {
		if err != nil {
			return err
		}
		a := attemptRow{worker: row.Text("worker_agent_id"), outcome: row.Text("outcome"), message: row.Text("message")}
		var given bool
		if a.granted, given = row.Time("granted"); !given {
			continue // it is not granted yet
		}
		a.ended, _ = row.Time("ended")
		a.exitCode, _ = row.Int("exit_code")
		id, _ := row.Int("task_id")
		number, _ := row.Int("attempt")
		found[wire.AttemptRef{TaskID: id, Attempt: int(number)}] = a
		tasks[id] = append(tasks[id], a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	w.compareStatuses(acknowledged, statuses)
	w.compareAttempts(found)
	for id, attempts := range tasks {
		w.checkTask(id, attempts)
	}
	return nil
}

func (w *watch) compareStatuses(acknowledged []int64, now map[int64]int64) {
	for _, id := range acknowledged {
		switch status, ok := now[id]; {
		case !ok:
			w.wrong("I1: execution %d was acknowledged and is not there", id)
		case status == created:
			w.wrong("I1: the start of execution %d was acknowledged and it has not been started", id)
		}
	}
	for id, before := range w.statuses {
		status, ok := now[id]
		if !ok {
			w.wrong("I1: execution %d was there and is not any more", id)
		}
		if slices.Contains([]int64{canceled, failed, unexpected, succeeded}, before) && status != before {
			w.wrong("I1: execution %d had ended with status %d and now has %d", id, before, status)
		}
	}
	w.statuses = now
}

func (w *watch) compareAttempts(now map[wire.AttemptRef]attemptRow) {
	for ref, before := range w.attempts {
		a, ok := now[ref]
		switch {
		case !ok && before.outcome == wire.OutcomeReturned:
			now[ref] = before // the catalog keeps only a limited number of these
		case !ok:
			w.wrong("I4: attempt %v was there and is not any more: %+v", ref, before)
		case a.worker != before.worker || !a.granted.Equal(before.granted):
			w.wrong("I4: attempt %v was granted as %+v and is now %+v", ref, before, a)
		case before.outcome != "" && a != before:
			w.wrong("I4: attempt %v had ended as %+v and is now %+v", ref, before, a)
		}
	}
	w.attempts = now
}

// checkTask checks a task's attempts in their order: only the last one may be running or have succeeded, and each was
// granted after the previous one had ended, in state time.
func (w *watch) checkTask(id int64, attempts []attemptRow) {
	for i, a := range attempts {
		if a.exitCode == forgedCode || a.exitCode == lateCode {
			w.wrong("I4: a report that had to be refused was accepted: task %d, %+v", id, a)
		}
		if i == 0 {
			continue
		}
		before := attempts[i-1]
		if before.outcome == "" || before.outcome == wire.OutcomeSucceeded || a.granted.Before(before.ended) {
			w.wrong("I4: task %d: %+v follows %+v", id, a, before)
		}
	}
}
