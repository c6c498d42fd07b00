package catalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/command"
)

func messagePart(id int64, attempt int, first int64, count, place int) command.MessagePart {
	return command.MessagePart{TaskID: id, Attempt: attempt, Worker: worker1, FirstSeq: first + 1, Count: count,
		Part: place}
}

func (w *machine) runs(id int64) (list []MessageRun) {
	for run := range w.s.Reader().Runs(id) {
		list = append(list, *run)
	}
	return list
}

// A worker keeps to bounds of its own; whoever holds its certificate and was given one attempt must not fill the disks.
func TestMessagesOfAnAttemptAreBounded(t *testing.T) {
	w := ready(t)
	send := func(id, first int64, count int, bytes int64) command.ItemResult {
		p := messagePart(id, 1, first, count, 0)
		p.Bytes = bytes
		return w.do(&command.AppendMessages{Segment: fmt.Sprintf("%032x%032x", id, first), Size: 10,
			Parts: []command.MessagePart{p}}).Items[0]
	}
	for _, c := range []struct {
		name  string
		count int
		bytes int64
	}{
		{"in number", mostMessagesKept / 2, 10},
		{"in bytes", 10, mostBytesKept / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := w.pending(0)
			w.grant(id, 1)
			for i := range int64(2) {
				if r := send(id, i*int64(c.count), c.count, c.bytes); r.Code != "" {
					t.Fatalf("within the bounds: %+v", r)
				}
			}
			first := 2 * int64(c.count)
			if r := send(id, first, 1, 1); r.Code != command.CodeFencedFull {
				t.Errorf("beyond the bounds: %+v", r)
			}
			if r := send(id, first-1, 1, 1); r.Code != "" || r.Value != first+1 {
				t.Errorf("what is kept, again: %+v", r)
			}
			if x, ok := w.s.Reader().Execution(id); !ok || x.Attempts[0].NextSeq != first+1 ||
				x.Attempts[0].MessageBytes != 2*c.bytes {
				t.Errorf("%+v", x)
			}
			w.ok(reportOf(id, 1, command.Succeeded))
		})
	}
}

