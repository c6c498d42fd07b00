package catalog

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// recount is the places of the rows themselves.
func (s *State) recount() *places {
	t := newPlaces()
	r := s.Reader()
	for x := range rowsBy[*Execution](r, tableLive, byID, nil, false) {
		t.note(x, 1)
	}
	for w := range r.Workers() {
		t.note(w, 1)
	}
	return t
}

func (t *places) equal(o *places) bool {
	return maps.Equal(t.notStarted, o.notStarted) && maps.Equal(t.agentIDs, o.agentIDs) && t.neverEnabled == o.neverEnabled
}

func TestExecutionsNotStartedAreLimitedPerCaller(t *testing.T) {
	w := ready(t)
	create := func(name string) command.Result {
		env, err := command.Wrap(&command.CreateExecution{Folder: "F", Project: "P", Package: "Load.dtsx", AnyWorker: true,
			MostNotStarted: 3})
		if err != nil {
			t.Fatal(err)
		}
		env.Caller = command.Caller{Kind: "user", Name: name, Roles: []string{command.RoleExecutor}}
		return w.apply(env)
	}
	var ids []int64
	fill := func() {
		t.Helper()
		for range 5 {
			r := create("ann")
			if r.Rejection == nil {
				ids = append(ids, r.Value)
				continue
			}
			if r.Rejection.Code != command.CodeLimitNotStarted || r.Rejection.Args[0] != "MaxExecutionsNotStarted" ||
				len(ids) != 3 {
				t.Fatalf("%v with %d executions", r.Rejection, len(ids))
			}
			return
		}
		t.Fatal("no limit")
	}
	for _, x := range []struct {
		name string
		free func(id int64)
	}{
		{"one was granted", func(id int64) {
			w.ok(&command.StartExecution{ExecutionID: id})
			if r := create("ann"); r.Rejection == nil {
				t.Fatal("a pending one gave its place back")
			}
			w.grant(id, 1)
		}},
		{"one was stopped", func(id int64) { w.ok(&command.StopOperation{OperationID: id}) }},
		{"one was cleaned away", func(int64) {
			w.ok(&command.Cleanup{Operations: w.execution(ids[0]).Created + 1, Limit: 1})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			fill()
			if r := create("bob"); r.Rejection != nil {
				t.Fatal(r.Rejection)
			} else {
				w.ok(&command.StopOperation{OperationID: r.Value})
			}
			x.free(ids[0])
			ids = ids[1:]
			if r := create("ann"); r.Rejection != nil {
				t.Fatal(r.Rejection)
			} else {
				ids = append(ids, r.Value)
			}
			if got := w.s.recount(); !w.s.places.equal(got) {
				t.Fatalf("%+v, the rows say %+v", w.s.places, got)
			}
		})
	}
}

func TestWorkersAreLimited(t *testing.T) {
	w := newMachine(t)
	register := func(n int, cert string) command.Command {
		r := registration(fmt.Sprintf("%08d-0000-4000-8000-000000000000", n), "i")
		r.CertName, r.MostAgentIDs, r.MostNeverEnabled = cert, 2, 3
		return r
	}
	limit := func(cmd command.Command) string {
		t.Helper()
		r := w.do(cmd)
		if r.Rejection == nil || command.Family(r.Rejection.Code) != command.FamilyLimitReached {
			t.Fatal(r.Rejection)
		}
		return r.Rejection.Args[0]
	}
	w.ok(register(1, "a"))
	w.ok(register(2, "A"))
	if got := limit(register(3, "a")); got != "MaxAgentIdsPerCertificate" {
		t.Fatal(got)
	}
	w.ok(register(1, "a")) // one that is known comes again
	w.ok(register(3, "b"))
	if got := limit(register(4, "b")); got != "MaxWorkersNeverEnabled" {
		t.Fatal(got)
	}
	w.ok(&command.EnableWorker{ID: "00000003-0000-4000-8000-000000000000", Enabled: true})
	w.ok(&command.EnableWorker{ID: "00000003-0000-4000-8000-000000000000", Enabled: false})
	w.ok(register(4, "b"))
	w.ok(&command.DeleteWorker{ID: "00000001-0000-4000-8000-000000000000"})
	w.ok(register(5, "a"))
	if got := w.s.recount(); !w.s.places.equal(got) {
		t.Fatalf("%+v, the rows say %+v", w.s.places, got)
	}
	row, _ := w.s.Reader().Worker("00000005-0000-4000-8000-000000000000")
	if row.MostAgentIDs != 0 || row.MostNeverEnabled != 0 {
		t.Fatal("the limits of a command became part of the row")
	}
}

