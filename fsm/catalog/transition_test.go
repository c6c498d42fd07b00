package catalog

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// reach makes an execution of the status, with that many retries, on worker1.
func (w *machine) reach(s Status, retries int) int64 {
	w.Helper()
	if s == Created {
		return w.create("Load.dtsx")
	}
	id := w.pending(retries)
	if s == Pending {
		return id
	}
	w.grant(id, 1)
	switch s {
	case Stopping, Canceled:
		w.ok(&command.StopOperation{OperationID: id})
		if s == Canceled {
			w.ok(reportOf(id, 1, command.Canceled))
		}
	case Succeeded:
		w.ok(reportOf(id, 1, command.Succeeded))
	case Failed:
		w.ok(reportOf(id, 1, command.Failed))
	case EndedUnexpectedly:
		w.ok(expireOf(id, 1))
	}
	w.status(id, s)
	return id
}

func ready(t testing.TB) *machine {
	w := newMachine(t)
	w.deploy()
	w.worker(worker1)
	w.worker(worker2)
	return w
}

// Each status under each thing that can happen to it: the status after it, or the code of the refusal.
func TestStatusMachine(t *testing.T) {
	events := map[string]func(id int64) command.Command{
		"start":     func(id int64) command.Command { return &command.StartExecution{ExecutionID: id} },
		"stop":      func(id int64) command.Command { return &command.StopOperation{OperationID: id} },
		"grant":     func(id int64) command.Command { return grantTo(worker1, "i1", id, 1) },
		"succeeded": func(id int64) command.Command { return reportOf(id, 1, command.Succeeded) },
		"failed":    func(id int64) command.Command { return reportOf(id, 1, command.Failed) },
		"canceled":  func(id int64) command.Command { return reportOf(id, 1, command.Canceled) },
		"returned":  func(id int64) command.Command { return reportOf(id, 1, command.Returned) },
		"lost":      func(id int64) command.Command { return expireOf(id, 1) },
		"set": func(id int64) command.Command {
			return &command.SetExecutionParameter{ExecutionID: id, ObjectType: 20, Name: "year",
				Value: command.Value{Type: "Int32", Text: "1"}}
		},
	}
	refusedEverywhere := map[string]any{
		"start": command.CodeAlreadyStarted, "set": command.CodeAlreadyStarted, "grant": command.CodeNotPending,
		"lost": command.CodeNotHeld, "stop": command.CodeAlreadyEnded,
		"succeeded": command.FamilyFenced, "failed": command.FamilyFenced, "canceled": command.FamilyFenced,
		"returned": command.FamilyFenced,
	}
	with := func(changes map[string]any) map[string]any {
		all := map[string]any{}
		for k, v := range refusedEverywhere {
			all[k] = v
		}
		for k, v := range changes {
			all[k] = v
		}
		return all
	}
	for _, c := range []struct {
		from    Status
		retries int
		want    map[string]any
	}{
		{Created, 0, with(map[string]any{"start": Pending, "stop": Canceled, "set": Created})},
		{Pending, 0, with(map[string]any{"stop": Canceled, "grant": Running})},
		{Running, 0, with(map[string]any{"stop": Stopping, "succeeded": Succeeded, "failed": Failed, "canceled": Failed,
			"returned": Pending, "lost": EndedUnexpectedly})},
		{Running, 1, with(map[string]any{"stop": Stopping, "succeeded": Succeeded, "failed": Pending, "canceled": Pending,
			"returned": Pending, "lost": Pending})},
		{Stopping, 1, with(map[string]any{"stop": command.CodeAlreadyStopped, "succeeded": Succeeded, "failed": Canceled,
			"canceled": Canceled, "returned": Canceled, "lost": Canceled})},
		// The same final report again is fine and changes nothing.
		{Canceled, 0, with(map[string]any{"stop": command.CodeAlreadyStopped, "canceled": Canceled})},
		{Succeeded, 0, with(map[string]any{"succeeded": Succeeded})},
		{Failed, 0, with(map[string]any{"failed": Failed})},
		{EndedUnexpectedly, 0, with(nil)},
	} {
		for name, event := range events {
			t.Run(fmt.Sprintf("%s/%d/%s", c.from, c.retries, name), func(t *testing.T) {
				w := ready(t)
				id := w.reach(c.from, c.retries)
				switch want := c.want[name].(type) {
				case string:
					w.refused(want, event(id))
					w.status(id, c.from)
				case Status:
					w.ok(event(id))
					w.status(id, want)
				}
				soundness(t, w.s)
				if hashOf(t, rebuilt(t, w.s)) != hashOf(t, w.s) {
					t.Error("the restored state has another hash")
				}
			})
		}
	}
}