func TestMessages(t *testing.T) {
	w := ready(t)
	id := w.pending(0)
	w.grant(id, 1)
	send := func(segment string, parts ...command.MessagePart) []command.ItemResult {
		return w.do(&command.AppendMessages{Segment: segment, Size: 10, Parts: parts}).Items
	}
	taken := send(segmentA, messagePart(id, 1, 0, 3, 0), messagePart(id, 1, 3, 2, 1), messagePart(999, 1, 0, 1, 2))
	if r := taken; r[0].Value != 4 || r[1].Value != 6 || r[2].Code != command.CodeFencedNoTask {
		t.Errorf("%+v", r)
	}
	gap := messagePart(id, 1, 6, 1, 0)
	if r := send(segmentB, gap); r[0].Code != command.CodeGap || r[0].Value != 6 {
		t.Errorf("a gap: %+v", r)
	}
	if _, ok := w.s.Reader().Segment(segmentB); ok || w.s.Reader().Named(segmentB) {
		t.Error("a segment of which nothing was taken has a row")
	}
	foreign := messagePart(id, 1, 5, 1, 0)
	foreign.Worker = worker2
	w.refused(command.FamilyFenced, &command.AppendMessages{Segment: segmentB, Parts: []command.MessagePart{foreign}})
	w.refused(command.FamilyFenced, &command.AppendMessages{Segment: segmentB,
		Parts: []command.MessagePart{messagePart(id, 2, 0, 1, 0)}})
	w.refused(command.FamilyInvalidArgument, &command.AppendMessages{Segment: "x"})
	w.refused(command.FamilyInvalidArgument, &command.AppendMessages{Segment: segmentB,
		Parts: []command.MessagePart{messagePart(id, 1, -1, 1, 0)}})
	// The same again, word for word and so in the same segment: a worker's next process does not know what was answered.
	if r := send(segmentA, messagePart(id, 1, 0, 3, 0), messagePart(id, 1, 3, 2, 1)); r[0].Value != 6 || r[1].Value != 6 ||
		r[0].Code+r[1].Code != "" {
		t.Errorf("%+v", r)
	}
	if r := send(segmentA, messagePart(id, 1, 5, 1, 1)); r[0].Code != command.CodePartTaken {
		t.Errorf("other messages in a place that is taken: %+v", r)
	}
	// Everything again, in a new segment, with two more: only the two are taken.
	if r := send(segmentB, messagePart(id, 1, 0, 3, 0), messagePart(id, 1, 0, 7, 1)); r[0].Value != 6 || r[1].Value != 8 {
		t.Errorf("%+v", r)
	}
	// Late ones, when the execution is history.
	w.ok(reportOf(id, 1, command.Succeeded))
	if r := send(segmentB, messagePart(id, 1, 7, 1, 2)); r[0].Value != 9 {
		t.Errorf("a late message: %+v", r)
	}
	runs := w.runs(id)
	want := []MessageRun{
		{Run: 0, Segment: segmentA, Part: 0, FirstID: runs[0].FirstID, Count: 3},
		{Run: 1, Segment: segmentA, Part: 1, FirstID: runs[0].FirstID + 3, Count: 2},
		{Run: 2, Segment: segmentB, Part: 1, FirstID: runs[0].FirstID + 5, Count: 2, Skip: 5},
		{Run: 3, Segment: segmentB, Part: 2, FirstID: runs[0].FirstID + 7, Count: 1},
	}
	for i := range want {
		want[i].OperationID, want[i].Attempt = id, 1
		if runs[i] != want[i] {
			t.Errorf("run %d is %+v, want %+v", i, runs[i], want[i])
		}
	}
	soundness(t, w.s)

	// Merging moves the runs; it must lose none.
	merge := &command.MergeSegments{Segment: segmentC, Size: 20, Sources: []string{segmentA, segmentB},
		Moves: []command.SegmentMove{{Source: 1, Part: 2}, {Source: 0, Part: 0}, {Source: 0, Part: 1}}}
	w.refused(command.CodeMergeIncomplete, merge)
	merge.Moves = append(merge.Moves, command.SegmentMove{Source: 1, Part: 1}, command.SegmentMove{Source: 1, Part: 0})
	twice := *merge
	twice.Sources = []string{segmentA, segmentA}
	w.refused(command.FamilyInvalidArgument, &twice)
	w.ok(merge)
	w.refused(command.CodeSegmentNotFound, &command.MergeSegments{Segment: segmentB, Sources: []string{segmentA}})
	w.refused(command.FamilyInvalidArgument, &command.MergeSegments{Segment: segmentC, Sources: []string{segmentC}})
	for i, place := range []int{1, 2, 3, 0} {
		want[i].Segment, want[i].Part = segmentC, place
		if got := w.runs(id)[i]; got != want[i] {
			t.Errorf("merged run %d is %+v, want %+v", i, got, want[i])
		}
	}
	r := w.s.Reader()
	if r.Named(segmentA) || !r.Named(segmentC) || !r.Named(blobA) {
		t.Error("the wrong blobs are named")
	}
	blobs := 0
	for range r.Blobs() {
		blobs++
	}
	if blobs != 2 {
		t.Errorf("%d blobs named", blobs)
	}
	soundness(t, w.s)
	if hashOf(t, rebuilt(t, w.s)) != hashOf(t, w.s) {
		t.Error("the restored state has another hash")
	}
	// With its last run a segment goes.
	w.ok(&command.Cleanup{Operations: w.now + 1, Limit: 100})
	if w.s.Reader().Named(segmentC) || len(w.runs(id)) != 0 {
		t.Error("the messages of a removed operation stay")
	}
	soundness(t, w.s)
}

func TestManyRunsSpanRows(t *testing.T) {
	w := ready(t)
	id := w.pending(0)
	w.grant(id, 1)
	for i := range 200 {
		w.ok(&command.AppendMessages{Segment: fmt.Sprintf("%064x", i),
			Parts: []command.MessagePart{messagePart(id, 1, int64(i), 1, i%3)}})
	}
	runs := w.runs(id)
	for i, run := range runs {
		if run.Run != int64(i) || run.Segment != fmt.Sprintf("%064x", i) {
			t.Fatalf("run %d is %+v", i, run)
		}
	}
	if len(runs) != 200 || w.s.counts[tableRuns.place] != 4 {
		t.Errorf("%d runs in %d rows", len(runs), w.s.counts[tableRuns.place])
	}
	soundness(t, w.s)
}