// TestWorkersThatWereNeverEnabledExpire: the cut-off alone decides, never the state's time.
func TestWorkersThatWereNeverEnabledExpire(t *testing.T) {
	w := newMachine(t)
	w.ok(registration(worker1, "i"))
	w.worker(worker2)
	w.ok(&command.EnableWorker{ID: worker2, Enabled: false})
	w.pass(time.Hour)
	old, _ := w.s.Reader().Worker(worker1)
	if n := w.ok(&command.Cleanup{NeverEnabled: old.LastOnline, Limit: 10}).Value; n != 0 {
		t.Fatal(n)
	}
	w.ok(&command.Beat{Workers: []command.WorkerBeat{{ID: worker1, LastOnline: old.LastOnline + 5}}})
	if n := w.ok(&command.Cleanup{NeverEnabled: old.LastOnline + 5, Limit: 10}).Value; n != 0 {
		t.Fatal("one that was heard from since went")
	}
	if n := w.ok(&command.Cleanup{Limit: 10}).Value; n != 0 {
		t.Fatal("it went without a cut-off")
	}
	if n := w.ok(&command.Cleanup{NeverEnabled: old.LastOnline + 6, Limit: 10}).Value; n != 1 {
		t.Fatal(n)
	}
	if _, there := w.s.Reader().Worker(worker1); there {
		t.Fatal("it is still there")
	}
	if _, there := w.s.Reader().Worker(worker2); !there {
		t.Fatal("one that had been enabled went")
	}
}

func TestMaxTaskCountIsBoundedAndLowered(t *testing.T) {
	w := newMachine(t)
	register := func(asked, limit int) {
		t.Helper()
		r := registration(worker1, "i")
		r.MaxTaskCount, r.TaskCountLimit = asked, limit
		w.ok(r)
	}
	set := func(v string) command.Command {
		return &command.SetWorkerProperty{ID: worker1, Name: "MaxTaskCount", Value: v}
	}
	is := func(want int) {
		t.Helper()
		row, _ := w.s.Reader().Worker(worker1)
		if row.MaxTaskCount != want || row.TaskCountLimit != 0 {
			t.Fatalf("MaxTaskCount %d, want %d", row.MaxTaskCount, want)
		}
	}
	register(5000, 1000)
	is(1000)
	w.ok(set("7"))
	is(7)
	register(5000, 1000) // the property outlives a registration
	is(7)
	register(3, 1000) // and only lowers
	is(3)
	register(50, 0)
	is(7)
	w.ok(set("0")) // the worker's own again
	is(50)
	for _, v := range []string{"-1", "x", "", "1.5", "1000001"} {
		w.refused(command.FamilyInvalidArgument, set(v))
	}
	is(50)
}

// A dry run reads beside the goroutine that applies. The race detector watches; every start of another package makes a
// row whose number the dry run of a first start asks for.
func TestDryRunsBesideApply(t *testing.T) {
	w := ready(t)
	deploy := func(project string) {
		w.ok(&command.DeployProject{Folder: "F", Project: project, Blob: blobA, Size: 1,
			Manifest: packedManifest(w, "Load.dtsx")})
	}
	deploy("R")
	dry := &command.StartExecution{ExecutionID: w.ok(&command.CreateExecution{
		Folder: "F", Project: "R", Package: "Load.dtsx", AnyWorker: true,
	}).Value}
	admin := command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	var group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if no := DryRun(w.s.Reader(), admin, dry); no != nil {
				t.Error(no)
				return
			}
		}
	})
	for i := range 50 {
		project := fmt.Sprint("Q", i)
		deploy(project)
		id := w.ok(&command.CreateExecution{Folder: "F", Project: project, Package: "Load.dtsx", AnyWorker: true}).Value
		w.ok(&command.StartExecution{ExecutionID: id})
	}
	close(done)
	group.Wait()
	before := w.content()
	if no := DryRun(w.s.Reader(), admin, &command.CreateFolder{Name: "Never"}); no != nil || w.content() != before {
		t.Errorf("a dry run changed the state, or refused: %v", no)
	}
}
