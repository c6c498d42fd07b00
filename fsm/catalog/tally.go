package catalog

import (
	"iter"
	"slices"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// The state itself counts how executions end. What a process counts begins anew when it does, and the execution whose
// end was applied while its leader died would be in nobody's count; what the state counts is equal on every master,
// outlives all of them, and is counted once.

// Endings are the statuses in which an execution ends, in the order of Tally.Ended.
var Endings = [...]Status{Succeeded, Failed, Canceled, EndedUnexpectedly}

// mostTallies is how many packages are counted by their names. Those started after that are counted under Others, until
// projects with counted packages are deleted. Two versions of the program that disagree on it disagree on the state.
const mostTallies = 1000

// Others is the folder, project and package under which the packages are counted that have no place of their own.
const Others = "other"

// Tally is how one package's executions have ended since its project was deployed first.
type Tally struct {
	Folder  string                     `cbor:"1,keyasint"`
	Project string                     `cbor:"2,keyasint"`
	Package string                     `cbor:"3,keyasint"`
	Ended   [len(Endings)]int64        `cbor:"4,keyasint"` // by Endings
	Last    [len(Endings)]command.Time `cbor:"5,keyasint"` // when one ended so last, by Endings
}

// HistogramBounds are the upper bounds of a Histogram's buckets; a last one has none. They are part of the state's
// meaning and never change.
var HistogramBounds = [...]time.Duration{
	500 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour,
}

// Histogram counts durations.
type Histogram struct {
	Counts [len(HistogramBounds) + 1]int64 `cbor:"1,keyasint"` // of each bucket alone
	SumMs  int64                           `cbor:"2,keyasint,omitempty"`
}

func (h *Histogram) observe(d time.Duration) {
	d = max(d, 0)
	at, _ := slices.BinarySearch(HistogramBounds[:], d)
	h.Counts[at]++
	h.SumMs += d.Milliseconds()
}

// Totals are counts over all packages. Who has them must not change them.
type Totals struct {
	Queued   Histogram               `cbor:"1,keyasint"` // from start_execution to the first attempt, or to the end without one
	Duration [len(Endings)]Histogram `cbor:"2,keyasint"` // from the first attempt to the end, by Endings
}

func tallyKey(names ...string) []byte {
	size := 0
	for _, name := range names {
		size += len(name) + 1
	}
	k := make([]byte, 0, size)
	for _, name := range names {
		k = append(append(k, sqltype.Fold(name)...), 0)
	}
	return k
}

// tally is the row that counts a package, or a new one. There is none for a package that is counted under Others.
func (r *Reader) tally(folder, project, pkg string) (t *Tally, there bool) {
	if t, ok := find[Tally](r, tableTallies, byID, tallyKey(folder, project, pkg)); ok {
		return t, true
	}
	if r.rows(tableTallies) < mostTallies || folder == Others && project == Others && pkg == Others {
		return &Tally{Folder: folder, Project: project, Package: pkg}, false
	}
	return r.tally(Others, Others, Others)
}

// expectEnd makes a package known before its execution ends: whoever looks at differences must have seen a zero.
func (e *edit) expectEnd(r *Reader, x *Execution) {
	folder, _ := r.folderOf(x)
	if t, there := r.tally(folder, x.Project, x.Package); !there {
		e.add(tableTallies, t)
	}
}

// countWait counts how long an execution was queued, once.
func (e *edit) countWait(x *Execution, until command.Time) {
	if x.Queued != 0 {
		e.totals().Queued.observe(time.Duration(until - x.Queued))
	}
}

// countEnd counts an execution that has ended. One that was never started may outlive its project, whose counts are
// gone: it does not bring them back.
func (e *edit) countEnd(r *Reader, x *Execution) {
	at := slices.Index(Endings[:], x.Status)
	if at < 0 {
		return
	}
	if folder, deployed := r.folderOf(x); deployed {
		t, there := r.tally(folder, x.Project, x.Package)
		t = new(*t)
		t.Ended[at]++
		t.Last[at] = x.Ended
		if there {
			e.replace(tableTallies, t)
		} else {
			e.add(tableTallies, t)
		}
	}
	if x.Started == 0 {
		e.countWait(x, x.Ended)
		return
	}
	e.totals().Duration[at].observe(time.Duration(x.Ended - x.Started))
}

// totals returns a copy that becomes the state's with the edit.
func (e *edit) totals() *Totals {
	t := new(Totals)
	if e.Totals != nil {
		*t = *e.Totals
	}
	e.Totals = t
	return t
}

// forgetTallies removes what is counted of a project that is deleted: nobody waits for its next success any more.
func (e *edit) forgetTallies(r *Reader, folder, project string) {
	for t := range rowsBy[*Tally](r, tableTallies, byID, tallyKey(folder, project), false) {
		e.remove(tableTallies, t)
	}
}

// renameTallies moves what is counted of a folder's packages to its new name, and adds it to what is counted there
// already. What is counted under Others is of no folder, even if one has that name.
func (e *edit) renameTallies(r *Reader, old, name string) {
	for t := range rowsBy[*Tally](r, tableTallies, byID, tallyKey(old), false) {
		if t.isOthers() {
			continue
		}
		e.remove(tableTallies, t)
		t = new(*t)
		t.Folder = name
		there, ok := find[Tally](r, tableTallies, byID, tallyKey(name, t.Project, t.Package))
		if !ok || sqltype.EqualText(old, name) {
			e.add(tableTallies, t)
			continue
		}
		for i := range t.Ended {
			t.Ended[i] += there.Ended[i]
			t.Last[i] = max(t.Last[i], there.Last[i])
		}
		e.replace(tableTallies, t)
	}
}

func (t *Tally) isOthers() bool {
	return sqltype.EqualText(t.Folder, Others) && sqltype.EqualText(t.Project, Others) &&
		sqltype.EqualText(t.Package, Others)
}

// folderOf is the present name of the folder that an execution's project lies in. The execution keeps the one that it
// had.
func (r *Reader) folderOf(x *Execution) (name string, deployed bool) {
	p, ok := r.ProjectByID(x.ProjectID)
	if !ok {
		return x.Folder, false
	}
	f, ok := r.FolderByID(p.FolderID)
	if !ok {
		return x.Folder, false
	}
	return f.Name, true
}

// Tallies yields how executions ended, by package. A package is there from its first start_execution on.
func (r *Reader) Tallies() iter.Seq[*Tally] { return rowsBy[*Tally](r, tableTallies, byID, nil, false) }

// Totals are the counts over all packages.
func (r *Reader) Totals() *Totals {
	if r.meta.Totals == nil {
		return new(Totals)
	}
	return r.meta.Totals
}