func TestCleanup(t *testing.T) {
	w := ready(t)
	var succeeded, failed, running []int64
	for i := range 5 {
		id := w.pending(0)
		w.grant(id, 1)
		if i%2 == 0 {
			w.ok(reportOf(id, 1, command.Succeeded))
			succeeded = append(succeeded, id)
		} else {
			w.ok(reportOf(id, 1, command.Failed))
			failed = append(failed, id)
		}
	}
	idle := w.create("Load.dtsx")
	live := w.pending(0)
	w.grant(live, 1)
	running = append(running, live)
	middle := w.now + 1
	w.now += command.Time(time.Hour)
	late := w.pending(0)
	w.grant(late, 1)
	w.ok(reportOf(late, 1, command.Succeeded))

	// Nothing without a cut-off, however late the state's time is.
	if got := w.ok(&command.Cleanup{Limit: 100}).Value; got != 0 {
		t.Errorf("%d rows went without a cut-off", got)
	}
	if got := len(idsOf(w.s.Reader().Tasks())); got != 8 {
		t.Errorf("%d tasks show", got)
	}
	w.ok(&command.Cleanup{EndedTasks: middle, Limit: 100})
	if got := idsOf(w.s.Reader().Tasks()); len(got) != 3 || got[0] != idle || got[1] != live || got[2] != late {
		t.Errorf("tasks that show: %v", got)
	}
	if got := len(idsOf(w.s.Reader().Executions(true))); got != 8 {
		t.Errorf("%d executions", got)
	}
	// Two at a time, oldest first.
	if got := w.ok(&command.Cleanup{Operations: middle, Limit: 2}).Value; got != 2 {
		t.Errorf("%d rows went", got)
	}
	if _, ok := w.s.Reader().Execution(succeeded[0]); ok {
		t.Error("the oldest is there")
	}
	for w.ok(&command.Cleanup{Operations: middle, Limit: 2}).Value > 0 {
		soundness(t, w.s)
	}
	if got := idsOf(w.s.Reader().Executions(false)); len(got) != 2 || got[0] != running[0] || got[1] != late {
		t.Errorf("left: %v", got)
	}
	if _, ok := w.s.Reader().Execution(failed[0]); ok || len(idsOf(w.s.Reader().Unsuccessful(false))) != 0 {
		t.Error("failed ones are listed")
	}
	if _, ok := w.s.Reader().Operation(1); ok {
		t.Error("the old deployment is there")
	}
	w.ok(reportOf(live, 1, command.Succeeded))
	soundness(t, w.s)
}

func TestCleanupOfVersions(t *testing.T) {
	w := ready(t)
	pinned := w.pending(0) // in version 1
	for range 5 {
		w.deploy()
	}
	w.ok(&command.Cleanup{Limit: 100})
	left := func() (list []int64) {
		for v := range w.s.Reader().AllVersions() {
			list = append(list, v.LSN)
		}
		return list
	}
	if got := fmt.Sprint(left()); got != "[1 2 3 4 5 6]" {
		t.Errorf("versions %s", got)
	}
	w.ok(&command.Cleanup{MaxVersions: 2, Limit: 100})
	if got := fmt.Sprint(left()); got != "[1 5 6]" {
		t.Errorf("versions %s, want the newest two and the one that runs", got)
	}
	w.ok(&command.StopOperation{OperationID: pinned})
	w.ok(&command.Cleanup{MaxVersions: 2, Limit: 100})
	w.ok(&command.DeleteProject{Folder: "F", Project: "P"})
	if got := fmt.Sprint(left()); got != "[5 6]" {
		t.Errorf("versions %s", got)
	}
	w.ok(&command.Cleanup{MaxVersions: 2, Limit: 1})
	w.ok(&command.Cleanup{MaxVersions: 2, Limit: 1})
	if got := left(); len(got) != 0 || w.s.Reader().Named(blobA) {
		t.Errorf("versions of a deleted project: %v", got)
	}
}

