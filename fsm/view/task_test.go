package view_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/view"
)

// What a bound of the execution ended says so in the view of tasks, whoever leads and after the end as well.
func TestTasksOfBoundedExecutions(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	id := w.Create(fsmtest.Bob, "")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":50,"parameter_name":"QUEUE_TIMEOUT","parameter_value":60}`, id)
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d,"retry_count":2}`, id)
	w.Grant(id, 1, fsmtest.WorkerOne, "m1")
	w.Must(fsmtest.Alice, &command.Exchange{Worker: fsmtest.WorkerOne, Incarnation: "m1-1", Ended: []command.Report{{
		AttemptRef: command.AttemptRef{TaskID: id, Attempt: 1}, Outcome: command.Failed, ExitCode: -1, Message: "too long",
		Code: catalog.RunTimeout}}})
	x, _ := w.State.Reader().Execution(id)
	w.Now = x.QueueUntil
	w.Must(fsmtest.Alice,
		&command.FailQueued{Items: []command.Overdue{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: 2},
			Until: x.QueueUntil, Reason: "workers_busy"}}})
	rows := w.Query(fsmtest.Alice, "tasks", view.Request{})
	if len(rows) != 2 {
		t.Fatalf("%v", rows)
	}
	for i, want := range []struct{ reason, says string }{
		{catalog.RunTimeout, "too long"},
		{catalog.QueueTimeout, "no worker took it within 1m0s, the execution's QUEUE_TIMEOUT (workers_busy)"},
	} {
		if r := rows[i]; r["status"] != "failed" || r["reason"] != want.reason || !strings.Contains(r["message"].(string),
			want.says) {
			t.Errorf("attempt %d: %v", i+1, r)
		}
	}
}

// The attempts of one task, from the start of its execution to the cleanup. Each case goes on where the one before it
// ended.
func TestTasksView(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	id := w.Create(fsmtest.Bob, "")
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, id)
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d,"retry_count":2}`, id)
	leads := memory{reasons: map[int64]string{id: command.ReasonWorkersBusy},
		until: time.Date(2024, 5, 1, 13, 0, 0, 0, time.UTC)}
	grant := func(attempt int) { w.Grant(id, attempt, fsmtest.WorkerOne, "m1") }
	report := func(attempt int, outcome command.Outcome, exit int) {
		w.Report(id, attempt, fsmtest.WorkerOne, "m1", outcome, exit)
	}
	const one = "1 failed m1 failed 9 lease=false <nil>"
	const two = "2 returned m1 returned <nil> lease=false <nil>"
	const three = "3 lost m1 lost <nil> lease=false <nil>"
	for _, c := range []struct {
		name  string
		do    func()
		live  view.Live
		order string
		want  string // attempt, status, machine, outcome, exit code, lease, reason
	}{
		{"pending", func() {}, leads, "", "1 pending <nil> <nil> <nil> lease=false workers_busy"},
		{"running", func() { grant(1) }, leads, "", "1 running m1 <nil> <nil> lease=true workers_busy"},
		{"failed, and the next is pending", func() { report(1, command.Failed, 9) }, leads, "",
			one + "; 2 pending <nil> <nil> <nil> lease=false workers_busy"},
		{"the newest first", func() {}, leads, "-task_id,-attempt",
			"2 pending <nil> <nil> <nil> lease=false workers_busy; " + one},
		{"handed back", func() { grant(2); report(2, command.Returned, 0) }, leads, "",
			one + "; " + two + "; 3 pending <nil> <nil> <nil> lease=false workers_busy"},
		{"lost", func() {
			grant(3)
			w.Must(fsmtest.Alice,
				&command.Expire{Items: []command.Expiry{{AttemptRef: command.AttemptRef{TaskID: id, Attempt: 3},
					Worker: fsmtest.WorkerOne, Incarnation: "m1-1",
					SilentSince: command.At(time.Date(2024, 5, 1, 12, 0, 1, 0, time.UTC))}}})
		}, leads, "", one + "; " + two + "; " + three + "; 4 pending <nil> <nil> <nil> lease=false workers_busy"},
		{"stopping, on a master that does not lead", func() {
			grant(4)
			w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, id)
		}, nil, "", one + "; " + two + "; " + three + "; 4 stopping m1 <nil> <nil> lease=false <nil>"},
		{"canceled", func() { report(4, command.Canceled, 1) }, nil, "",
			one + "; " + two + "; " + three + "; 4 canceled m1 canceled 1 lease=false <nil>"},
	} {
		w.Case(c.name, func(t *testing.T) {
			c.do()
			w.Live = c.live
			var list []string
			for _, r := range w.Query(fsmtest.Alice, "tasks", view.Request{Order: c.order}) {
				list = append(list, fmt.Sprintf("%v %v %v %v %v lease=%v %v", r["attempt"], r["status"], r["machine"],
					r["outcome"], r["exit_code"], r["lease_until"] != nil, r["reason"]))
			}
			if got := strings.Join(list, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	w.Case("a lost attempt says since when", func(t *testing.T) {
		lost := w.Query(fsmtest.Alice, "tasks", view.Request{Where: fsmtest.Where("status", "lost")})
		if len(lost) != 1 || !strings.HasPrefix(lost[0]["message"].(string),
			`worker "m1" (m1): silent since 2024-05-01T12:00:01.0000000Z, lost at 2024-05-01T12:00:`) {
			t.Errorf("lost: %v", lost)
		}
	})
	w.Case("an attempt that was handed back does not count", func(t *testing.T) {
		if n := w.Query(fsmtest.Alice, "executions", view.Request{})[0]["executed_count"]; n != json.Number("3") {
			t.Errorf("executed_count %v, want 3", n)
		}
	})
	w.Case("cleanup takes the task, and the execution stays", func(t *testing.T) {
		w.Must(fsmtest.Alice, &command.Cleanup{EndedTasks: w.Now.Add(time.Hour), Limit: 100})
		for name, want := range map[string]int{"tasks": 0, "executions": 1} {
			if n := len(w.Query(fsmtest.Alice, name,
				view.Request{Where: fsmtest.Where("execution_id", fmt.Sprint(id))})); n != want {
				t.Errorf("%d rows in %s, want %d", n, name, want)
			}
		}
	})
}

// Why a task waits is told in words, with what the leader remembers of the workers.
func TestReasonOfAWaitingTask(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	id := w.Started(fsmtest.Bob)
	for name, c := range map[string]struct {
		live         view.Live
		reason, text any
	}{
		"the leader knows": {memory{reasons: map[int64]string{id: command.ReasonWorkersBusy}}, "workers_busy",
			"all workers run as much as they may: m1 (2/2), and 3 more"},
		"the leader has not looked yet": {memory{}, nil, nil},
		"a master that does not lead":   {nil, nil, nil},
	} {
		w.Case(name, func(t *testing.T) {
			w.Live = c.live
			row := w.Query(fsmtest.Alice, "tasks", view.Request{})[0]
			if row["reason"] != c.reason || row["reason_text"] != c.text {
				t.Errorf("%v, %q; want %v, %q", row["reason"], row["reason_text"], c.reason, c.text)
			}
		})
	}
}
