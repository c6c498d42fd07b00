package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

// told is the events after an id, as "type subject".
func told(r *Reader, after EventID) []string {
	events, _, _ := r.Events(after, keptEvents)
	var out []string
	for _, e := range events {
		s := e.Type
		if e.Attempt > 0 {
			s += fmt.Sprint(" ", e.Execution, "/", e.Attempt)
		} else if e.Execution > 0 {
			s += fmt.Sprint(" ", e.Execution)
		}
		if e.Type == EventExecutionEnded {
			s += " " + e.Status.String()
		}
		out = append(out, s)
	}
	return out
}

// stage is a cluster of the newest level with a project and two workers.
func stage(t testing.TB) *machine {
	w := newMachine(t)
	w.ok(&command.RaiseLevel{Level: command.Level})
	manifest, err := command.PackManifest(command.Manifest{ID: "{p}", FormatVersion: 1,
		Packages: []command.Package{{Name: "a.sh", EntryPoint: true}}})
	if err != nil {
		t.Fatal(err)
	}
	w.ok(&command.CreateFolder{Name: "F"})
	w.ok(&command.DeployProject{Folder: "F", Project: "P", Blob: blobA, Size: 1, Manifest: manifest})
	for _, id := range []string{worker1, worker2} {
		w.ok(registration(id, "i1"))
		w.ok(&command.EnableWorker{ID: id, Enabled: true})
	}
	return w
}

func (w *machine) granted(worker string, attempt, retries int) int64 {
	id := w.ok(&command.CreateExecution{Folder: "F", Project: "P", Package: "a.sh", AnyWorker: true}).Value
	w.ok(&command.StartExecution{ExecutionID: id, RetryCount: retries})
	w.ok(&command.Exchange{Worker: worker, Incarnation: "i1", Grants: []command.GrantOrder{
		{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, GiveUpAfterMs: 1000}}})
	return id
}

func TestEventsTellWhatHappened(t *testing.T) {
	w := stage(t)
	if got := told(w.s.Reader(), EventID{}); !slices.Equal(got, []string{"level_raised", "folder_created",
		"project_deployed",
		"worker_registered", "worker_enabled", "worker_registered", "worker_enabled"}) {
		t.Errorf("the stage is told as %q", got)
	}
	from := w.s.Reader().LastEvent()
	id := w.granted(worker1, 1, 1)
	ref := command.AttemptRef{TaskID: id, Attempt: 1}
	w.ok(&command.Expire{Items: []command.Expiry{{AttemptRef: ref, Worker: worker1, Incarnation: "i1"}}})
	late := w.do(&command.Exchange{Worker: worker1, Incarnation: "i1",
		Ended: []command.Report{{AttemptRef: ref, Outcome: command.Succeeded}}})
	if command.Family(late.Items[0].Code) != command.FamilyFenced {
		t.Fatalf("a late report is answered %+v", late)
	}
	invented := &command.Exchange{Worker: worker1, Incarnation: "i1", Ended: []command.Report{
		{AttemptRef: command.AttemptRef{TaskID: 1 << 40, Attempt: 1}, Outcome: command.Failed},
		{AttemptRef: command.AttemptRef{TaskID: id, Attempt: 7}, Outcome: command.Failed},
	}}
	foreign := &command.Exchange{Worker: worker2, Incarnation: "i1",
		Ended: []command.Report{{AttemptRef: ref, Outcome: command.Failed}}}
	if got := append(w.do(invented).Items, w.do(foreign).Items...); got[0].Code != command.CodeFencedNoTask ||
		got[1].Code != command.CodeFencedNotGiven || got[2].Code != command.CodeFencedNotGiven {
		t.Errorf("reports of what the worker never had: %+v", got)
	}
	second := command.AttemptRef{TaskID: id, Attempt: 2}
	w.ok(&command.Exchange{Worker: worker2, Incarnation: "i1",
		Grants: []command.GrantOrder{{AttemptRef: second, GiveUpAfterMs: 1000}}})
	w.ok(&command.Exchange{Worker: worker2, Incarnation: "i1",
		Ended: []command.Report{{AttemptRef: second, Outcome: command.Failed, ExitCode: 3}}})
	w.ok(&command.DeleteWorker{ID: worker2})
	want := []string{"execution_created 1", "execution_started 1", "execution_granted 1/1", "attempt_lost 1/1",
		"report_fenced 1/1",
		"execution_granted 1/2", "attempt_failed 1/2", "execution_ended 1/2 failed", "worker_deleted"}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " 1", fmt.Sprint(" ", id))
	}
	if got := told(w.s.Reader(), from); !slices.Equal(got, want) {
		t.Errorf("told\n%q, want\n%q", got, want)
	}
	if a, b := told(w.s.Reader(), EventID{}), told(rebuilt(t, w.s).Reader(), EventID{}); !slices.Equal(a, b) {
		t.Errorf("after a snapshot it is told as\n%q, before as\n%q", b, a)
	}
}

