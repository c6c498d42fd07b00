package view

import (
	"context"
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func tasksView() *View {
	return &View{
		Name: "tasks", Permission: catalog.Readers, Key: []string{"task_id", "attempt"}, Source: FromLive,
		Doc: "The attempts of executions' tasks, with the reason why one waits. An ended task stays for at least 60 minutes.",
		Columns: []registry.Column{
			{Name: "task_id", Type: sqltype.BigInt, Doc: "the task; it has its execution's id"},
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution"},
			{Name: "attempt", Type: sqltype.Int, Doc: "numbered from 1; of a waiting task the next one"},
			{Name: "status", Type: sqltype.NVarChar(32),
				Doc: "pending, running, stopping, succeeded, failed, canceled, lost, returned"},
			{Name: "worker_agent_id", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "the worker that holds or held it"},
			{Name: "machine", Type: sqltype.NVarChar(256), Nullable: true, Doc: "that worker's machine"},
			{Name: "granted", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when the worker got it"},
			{Name: "ended", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended"},
			{Name: "outcome", Type: sqltype.NVarChar(32), Nullable: true, Doc: "succeeded, failed, canceled, lost, returned"},
			{Name: "exit_code", Type: sqltype.Int, Nullable: true, Doc: "of the package's process"},
			{Name: "message", Type: sqltype.NVarCharMax, Nullable: true,
				Doc: "the worker's last word, or what is known of a lost one"},
			{Name: "give_up_after_ms", Type: sqltype.BigInt, Nullable: true,
				Doc: "how long the package may run on without a master"},
			{Name: "lease_until", Type: sqltype.DateTimeOffset, Nullable: true, Live: true,
				Doc: "when it is given up if its worker stays silent"},
			{Name: "reason", Type: sqltype.NVarChar(64), Nullable: true, Live: true,
				Doc: "why it waits: no_worker_enabled, no_worker_online, no_worker_can_run, workers_busy, " +
					"selected_workers_offline, selected_workers_busy, retry_wait, handed_back, starting; or the bound that ended " +
					"it: queue_timeout, run_timeout"},
			{Name: "reason_text", Type: sqltype.NVarCharMax, Nullable: true, Live: true, Doc: "the reason as a sentence"},
		},
		Walks: always,
		Rows:  taskRows,
	}
}

func taskRows(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
	return func(yield func(registry.Row, error) bool) {
		for e := range taskExecutions(q) {
			n := len(e.Attempts)
			if e.Status == catalog.Pending || e.Overdue {
				n++
			}
			if n == 0 || !sees(q, e.ID, e.Caller) {
				if !yield(registry.Row{e.ID, e.ID, lastPlace(q)}, errHidden) {
					return
				}
				continue
			}
			for i := range n {
				if q.Descending {
					i = n - 1 - i
				}
				if !yield(taskRow(q, e, i), nil) {
					return
				}
			}
		}
	}
}

// taskExecutions are the executions whose task still shows, in the order of their ids.
func taskExecutions(q *Query) iter.Seq[*catalog.Execution] {
	for _, column := range []string{"execution_id", "task_id"} {
		if id, ok := equalInt(q, column); ok {
			e, ok := q.View.Execution(id)
			// Cleanup took the task, though not yet the execution.
			ok = ok && !(e.Status.HasEnded() && e.Ended < q.View.TasksBefore())
			return one(e, ok)
		}
	}
	return walked(q.View.Tasks(), q)
}

// taskRow is the attempt at position i; one behind the last is the attempt that a pending task waits for.
func taskRow(q *Query, e *catalog.Execution, i int) registry.Row {
	var reason, sentence any
	if q.Live != nil && i >= len(e.Attempts)-1 {
		if code, args, ok := q.Live.Reason(e.ID); ok && (i == len(e.Attempts) || e.Attempts[i].Held()) {
			reason, sentence = command.ReasonName(code), registry.Text(registry.HTTP, code, args)
		}
	}
	if i == len(e.Attempts) {
		number := e.Next()
		if e.Overdue {
			note := e.OverdueNote()
			why := registry.Text(registry.HTTP, note.Code, note.Args)
			return registry.Row{e.ID, e.ID, int64(number), string(command.Failed), nil, nil, nil, timeOrNull(e.Ended),
				string(command.Failed), nil,
				why, nil, nil, catalog.QueueTimeout, why}
		}
		return registry.Row{e.ID, e.ID, int64(number), "pending", nil, nil, nil, nil, nil, nil, nil, nil, nil, reason,
			sentence}
	}
	a := &e.Attempts[i]
	if a.Code != "" {
		reason, sentence = a.Code, orNull(a.Message)
	}
	row := registry.Row{e.ID, e.ID, int64(a.Number), string(a.Outcome), guidOrNull(a.Worker), orNull(a.Machine),
		timeOrNull(a.Granted),
		timeOrNull(a.Ended), orNull(string(a.Outcome)), nil, orNull(a.Message), a.GiveUpAfterMs, nil, reason, sentence}
	switch {
	case a.Held():
		row[3] = "running"
		if e.Status == catalog.Stopping {
			row[3] = "stopping"
		}
		if q.Live != nil {
			if until, ok := q.Live.LeaseUntil(command.AttemptRef{TaskID: e.ID, Attempt: a.Number}); ok {
				row[12] = timeOrNull(command.At(until))
			}
		}
	case a.Outcome == catalog.Lost:
		row[10] = lostSentence(q, a)
	case a.HandedBack:
		row[10] = registry.Text(registry.HTTP, command.ReasonHandedBackTooOften,
			command.Arguments(catalog.MostReturned, a.Message))
	case a.Outcome == command.Succeeded || a.Outcome == command.Failed || a.Outcome == command.Canceled:
		row[9] = int64(a.ExitCode)
	}
	return row
}

// lostSentence says which worker was lost, and when.
func lostSentence(q *Query, a *catalog.Attempt) string {
	code := command.ReasonLost
	args := []string{catalog.WorkerCalled(q.View, a.Worker), a.Machine, sqltype.Text(sqltype.DateTimeOffset, a.Ended)}
	if a.SilentSince != 0 {
		code, args = command.ReasonLostSilent, append(args, sqltype.Text(sqltype.DateTimeOffset, a.SilentSince))
	}
	return registry.Text(registry.HTTP, code, args)
}
