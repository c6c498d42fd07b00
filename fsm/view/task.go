package view

import (
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// task is one attempt of an execution: one that was granted, or the next one of a task that waits or waited too long
// (made is nil). A gap is the place behind all attempts of an execution of which none is shown.
type task struct {
	execution *catalog.Execution
	made      *catalog.Attempt
	number    int64
	gap       bool
}

func tasksView() *View {
	return declare(declaration[task]{
		Name: "tasks", Permission: command.MayReadOperations, Key: []string{"task_id", "attempt"}, Source: FromLive,
		Rising: []string{"execution_id"},
		Doc: "The attempts of executions' tasks, with the reason why one waits. An ended task stays for at least " +
			"60 minutes.",
		Columns: []column[task]{
			{Name: "task_id", Type: sqltype.BigInt, Doc: "the task; it has its execution's id",
				Get: func(t task) any { return t.execution.ID }},
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution",
				Get: func(t task) any { return t.execution.ID }},
			{Name: "attempt", Type: sqltype.Int, Doc: "numbered from 1; of a waiting task the next one",
				Get: func(t task) any { return t.number }},
			{Name: "status", Type: sqltype.NVarChar(32),
				Doc: "pending, running, stopping, succeeded, failed, canceled, lost, returned", Get: taskStatus},
			{Name: "worker_agent_id", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "the worker that holds or held it",
				Get: ofAttempt(func(a *catalog.Attempt) any { return guidOrNull(a.Worker) })},
			{Name: "machine", Type: sqltype.NVarChar(256), Nullable: true, Doc: "that worker's machine",
				Get: ofAttempt(func(a *catalog.Attempt) any { return orNull(a.Machine) })},
			{Name: "granted", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when the worker got it",
				Get: ofAttempt(func(a *catalog.Attempt) any { return timeOrNull(a.Granted) })},
			{Name: "ended", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended",
				Get: func(t task) any {
					switch {
					case t.made != nil:
						return timeOrNull(t.made.Ended)
					case t.execution.Overdue:
						return timeOrNull(t.execution.Ended)
					}
					return nil
				}},
			{Name: "outcome", Type: sqltype.NVarChar(32), Nullable: true, Doc: "succeeded, failed, canceled, lost, returned",
				Get: func(t task) any {
					switch {
					case t.made != nil:
						return orNull(string(t.made.Outcome))
					case t.execution.Overdue:
						return string(command.Failed)
					}
					return nil
				}},
			{Name: "exit_code", Type: sqltype.Int, Nullable: true, Doc: "of the package's process",
				Get: ofAttempt(func(a *catalog.Attempt) any {
					own := a.Outcome == command.Succeeded || a.Outcome == command.Failed || a.Outcome == command.Canceled
					if !own || a.Held() || a.HandedBack {
						return nil
					}
					return int64(a.ExitCode)
				})},
			{Name: "message", Type: sqltype.NVarCharMax, Nullable: true,
				Doc: "the worker's last word, or what is known of a lost one", Derive: taskMessage},
			{Name: "give_up_after_ms", Type: sqltype.BigInt, Nullable: true,
				Doc: "how long the package may run on without a master",
				Get: ofAttempt(func(a *catalog.Attempt) any { return a.GiveUpAfterMs })},
			{Name: "lease_until", Type: sqltype.DateTimeOffset, Nullable: true, Live: true,
				Doc: "when it is given up if its worker stays silent", Derive: taskLease},
			{Name: "reason", Type: sqltype.NVarChar(64), Nullable: true,
				Doc: "why it waits: no_worker_enabled, no_worker_online, no_worker_can_run, workers_busy, " +
					"selected_workers_offline, selected_workers_busy, retry_wait, handed_back, starting; or the bound that ended " +
					"it: queue_timeout, run_timeout",
				Derive: func(q *Query, t task) any { reason, _ := taskReason(q, t); return reason }},
			{Name: "reason_text", Type: sqltype.NVarCharMax, Nullable: true, Doc: "the reason as a sentence",
				Derive: func(q *Query, t task) any { _, sentence := taskReason(q, t); return sentence }},
		},
		Gap:     func(t task) bool { return t.gap },
		Visible: func(q *Query, t task) bool { return seesExecution(q, t.execution) },
		Paths: []path[task]{
			{On: "execution_id", Cost: oneRow, Ordered: true, In: tasksWithIDs},
			{On: "task_id", Cost: oneRow, Ordered: true, In: tasksWithIDs,
				From: func(q *Query, _ any) iter.Seq[task] { return tasks(q, walked(q, q.Reader.Tasks())) }},
		},
	})
}