func TestRetries(t *testing.T) {
	w := ready(t)
	id := w.pending(2)
	for n := 1; n <= 3; n++ {
		w.grant(id, n)
		w.ok(reportOf(id, n, command.Failed))
		e := w.execution(id)
		if n < 3 {
			if wait := time.Duration(e.NotBefore - e.current().Ended); e.Status != Pending ||
				wait != time.Duration(n)*5*time.Second {
				t.Errorf("after attempt %d: %s, waits %v", n, e.Status, wait)
			}
		}
	}
	w.status(id, Failed)
	w.refused(command.CodeNotPending, grantTo(worker1, "i1", id, 4))
	// A retry after a loss ends as lost when none is left.
	id = w.pending(1)
	w.grant(id, 1)
	w.ok(expireOf(id, 1))
	w.grant(id, 2)
	w.ok(expireOf(id, 2))
	w.status(id, EndedUnexpectedly)
	if e := w.execution(id); e.Attempts[0].Outcome != Lost || e.Attempts[0].SilentSince != 5 || e.Used() != 2 {
		t.Errorf("%+v", e.Attempts)
	}
}

// An attempt handed back uses none of the retries. Each wait is longer than the last, up to a bound.
func TestReturnedAttemptsDoNotCount(t *testing.T) {
	w := ready(t)
	id := w.pending(0)
	var last time.Duration
	for n := 1; n < MostReturned; n++ {
		w.grant(id, n)
		w.ok(reportOf(id, n, command.Returned))
		e := w.execution(id)
		wait := time.Duration(e.NotBefore - e.Attempts[n-1].Ended)
		if wait < last || wait == last && wait != longestReturnWait || wait > longestReturnWait {
			t.Errorf("wait %d is %v, the one before was %v", n, wait, last)
		}
		last = wait
	}
	if e := w.execution(id); e.Status != Pending || e.Used() != 0 {
		t.Errorf("%s, used %d", e.Status, e.Used())
	}
	w.grant(id, MostReturned)
	w.ok(reportOf(id, MostReturned, command.Succeeded))
	w.status(id, Succeeded)
}

// What no worker can start ends, and says why; retries apply as to any failure.
func TestTooManyReturnedInARowAreAFailure(t *testing.T) {
	w := ready(t)
	id := w.pending(1)
	give := func(from, to int) {
		for n := from; n <= to; n++ {
			w.grant(id, n)
			w.ok(reportOf(id, n, command.Returned))
		}
	}
	give(1, MostReturned)
	e := w.execution(id)
	a := e.current()
	if e.Status != Pending || e.Used() != 1 || a.Outcome != command.Failed || !a.HandedBack || e.ReturnedInARow() != 0 {
		t.Errorf("%s, used %d, %+v", e.Status, e.Used(), a)
	}
	w.ok(reportOf(id, MostReturned, command.Returned)) // the same word again
	w.refused(command.FamilyFenced, reportOf(id, MostReturned, command.Succeeded))
	give(MostReturned+1, 2*MostReturned-1)
	w.status(id, Pending)
	give(2*MostReturned, 2*MostReturned)
	w.status(id, Failed)
	if e := w.execution(id); e.Used() != 2 || !e.current().HandedBack {
		t.Errorf("used %d, %+v", e.Used(), e.current())
	}
}

