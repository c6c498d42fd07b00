package catalog

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// An execution may wait for a worker as long as it says, in state time: the wait of each attempt counts from when the
// attempt could be granted, and one that is handed back goes on with the wait that it had.
func TestQueueTimeout(t *testing.T) {
	const wait = time.Minute
	bounded := func(w *machine, retries int) int64 {
		id := w.create("Load.dtsx")
		w.ok(&command.SetExecutionParameter{ExecutionID: id, ObjectType: ObjectExecution, Name: "queue_timeout",
			Value: command.Value{Type: "Int32", Text: strconv.Itoa(int(wait / time.Second))}})
		w.ok(&command.StartExecution{ExecutionID: id, RetryCount: retries, RetryDelayMs: 5000})
		return id
	}
	overdue := func(w *machine, id int64, attempt int) *command.FailQueued {
		return &command.FailQueued{Items: []command.Overdue{{
			AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, Until: w.execution(id).QueueUntil,
			Reason: "no_worker_online",
		}}}
	}
	for _, tc := range []struct {
		name string
		when func(w *machine) *command.FailQueued
		code string // of the refusal
	}{
		{"in time", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait - 3*time.Second)
			return overdue(w, id, 1)
		}, command.CodeNotPending},
		{"too late", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait)
			return overdue(w, id, 1)
		}, ""},
		{"without a bound", func(w *machine) *command.FailQueued {
			id := w.pending(0)
			w.pass(wait)
			return overdue(w, id, 1)
		}, command.CodeNotPending},
		{"taken meanwhile", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait)
			w.grant(id, 1)
			return overdue(w, id, 1)
		}, command.CodeNotPending},
		{"stopped meanwhile", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			c := overdue(w, id, 1)
			w.pass(wait)
			w.ok(&command.StopOperation{OperationID: id})
			return c
		}, command.CodeNotPending},
		{"of the attempt before", func(w *machine) *command.FailQueued {
			id := bounded(w, 1)
			c := overdue(w, id, 1)
			w.grant(id, 1)
			w.ok(reportOf(id, 1, command.Failed))
			w.pass(2 * wait)
			return c
		}, command.CodeNotPending},
		{"the next attempt's wait, too early", func(w *machine) *command.FailQueued {
			id := bounded(w, 1)
			w.grant(id, 1)
			w.pass(wait)
			w.ok(reportOf(id, 1, command.Failed))
			w.pass(wait)
			return overdue(w, id, 2)
		}, command.CodeNotPending},
		{"the next attempt's wait", func(w *machine) *command.FailQueued {
			id := bounded(w, 1)
			w.grant(id, 1)
			w.pass(wait)
			w.ok(reportOf(id, 1, command.Failed))
			w.pass(wait + 5*time.Second)
			return overdue(w, id, 2)
		}, ""},
		{"handed back, the first wait goes on", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait - 10*time.Second)
			w.grant(id, 1)
			w.ok(reportOf(id, 1, command.Returned))
			w.pass(10 * time.Second)
			return overdue(w, id, 2)
		}, ""},
		{"of another moment", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait)
			c := overdue(w, id, 1)
			c.Items[0].Until--
			return c
		}, command.CodeNotPending},
		{"with a story instead of a reason", func(w *machine) *command.FailQueued {
			id := bounded(w, 0)
			w.pass(wait)
			c := overdue(w, id, 1)
			c.Items[0].Reason = strings.Repeat("x", mostCode+1)
			return c
		}, command.FamilyInvalidArgument},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ready(t)
			c := tc.when(w)
			if tc.code != "" {
				w.refused(tc.code, c)
				return
			}
			w.ok(c)
			x := w.execution(c.Items[0].TaskID)
			if x.Status != Failed || !x.Overdue || x.Waited != "no_worker_online" || x.Ended == 0 {
				t.Errorf("%+v", x)
			}
			if note := x.Notes[len(x.Notes)-1]; note.Type != MessageError || note.Code != command.NoteOverdueReason ||
				!slices.Contains(note.Args, "no_worker_online") {
				t.Errorf("%+v", note)
			}
			w.refused(command.CodeNotPending, c)
		})
	}
	t.Run("out of bounds", func(t *testing.T) {
		w := ready(t)
		for _, text := range []string{"-1", strconv.Itoa(int(maxTimeout/time.Second) + 1), "2h", ""} {
			w.refused(command.CodeOptionSeconds, &command.SetExecutionParameter{ExecutionID: w.create("Load.dtsx"),
				ObjectType: ObjectExecution,
				Name:       OptionQueueTimeout, Value: command.Value{Type: "Int32", Text: text}})
		}
	})
}

// An attempt that ran too long counts as failed, says so, and may be followed by another.
func TestRunTimeoutIsAFailure(t *testing.T) {
	w := ready(t)
	id := w.pending(1)
	for attempt, want := range []Status{Pending, Failed} {
		w.grant(id, attempt+1)
		r := reportOf(id, attempt+1, command.Failed)
		r.Ended[0].Code, r.Ended[0].ExitCode = RunTimeout, -1
		w.ok(r)
		w.status(id, want)
		x := w.execution(id)
		if note := x.Notes[len(x.Notes)-1]; note.Code != command.NoteRunTimeout {
			t.Error(note)
		}
		if x.Attempts[attempt].Code != RunTimeout {
			t.Errorf("%+v", x.Attempts[attempt])
		}
	}
	long := w.pending(0)
	w.grant(long, 1)
	r := reportOf(long, 1, command.Failed)
	r.Ended[0].Code = strings.Repeat("x", mostCode+1)
	w.refused(command.FamilyInvalidArgument, r)
}