func tasksWithIDs(q *Query, ids []any) iter.Seq[task] {
	return tasks(q, found(q, ids, func(id int64) (execution, bool) {
		e, ok := q.Reader.Execution(id)
		// Cleanup took the task, though not yet the execution.
		return e, ok && !(e.Status.HasEnded() && e.Ended < q.Reader.TasksBefore())
	}))
}

// tasks are the attempts of executions, and one gap for each execution of which the query's caller sees none.
func tasks(q *Query, executions iter.Seq[execution]) iter.Seq[task] {
	return func(yield func(task) bool) {
		for e := range executions {
			n := len(e.Attempts)
			if e.Status == catalog.Pending || e.Overdue {
				n++
			}
			if n == 0 || !seesExecution(q, e) {
				if !yield(task{execution: e, number: lastPlace(q), gap: true}) {
					return
				}
				continue
			}
			for i := range n {
				if q.Descending {
					i = n - 1 - i
				}
				t := task{execution: e}
				if i < len(e.Attempts) {
					t.made, t.number = &e.Attempts[i], int64(e.Attempts[i].Number)
				} else {
					t.number = int64(e.Next())
				}
				if !yield(t) {
					return
				}
			}
		}
	}
}

// ofAttempt is a getter that has NULL for an attempt that was not granted.
func ofAttempt(get func(*catalog.Attempt) any) func(task) any {
	return func(t task) any {
		if t.made == nil {
			return nil
		}
		return get(t.made)
	}
}

func taskStatus(t task) any {
	switch {
	case t.made == nil && t.execution.Overdue:
		return string(command.Failed)
	case t.made == nil:
		return "pending"
	case !t.made.Held():
		return string(t.made.Outcome)
	case t.execution.Status == catalog.Stopping:
		return "stopping"
	}
	return "running"
}

func taskMessage(q *Query, t task) any {
	a := t.made
	switch {
	case a == nil && t.execution.Overdue:
		return overdueText(t.execution)
	case a == nil:
		return nil
	case !a.Held() && a.Outcome == catalog.Lost:
		return lostSentence(q, a)
	case !a.Held() && a.HandedBack:
		return registry.Text(registry.HTTP, command.ReasonHandedBackTooOften,
			command.Arguments(catalog.MostReturned, a.Message))
	}
	return orNull(a.Message)
}

func overdueText(e *catalog.Execution) string {
	note := e.OverdueNote()
	return registry.Text(registry.HTTP, note.Code, note.Args)
}

func taskLease(q *Query, t task) any {
	if t.made == nil || !t.made.Held() {
		return nil
	}
	until, ok := q.Live.LeaseUntil(command.AttemptRef{TaskID: t.execution.ID, Attempt: t.made.Number})
	if !ok {
		return nil
	}
	return timeOrNull(command.At(until))
}

// taskReason is the bound that ended the attempt, else why it waits or is silent, which only the leader knows.
func taskReason(q *Query, t task) (reason, sentence any) {
	switch {
	case t.made == nil && t.execution.Overdue:
		return catalog.QueueTimeout, overdueText(t.execution)
	case t.made != nil && t.made.Code != "":
		return t.made.Code, orNull(t.made.Message)
	case q.Live == nil || t.made != nil && !t.made.Held():
		return nil, nil
	}
	code, args, ok := q.Live.Reason(t.execution.ID)
	if !ok {
		return nil, nil
	}
	return command.ReasonName(code), registry.Text(registry.HTTP, code, args)
}

// lostSentence says which worker was lost, and when.
func lostSentence(q *Query, a *catalog.Attempt) string {
	code := command.ReasonLost
	args := []string{catalog.WorkerCalled(q.Reader, a.Worker), a.Machine, sqltype.Text(sqltype.DateTimeOffset, a.Ended)}
	if a.SilentSince != 0 {
		code, args = command.ReasonLostSilent, append(args, sqltype.Text(sqltype.DateTimeOffset, a.SilentSince))
	}
	return registry.Text(registry.HTTP, code, args)
}