// The line that says how an attempt ended stands behind the attempt's own lines, and until those are in the messages
// count as incomplete.
func TestTheEndIsToldBehindTheLines(t *testing.T) {
	send := func(w *machine, segment string, id int64, attempt int, first int64, count int) {
		w.ok(&command.AppendMessages{Segment: segment, Size: 10,
			Parts: []command.MessagePart{messagePart(id, attempt, first, count, 0)}})
	}
	failed := func(id int64, attempt int, messages int64) *command.Exchange {
		r := reportOf(id, attempt, command.Failed)
		r.Ended[0].Messages = messages
		return r
	}
	look := func(w *machine, id int64) (notes []Note, c Completeness) {
		x, _ := w.s.Reader().Execution(id)
		return x.Notes, *x.Completeness()
	}
	t.Run("lines first", func(t *testing.T) {
		w := ready(t)
		id := w.pending(0)
		w.grant(id, 1)
		send(w, segmentA, id, 1, 0, 3)
		w.ok(failed(id, 1, 3))
		if notes, c := look(w, id); len(notes) != 1 || !c.Complete {
			t.Errorf("%v, %+v", notes, c)
		}
	})
	t.Run("report first", func(t *testing.T) {
		w := ready(t)
		id := w.pending(0)
		w.grant(id, 1)
		send(w, segmentA, id, 1, 0, 1)
		w.ok(failed(id, 1, 4))
		if notes, c := look(w, id); len(notes) != 0 || c != (Completeness{Ended: true, Missing: 3}) {
			t.Errorf("%v, %+v", notes, c)
		}
		send(w, segmentB, id, 1, 1, 3)
		notes, c := look(w, id)
		if len(notes) != 1 || !c.Complete {
			t.Fatalf("%v, %+v", notes, c)
		}
		for _, run := range w.runs(id) {
			if last := run.FirstID + int64(run.Count) - 1; last >= notes[0].ID {
				t.Errorf("message %d comes after the end, %d", last, notes[0].ID)
			}
		}
		send(w, segmentB, id, 1, 1, 3)
		if again, _ := look(w, id); len(again) != 1 {
			t.Errorf("the end is told again: %v", again)
		}
	})
	t.Run("the next attempt does not wait", func(t *testing.T) {
		w := ready(t)
		id := w.pending(1)
		w.grant(id, 1)
		w.ok(failed(id, 1, 2))
		if notes, c := look(w, id); len(notes) != 0 || c != (Completeness{Missing: 2}) {
			t.Errorf("%v, %+v", notes, c)
		}
		w.grant(id, 2)
		if notes, _ := look(w, id); len(notes) != 1 {
			t.Errorf("%v", notes)
		}
		send(w, segmentA, id, 1, 0, 2)
		w.ok(reportOf(id, 2, command.Succeeded))
		if notes, c := look(w, id); len(notes) != 1 || !c.Complete {
			t.Errorf("%v, %+v", notes, c)
		}
	})
	t.Run("a lost worker has not told", func(t *testing.T) {
		w := ready(t)
		id := w.pending(0)
		w.grant(id, 1)
		w.ok(expireOf(id, 1))
		if _, c := look(w, id); c != (Completeness{Ended: true, LostAttempts: 1}) {
			t.Errorf("%+v", c)
		}
	})
	t.Run("messages that never come", func(t *testing.T) {
		w := ready(t)
		id := w.pending(0)
		w.grant(id, 1)
		send(w, segmentA, id, 1, 0, 1)
		r := failed(id, 1, 4)
		r.Ended[0].Code = RunTimeout
		w.ok(r)
		shown := func() (texts []string) {
			x, _ := w.s.Reader().Execution(id)
			for _, n := range x.ShownNotes(w.s.Reader()) {
				texts = append(texts, fmt.Sprint(n.ID, " ", n.Code, n.Args))
			}
			return texts
		}
		if got := shown(); len(got) != 0 {
			t.Errorf("before the messages may be given up: %q", got)
		}
		w.now = w.now.Add(endNoteWait)
		w.ok(&command.Noop{})
		late := shown()
		if len(late) != 1 || !strings.Contains(late[0], optionRunTimeout) {
			t.Fatalf("%q", late)
		}
		send(w, segmentB, id, 1, 1, 3)
		notes, c := look(w, id)
		if got := shown(); len(got) != 1 || len(notes) != 1 || !c.Complete || got[0] == late[0] {
			t.Errorf("after the messages came: %q, %+v", got, c)
		}
	})
	t.Run("a number out of bounds", func(t *testing.T) {
		w := ready(t)
		id := w.pending(0)
		w.grant(id, 1)
		for _, n := range []int64{-1, command.MaxAttemptMessages + 1} {
			w.refused(command.FamilyInvalidArgument, failed(id, 1, n))
		}
	})
}