func TestAnnouncementsAreToldOnce(t *testing.T) {
	w := stage(t)
	from := w.s.Reader().LastEvent()
	m := func(id string, voter bool) command.AnnouncedMember {
		return command.AnnouncedMember{ID: id, Name: "master-" + id, Address: id + ":1", Voter: voter}
	}
	first := &command.Announce{Leader: "1", Term: 2, Members: []command.AnnouncedMember{m("1", true), m("2", false)}}
	w.ok(first)
	w.ok(first)
	w.ok(&command.Announce{Leader: "1", Term: 2, Members: []command.AnnouncedMember{m("1", true), m("2", true)},
		Notices: []command.Notice{{Type: EventSlowCommit, Node: "1", Number: 9}}})
	w.ok(&command.Announce{Leader: "2", Term: 3, Members: []command.AnnouncedMember{m("2", true)}})
	w.ok(first) // of a leader that was deposed meanwhile
	want := []string{"member_joined", "member_joined", "leader_elected", "member_promoted", "slow_commit",
		"member_removed", "leader_elected"}
	if got := told(w.s.Reader(), from); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if leader, term, members := w.s.Reader().Announced(); leader != "2" || term != 3 || len(members) != 1 {
		t.Errorf("the state holds %s, %d, %v", leader, term, members)
	}
	w.refused(command.CodeNotice, &command.Announce{Notices: []command.Notice{{Type: "No Such"}}})
	w.refused(command.CodeNotice, &command.Announce{Notices: []command.Notice{{Type: "x", Detail: "the disk is slow"}}})
}

// An attempt that still runs where it must not is an event of its execution, for those who see that.
func TestANoticeOfAnAttemptIsOfItsExecution(t *testing.T) {
	w := stage(t)
	id := w.granted(worker1, 1, 0)
	from := w.s.Reader().LastEvent()
	w.ok(&command.Announce{Notices: []command.Notice{
		{Type: EventReportFenced, Node: "1", Execution: id, Attempt: 1, Worker: worker2}}})
	events, _, _ := w.s.Reader().Events(from, 2)
	x := w.execution(id)
	if len(events) != 1 || events[0].Execution != id || events[0].Attempt != 1 || events[0].Worker != worker2 ||
		events[0].Owner != x.Caller || events[0].Name != "F/P/a.sh" || events[0].Detail != "" {
		t.Errorf("told %+v", events)
	}
}

// A master of the level before could not read a snapshot with events.
func TestNoEventsBelowTheirLevel(t *testing.T) {
	w := newMachine(t)
	w.ok(&command.CreateFolder{Name: "F"})
	if got := told(w.s.Reader(), EventID{}); len(got) != 0 {
		t.Errorf("told %q at level %d", got, w.s.Level())
	}
	for r := range w.s.Snapshot().Records() {
		if r.Type == recordEvents || r.Type == recordFloor {
			t.Errorf("a record of type %d at level %d", r.Type, w.s.Level())
		}
	}
}

func TestTheOldestEventsGo(t *testing.T) {
	var one eventLog
	for i := range keptEvents + 700 {
		one.begin(uint64(1 + i/3))
		one.say(Event{Type: "x", Number: int64(i)})
		one.publish()
		if i == keptEvents+500 { // a copy made of a snapshot goes on alike
			b := NewBuilder()
			b.state.now.Level = eventsFrom
			if !one.snapshot().records(func(kind uint64, row any) bool {
				data, err := command.Marshal(row)
				if err == nil {
					err = b.Add(Record{kind, data})
				}
				if err != nil {
					t.Fatal(err)
				}
				return true
			}) {
				t.Fatal("stopped")
			}
			last := one.last()
			one = eventLog{blocks: b.state.events.blocks, n: b.state.events.n, floor: b.state.events.floor, index: last.Index,
				seq: last.Seq + 1}
		}
	}
	if want := (EventID{1 + 699/3, 699 % 3}); one.floor != want || one.n != keptEvents {
		t.Errorf("%d are kept, from behind %s; want %s", one.n, one.floor, want)
	}
	if _, from, gone := one.readAfter(EventID{5, 0}, 10); !gone || from != one.floor {
		t.Errorf("behind the floor: from %s, gone %t", from, gone)
	}
	next, n := one.floor, int64(700)
	for {
		events, _, gone := one.readAfter(next, 999)
		if gone {
			t.Fatal("gone from the floor on")
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if e.Number != n || e.ID.Compare(next) <= 0 {
				t.Fatalf("%s is number %d, want %d", e.ID, e.Number, n)
			}
			next, n = e.ID, n+1
		}
	}
	if n != keptEvents+700 {
		t.Errorf("read up to %d", n)
	}
}

func TestEventIDs(t *testing.T) {
	for _, s := range []string{"0.0", "12.3", "18446744073709551615.7"} {
		if id, err := ParseEventID(s); err != nil || id.String() != s {
			t.Errorf("%s: %s, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "x", "1.", "1.-1", "-1.0", "1.0.0", "1 .0"} {
		if id, err := ParseEventID(s); err == nil {
			t.Errorf("%q is read as %s", s, id)
		}
	}
}

func TestWhoSeesWhichEvents(t *testing.T) {
	plain := command.Caller{Kind: "user", Name: "eve"}
	executor := command.Caller{Kind: "user", Name: "eve", Roles: []string{command.RoleExecutor}}
	monitor := command.Caller{Kind: "user", Name: "max", Roles: []string{command.RoleMonitor}}
	for _, c := range []struct {
		event  Event
		caller command.Caller
		want   bool
	}{
		{Event{Type: EventLeaderElected}, plain, true},
		{Event{Type: EventLeaderElected}, command.Caller{Kind: "worker", Name: "w"}, false},
		{Event{Type: EventExecutionEnded, Execution: 7, Owner: "ada"}, plain, false},
		{Event{Type: EventExecutionEnded, Execution: 7, Owner: "eve"}, plain, true},
		{Event{Type: EventExecutionEnded, Execution: 7, Owner: "ada"}, monitor, true},
		{Event{Type: EventWorkerEnabled}, plain, false},
		{Event{Type: EventWorkerEnabled}, executor, true},
	} {
		if got := c.event.VisibleTo(nil, c.caller); got != c.want {
			t.Errorf("%s of %q: visible to %s %v is %t", c.event.Type, c.event.Owner, c.caller, c.caller.Roles, got)
		}
	}
}
