package catalog

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// tallied is what is counted, as "folder/project/package succeeded failed canceled unexpectedly".
func tallied(r *Reader) (out []string) {
	for t := range r.Tallies() {
		out = append(out, fmt.Sprint(t.Folder, "/", t.Project, "/", t.Package, " ", t.Ended))
	}
	return out
}

func TestEndsAreCountedByPackage(t *testing.T) {
	w := ready(t)
	if got := tallied(w.s.Reader()); len(got) != 0 {
		t.Errorf("before any execution: %q", got)
	}
	id := w.create("Load.dtsx")
	w.ok(&command.StartExecution{ExecutionID: id})
	if got, want := tallied(w.s.Reader()), []string{"F/P/Load.dtsx [0 0 0 0]"}; !slices.Equal(got, want) {
		t.Errorf("before the first end: %q, want %q: a difference needs a zero to begin with", got, want)
	}
	queued := w.now
	w.now = w.now.Add(20 * time.Second)
	w.grant(id, 1)
	granted := w.now
	w.now = w.now.Add(10 * time.Minute)
	w.ok(reportOf(id, 1, command.Succeeded))
	ended := w.now
	w.ok(reportOf(id, 1, command.Succeeded)) // the same word again

	failed := w.pending(1)
	w.grant(failed, 1)
	w.ok(reportOf(failed, 1, command.Failed)) // and again
	w.grant(failed, 2)
	w.ok(reportOf(failed, 2, command.Failed))
	lost := w.pending(0)
	w.grant(lost, 1)
	w.ok(expireOf(lost, 1))
	never := w.create("Strict.dtsx")
	w.ok(&command.StopOperation{OperationID: never})
	waiting := w.pending(0)
	w.now = w.now.Add(48 * time.Hour)
	w.ok(&command.StopOperation{OperationID: waiting})

	r := w.s.Reader()
	if got, want := tallied(r), []string{"F/P/Load.dtsx [1 1 1 1]",
		"F/P/Strict.dtsx [0 0 1 0]"}; !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
	for row := range r.Tallies() {
		if row.Package == "Load.dtsx" && (row.Last[0] != ended || row.Last[1] <= ended || row.Last[2] != w.now) {
			t.Errorf("the last ends are %v; the success was at %v", row.Last, ended)
		}
	}
	totals := r.Totals()
	// 20 s, a few ms twice, 48 h; the one that was never started waited for nothing.
	if h := totals.Queued; h.Counts[0] != 2 || h.Counts[4] != 1 || h.Counts[len(HistogramBounds)] != 1 ||
		h.SumMs < (48*time.Hour+20*time.Second).Milliseconds() {
		t.Errorf("waits are counted as %+v (queued at %v, granted at %v)", h, queued.Time(), granted.Time())
	}
	if h := totals.Duration[0]; h.Counts[6] != 1 || h.SumMs != 600_001 {
		t.Errorf("successes took %+v", h)
	}
	n := int64(0)
	for _, h := range totals.Duration {
		for _, c := range h.Counts {
			n += c
		}
	}
	if n != 3 {
		t.Errorf("%d durations; one of three was never given to a worker", n)
	}

	// A snapshot has it all; a package whose project is gone is counted no more.
	b := NewBuilder()
	for record, err := range w.s.Snapshot().Records() {
		if err != nil || b.Add(record) != nil {
			t.Fatal(err)
		}
	}
	back, err := b.State(w.s.Index())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tallied(back.Reader()), tallied(r); !slices.Equal(got, want) || *back.Reader().Totals() != *totals {
		t.Errorf("from a snapshot %q, want %q", got, want)
	}
	left := w.create("Load.dtsx")
	w.ok(&command.DeleteProject{Folder: "F", Project: "P"})
	w.ok(&command.StopOperation{OperationID: left}) // created before, never started
	if got := tallied(w.s.Reader()); len(got) != 0 {
		t.Errorf("after the project is deleted: %q", got)
	}
	if *w.s.Reader().Totals() != *totals {
		t.Error("totals fell")
	}
}

// However many packages there are, the counts are of at most mostTallies names and the others.
func TestTalliesAreBounded(t *testing.T) {
	w := newMachine(t)
	w.ok(&command.CreateFolder{Name: "F"})
	const perProject = 400
	projects := mostTallies/perProject + 1
	for p := range projects {
		var names []string
		for i := range perProject {
			names = append(names, fmt.Sprintf("p%03d.dtsx", i))
		}
		w.ok(&command.DeployProject{Folder: "F", Project: fmt.Sprint("P", p), Blob: blobA, Size: 1,
			Manifest: packedManifest(w, names...)})
		project, _ := w.s.Reader().Project("F", fmt.Sprint("P", p))
		for _, name := range names {
			id := w.ok(&command.CreateExecution{Folder: "F", Project: project.Name, Package: name, AnyWorker: true}).Value
			w.ok(&command.StartExecution{ExecutionID: id})
			w.ok(&command.StopOperation{OperationID: id})
		}
	}
	rows, sum, others := 0, int64(0), int64(0)
	for row := range w.s.Reader().Tallies() {
		rows++
		sum += row.Ended[2]
		if row.Folder == Others {
			others = row.Ended[2]
		}
	}
	if rows != mostTallies+1 || sum != int64(projects*perProject) || others != sum-mostTallies {
		t.Errorf("%d rows count %d ends, %d of others", rows, sum, others)
	}
}

func TestAnEndNamesThePackage(t *testing.T) {
	w := stage(t)
	id := w.granted(worker1, 1, 0)
	w.ok(reportOf(id, 1, command.Failed))
	events, _, _ := w.s.Reader().Events(EventID{}, keptEvents)
	at := slices.IndexFunc(events, func(e Event) bool { return e.Type == EventExecutionEnded })
	if at < 0 {
		t.Fatal("no event of the end")
	}
	if e := events[at]; e.Status != Failed || e.Folder != "F" || e.Project != "P" || e.Package != "a.sh" {
		t.Errorf("the end is told as %+v", e)
	}
}

// A folder may have the name under which the rest is counted. Renaming it takes that count nowhere, and a state that
// was built of a snapshot has as many rows as the one that it was taken of: what is counted next depends on it.
func TestRenamingAFolderKeepsTheOthers(t *testing.T) {
	w := newMachine(t)
	w.ok(&command.CreateFolder{Name: Others})
	e := w.s.edit(command.Caller{})
	w.s.begin()
	e.add(tableTallies, &Tally{Folder: Others, Project: Others, Package: Others, Ended: [len(Endings)]int64{7}})
	e.add(tableTallies, &Tally{Folder: "Other", Project: "P", Package: "a.dtsx", Ended: [len(Endings)]int64{1}})
	e.add(tableTallies, &Tally{Folder: "F", Project: "P", Package: "a.dtsx", Ended: [len(Endings)]int64{2}})
	w.s.write(e)
	w.ok(&command.RenameFolder{Old: Others, New: "F"})
	w.ok(&command.RenameFolder{Old: "F", New: "other"})
	r := w.s.Reader()
	if got, want := tallied(r), []string{"other/other/other [7 0 0 0]", "other/P/a.dtsx [3 0 0 0]"}; !slices.Equal(got,
		want) {
		t.Errorf("counted %q, want %q", got, want)
	}
	if n := r.rows(tableTallies); n != 2 {
		t.Errorf("the state says that it has %d rows, and has 2", n)
	}
}