// However often attempts are handed back between others, memory stays bounded.
func TestReturnedAttemptsAreForgotten(t *testing.T) {
	w := ready(t)
	id := w.pending(MaxRetryCount)
	for n := 1; n <= 400; n++ {
		w.grant(id, n)
		outcome := command.Returned
		if n%MostReturned == 0 {
			outcome = command.Failed
		}
		w.ok(reportOf(id, n, outcome))
	}
	if e := w.execution(id); e.Status != Pending || e.Used() != 40 || e.Returned > keptReturned ||
		len(e.Attempts) != e.Used()+e.Returned || len(e.Notes) > 300 {
		t.Errorf("%s, used %d, %d attempts, %d notes", e.Status, e.Used(), len(e.Attempts), len(e.Notes))
	}
}

// The answer to a grant was lost: the state holds the attempt, nothing else is granted, and the report counts.
func TestLostGrantWithoutRetries(t *testing.T) {
	w := ready(t)
	id := w.pending(0)
	w.grant(id, 1)
	w.refused(command.CodeNotPending, grantTo(worker1, "i1", id, 1))
	w.refused(command.CodeNotPending, grantTo(worker2, "i1", id, 2))
	if held := idsOf(w.s.Reader().HeldBy(worker1)); !slices.Equal(held, []int64{id}) {
		t.Errorf("held: %v", held)
	}
	w.ok(reportOf(id, 1, command.Succeeded))
	w.ok(reportOf(id, 1, command.Succeeded))
	w.status(id, Succeeded)
}

func TestFencing(t *testing.T) {
	w := ready(t)
	id := w.pending(1)
	w.grant(id, 1)
	foreign := reportOf(id, 1, command.Succeeded)
	foreign.Worker = worker2
	w.refused(command.FamilyFenced, foreign)
	other := reportOf(id, 1, command.Succeeded)
	other.Incarnation = "i2"
	w.refused(command.FamilyFenced, other)
	w.refused(command.FamilyInvalidArgument, reportOf(id, 1, "exploded"))
	late := expireOf(id, 1)
	late.Items[0].Incarnation = "i2"
	w.refused(command.CodeNotHeld, late)
	w.ok(expireOf(id, 1))
	w.refused(command.FamilyFenced, reportOf(id, 1, command.Succeeded)) // lost, and another attempt may run
	w.status(id, Pending)
	// Items stand alone: the first is fenced, the second applied.
	next := w.pending(0)
	w.grant(next, 1)
	both := reportOf(id, 1, command.Succeeded)
	both.Ended = append(both.Ended, reportOf(next, 1, command.Succeeded).Ended...)
	r := w.do(both)
	if command.Family(r.Items[0].Code) != command.FamilyFenced || r.Items[1].Code != "" {
		t.Errorf("%+v", r.Items)
	}
	w.status(next, Succeeded)
}

func TestGrantRules(t *testing.T) {
	w := ready(t)
	chosen := w.ok(&command.CreateExecution{Folder: "f", Project: "p", Package: "load.dtsx"}).Value
	w.ok(&command.AddExecutionWorker{ExecutionID: chosen, Worker: worker2})
	w.ok(&command.AddExecutionWorker{ExecutionID: chosen, Worker: worker2})
	w.ok(&command.StartExecution{ExecutionID: chosen})
	w.refused(command.FamilyNotEligible, grantTo(worker1, "i1", chosen, 1))
	w.refused(command.FamilyFenced, grantTo(worker2, "i0", chosen, 1))
	w.refused(command.CodeNotPending, grantTo(worker2, "i1", chosen, 2))
	w.refused(command.CodeWorkerNotFound, grantTo("unknown", "i1", w.pending(0), 1))
	w.ok(&command.EnableWorker{ID: worker2})
	w.refused(command.FamilyNotEligible, grantTo(worker2, "i1", chosen, 1))
	w.ok(&command.EnableWorker{ID: worker2, Enabled: true})
	w.ok(grantTo(worker2, "i1", chosen, 1))
	// A full worker: the slot that a report frees is there for the grant of the same exchange.
	var held []int64
	for range 3 {
		id := w.pending(0)
		w.grant(id, 1)
		held = append(held, id)
	}
	next := w.pending(0)
	w.refused(command.FamilyNotEligible, grantTo(worker1, "i1", next, 1))
	swap := reportOf(held[0], 1, command.Succeeded)
	swap.Grants = grantTo(worker1, "i1", next, 1).Grants
	w.ok(swap)
}

func TestExecutionRules(t *testing.T) {
	w := ready(t)
	w.refused(command.CodeFolderNotFound, &command.CreateExecution{Folder: "x", Project: "P", Package: "Load.dtsx"})
	w.refused(command.CodeProjectNotFound, &command.CreateExecution{Folder: "F", Project: "x", Package: "Load.dtsx"})
	w.refused(command.CodePackageNotFound, &command.CreateExecution{Folder: "F", Project: "P", Package: "x"})
	w.refused(command.CodeNotEntryPoint, &command.CreateExecution{Folder: "F", Project: "P", Package: "Child.dtsx"})
	ref := int64(4)
	w.refused(command.CodeReferenceNotFound, &command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx",
		ReferenceID: &ref})
	w.refused(command.CodeExecutionNotFound, &command.StartExecution{ExecutionID: 999})
	w.refused(command.CodeOperationNotFound, &command.StopOperation{OperationID: 999})
	w.refused(command.CodeAlreadyEnded, &command.StopOperation{OperationID: 1}) // the deployment

	id := w.create("Load.dtsx")
	set := func(kind int, name string, v command.Value) command.Command {
		return &command.SetExecutionParameter{ExecutionID: id, ObjectType: kind, Name: name, Value: v}
	}
	w.refused(command.CodeParameterNotFound, set(20, "Nope", command.Value{Type: "Int32"}))
	w.refused(command.FamilyInvalidArgument, set(40, "Year", command.Value{Type: "Int32"}))
	w.refused(command.FamilyInvalidArgument, set(20, "Year", command.Value{Type: "String", Text: "1"}))
	w.refused(command.FamilyInvalidArgument, set(20, "Secret", command.Value{Type: "String", Text: "open"}))
	w.ok(set(20, "secret", command.Value{Type: "String", Sealed: &command.Sealed{KeyID: "k"}}))
	w.ok(set(50, "LOGGING_LEVEL", command.Value{Type: "Int32", Text: "3"}))
	w.ok(set(50, "LOGGING_LEVEL", command.Value{Type: "Int32", Text: "2"}))
	if e := w.execution(id); len(e.Values) != 2 || e.Values[0].Name != "Secret" || e.Values[1].Value.Text != "2" {
		t.Errorf("values %+v", e.Values)
	}
	w.refused(command.CodeAnyWorker, &command.AddExecutionWorker{ExecutionID: id, Worker: worker1})

	server := w.ok(&command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx", ServerMode: true}).Value
	w.refused(command.CodeNotScaleOut, &command.AddExecutionWorker{ExecutionID: server, Worker: worker1})
	if e := w.execution(server); !e.AnyWorker || len(e.Notes) != 1 || e.Notes[0].Type != MessageWarning ||
		e.Notes[0].ID == 0 {
		t.Errorf("an execution with runinscaleout 0: %+v", e)
	}
	chosen := w.ok(&command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx"}).Value
	w.refused(command.CodeWorkerNotFound, &command.AddExecutionWorker{ExecutionID: chosen, Worker: "x"})
	w.refused(command.CodeNoWorkerSelected, &command.StartExecution{ExecutionID: chosen})
	w.refused(command.FamilyInvalidArgument, &command.StartExecution{ExecutionID: id, RetryCount: 101})

	strict := w.create("Strict.dtsx")
	w.refused(command.CodeValueRequired, &command.StartExecution{ExecutionID: strict})
	w.ok(&command.SetExecutionParameter{ExecutionID: strict, ObjectType: 30, Name: "must",
		Value: command.Value{Type: "String", Text: "x"}})
	w.ok(&command.StartExecution{ExecutionID: strict})

	w.deploy()
	w.refused(command.CodeRedeployed, &command.StartExecution{ExecutionID: id})
	w.status(strict, Pending) // what was started goes on in its version
}

func TestProjects(t *testing.T) {
	w := ready(t)
	w.refused(command.CodeFolderExists, &command.CreateFolder{Name: "f"})
	w.refused(command.CodeFolderNotFound, &command.DeleteFolder{Name: "x"})
	w.refused(command.CodeFolderNotEmpty, &command.DeleteFolder{Name: "F"})
	deploy := func(project string, packages ...string) *command.DeployProject {
		return &command.DeployProject{Folder: "F", Project: project, Blob: blobA, Manifest: packedManifest(t, packages...)}
	}
	bad := deploy("Q", "a.sh")
	bad.Manifest = []byte("x")
	w.refused(command.CodeInvalidProject, bad)
	bad = deploy("Q", "a.sh")
	bad.Blob = "x"
	w.refused(command.FamilyInvalidArgument, bad)
	w.refused(command.CodeInvalidProject, deploy("Q", "a.sh", "A.sh"))
	bad = deploy("Q", "a.sh")
	bad.Folder = "nope"
	w.refused(command.CodeFolderNotFound, bad)

	first, _ := w.s.Reader().Version(1)
	op := w.ok(deploy("p", "New.dtsx", "LOAD.dtsx")).Value
	second, _ := w.s.Reader().Version(2)
	if second.PackageIDs[1] != first.PackageIDs[0] || second.PackageIDs[0] <= first.PackageIDs[2] || second.Name != "P" {
		t.Errorf("packages %v, then %v; name %q", first.PackageIDs, second.PackageIDs, second.Name)
	}
	if second.FirstParameterID != first.FirstParameterID+5 {
		t.Errorf("parameters from %d, then from %d", first.FirstParameterID, second.FirstParameterID)
	}
	if o, ok := w.s.Reader().Operation(op); !ok || o.Type != 101 || o.Status != Succeeded || o.ObjectName != "P" ||
		len(o.Notes) != 1 {
		t.Errorf("operation %+v", o)
	}
	if created := w.create("Load.dtsx"); created != op+1 {
		t.Errorf("execution %d after operation %d: one number space", created, op)
	}
	running := w.pending(0)
	w.refused(command.CodeProjectInUse, &command.DeleteProject{Folder: "F", Project: "P"})
	w.ok(&command.StopOperation{OperationID: running})
	w.ok(&command.DeleteProject{Folder: "F", Project: "P"})
	w.refused(command.CodeProjectNotFound, &command.DeleteProject{Folder: "F", Project: "P"})
	w.refused(command.CodeRedeployed, &command.StartExecution{ExecutionID: running - 1})
	if v, ok := w.s.Reader().Version(2); !ok || !v.Orphan {
		t.Error("versions stay until cleanup")
	}
	w.ok(&command.DeleteFolder{Name: "F"})
	w.refused(command.CodeAlreadyInitialized, &command.InitCluster{ClusterID: "c2", Level: 1})
}

func TestRegistration(t *testing.T) {
	w := ready(t)
	row, _ := w.s.Reader().Worker(worker1)
	if !row.Enabled || row.Running != nil {
		t.Errorf("%+v", row)
	}
	taken := registration(worker1, "i2")
	taken.CertName = "other"
	w.refused(command.CodeAgentIDTaken, taken)
	bad := registration(worker1, "i2")
	bad.MaxTaskCount = 0
	w.refused(command.FamilyInvalidArgument, bad)

	kept, done, left := w.pending(0), w.pending(0), w.pending(0)
	for _, id := range []int64{kept, done, left} {
		w.grant(id, 1)
	}
	clone := registration(worker1, "i9")
	clone.MachineID = "clone"
	w.refused(command.CodeAgentIDInUse, clone)

	again := registration(worker1, "i2")
	again.Running = []command.AttemptRef{{TaskID: kept, Attempt: 1}, {TaskID: 999, Attempt: 1}, {TaskID: kept, Attempt: 2}}
	again.Ended = []command.Report{{AttemptRef: command.AttemptRef{TaskID: done, Attempt: 1}, Outcome: command.Succeeded}}
	r := w.do(again)
	want := []string{"", "", command.CodeFencedNoTask, command.CodeFencedNotHeld}
	for i, item := range r.Items {
		if item.Code != want[i] {
			t.Errorf("item %d: %q, want %q", i, item.Code, want[i])
		}
	}
	w.status(done, Succeeded)
	if a := w.execution(kept).current(); a.Incarnation != "i2" {
		t.Errorf("not adopted: %+v", a)
	}
	if a := w.execution(left).current(); a.Incarnation != "i1" {
		t.Errorf("released or adopted: %+v", a)
	}
	// The old process may still end what it holds, but gets nothing new.
	w.ok(reportOf(left, 1, command.Succeeded))
	w.refused(command.FamilyFenced, grantTo(worker1, "i1", w.pending(0), 1))
	w.refused(command.FamilyFenced, reportOf(kept, 1, command.Succeeded))

	// The clone takes over once the leader saw the first machine's leases run out; what that one ran stays its own.
	clone.TakeOver = "machine-1"
	clone.Running = []command.AttemptRef{{TaskID: kept, Attempt: 1}}
	if r := w.do(clone); r.Rejection != nil || r.Items[0].Code != command.CodeFencedMachine {
		t.Errorf("%+v", r)
	}
	if row, _ := w.s.Reader().Worker(worker1); row.MachineID != "clone" || !row.Enabled {
		t.Errorf("%+v", row)
	}
}

func TestWorkers(t *testing.T) {
	w := ready(t)
	w.refused(command.CodeWorkerNotFound, &command.EnableWorker{ID: "x"})
	w.refused(command.CodeWorkerNotFound, &command.DeleteWorker{ID: "x"})
	w.refused(command.FamilyInvalidArgument, &command.SetWorkerProperty{ID: worker1, Name: "Color", Value: "red"})
	w.ok(&command.SetWorkerProperty{ID: worker1, Name: "displayname", Value: "Ann"})
	w.ok(&command.SetWorkerProperty{ID: worker1, Name: "Tags", Value: "x"})
	w.ok(registration(worker1, "i1"))
	if row, ok := w.s.Reader().Worker(worker1); !ok || row.DisplayName != "Ann" || row.Tags != "x" {
		t.Errorf("a registration took the name back: %+v", row)
	}
	id := w.pending(0)
	w.grant(id, 1)
	w.refused(command.CodeWorkerBusy, &command.DeleteWorker{ID: worker1})
	w.ok(reportOf(id, 1, command.Succeeded))
	w.ok(&command.DeleteWorker{ID: worker1})
	w.ok(registration(worker1, "i3"))
	if row, _ := w.s.Reader().Worker(worker1); row.Enabled {
		t.Error("a new worker is enabled")
	}
}

func TestBeat(t *testing.T) {
	w := ready(t)
	w.ok(&command.Beat{
		Masters: []command.MasterBeat{{ID: "a", Leader: true, LastOnline: 9}, {ID: "b", LastOnline: 9}},
		Workers: []command.WorkerBeat{{ID: worker1, LastOnline: w.now + 7}, {ID: worker1, LastOnline: 5},
			{ID: "gone", LastOnline: 5}},
	})
	if row, _ := w.s.Reader().Worker(worker1); row.LastOnline != w.now-command.Time(time.Millisecond)+7 {
		t.Errorf("last online %d, now %d", row.LastOnline, w.now)
	}
	w.ok(&command.Beat{Masters: []command.MasterBeat{{ID: "b", Leader: true, LastOnline: 3}}})
	a, _ := w.s.Reader().Master("a")
	b, _ := w.s.Reader().Master("b")
	if a.Leader || !b.Leader || b.LastOnline != 9 {
		t.Errorf("%+v %+v", a, b)
	}
	w.ok(&command.Beat{Gone: []string{"a"}})
	if _, ok := w.s.Reader().Master("a"); ok {
		t.Error("a master that left has a row")
	}
}
