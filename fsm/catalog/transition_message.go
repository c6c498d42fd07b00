package catalog

import (
	"cmp"
	"slices"

	"scaleout/fsm/command"
)

// appendMessages takes the parts of a segment one by one. The segment's row is written once, for the parts that were
// taken; a segment of which nothing was taken is named by no row, and goes.
func appendMessages(s *State, caller command.Caller, c *command.AppendMessages) command.Result {
	if !isDigest(c.Segment) {
		return reject(command.CodeDigest, c.Segment)
	}
	old, known := s.working().Segment(c.Segment)
	number, refs := s.now.Segment+1, []segmentRef(nil)
	if known {
		number, refs = old.Num, old.refs()
	}
	had := len(refs)
	results := items(s, caller, c.Parts, func(r *Reader, e *edit, p command.MessagePart) command.ItemResult {
		occupied := slices.ContainsFunc(refs, func(ref segmentRef) bool { return ref.part == int64(p.Part) })
		run, result := takePart(r, e, number, p, occupied)
		if run >= 0 {
			refs = append(refs, segmentRef{int64(p.Part), p.TaskID, run})
		}
		return result
	})
	if len(refs) == had {
		return command.Result{Items: results}
	}
	slices.SortFunc(refs, func(a, b segmentRef) int { return cmp.Compare(a.part, b.part) })
	e := s.edit(caller)
	row := (&Segment{Digest: c.Segment, Size: c.Size, Num: number}).with(refs)
	if known {
		e.replace(tableSegments, row)
	} else {
		e.Segment = number
		e.add(tableSegments, row)
	}
	s.write(e)
	return command.Result{Items: results}
}

// The most that is kept of one attempt's messages. A worker stops at half of either; whoever holds its certificate need
// not.
const (
	mostMessagesKept = 20_000
	mostBytesKept    = 32 << 20
)

// takePart adds a run for the messages of a part that the state does not have yet. The run is -1 if it has them all.
// They are taken from the worker that held the attempt, however the attempt ended and however long ago. With occupied
// the part's place in the segment is not free: what is sent twice, word for word, comes in the same segment both times.
func takePart(r *Reader, e *edit, segment int64, p command.MessagePart,
	occupied bool) (run int64, _ command.ItemResult) {
	x, live := find[Execution](r, tableLive, byID, key(p.TaskID))
	if !live {
		h, ok := find[record](r, tableHistory, byID, key(p.TaskID))
		if !ok {
			return -1, refuse(command.CodeFencedNoTask, p.TaskID)
		}
		x = h.execution()
	}
	a := x.attempt(p.Attempt)
	switch {
	case !x.WasGiven(p.Attempt, p.Worker):
		return -1, refuse(command.CodeFencedNeverGiven, p.Attempt, p.TaskID, p.Worker)
	case p.FirstSeq < 1 || p.Count < 0 || p.Part < 0:
		return -1, refuse(command.CodeSequence, p.FirstSeq, p.Count, p.Part)
	case p.FirstSeq > a.NextSeq:
		result := refuse(command.CodeGap, p.Attempt, p.TaskID, a.NextSeq, p.FirstSeq-1)
		result.Value = a.NextSeq
		return -1, result
	}
	skip := a.NextSeq - p.FirstSeq
	taken := int64(p.Count) - skip
	if taken <= 0 {
		return -1, command.ItemResult{Value: a.NextSeq}
	}
	if a.NextSeq-1+taken > mostMessagesKept || a.MessageBytes+p.Bytes > mostBytesKept {
		return -1, refuse(command.CodeFencedFull, p.Attempt, p.TaskID, a.NextSeq-1, a.MessageBytes, taken, p.Bytes,
			mostMessagesKept, mostBytesKept)
	}
	if occupied {
		return -1, refuse(command.CodePartTaken, p.Part)
	}
	x = new(*x)
	x.Attempts = slices.Clone(x.Attempts)
	a = x.attempt(p.Attempt)
	a.NextSeq += taken
	a.MessageBytes += p.Bytes
	first := e.Message + 1
	e.Message += taken
	if a.EndNote != 0 && a.Missing() == 0 {
		x.noteEnd(r, e, a)
	}
	if live {
		e.replace(tableLive, x)
	} else {
		e.replace(tableHistory, newRecord(x))
	}
	run = e.addRun(r, x.ID, packed{p.Attempt, p.Part, int(taken), int(skip), segment, first})
	return run, command.ItemResult{Value: a.NextSeq}
}

func (e *edit) addRun(r *Reader, operation int64, p packed) int64 {
	row := r.lastRuns(operation)
	if row == nil || row.N >= runsPerRow {
		next := &runs{OperationID: operation, N: 1, Data: p.append(nil)}
		if row != nil {
			next.First = row.First + int64(row.N)
		}
		e.add(tableRuns, next)
		return next.First
	}
	next := *row
	next.N++
	next.Data = p.append(slices.Clip(row.Data))
	e.replace(tableRuns, &next)
	return row.First + int64(row.N)
}

// mergeSegments moves runs to their new places. It refuses to leave one behind: its messages would go with the blob.
func mergeSegments(r *Reader, e *edit, c *command.MergeSegments) command.Result {
	if !isDigest(c.Segment) {
		return reject(command.CodeDigest, c.Segment)
	}
	if _, ok := r.Segment(c.Segment); ok {
		return reject(command.CodeSegmentInUse, c.Segment)
	}
	type place struct {
		source int
		part   int64
	}
	moves := make(map[place]int64, len(c.Moves))
	for i, m := range c.Moves {
		moves[place{m.Source, int64(m.Part)}] = int64(i)
	}
	var refs []segmentRef
	for i, digest := range c.Sources {
		source, ok := r.Segment(digest)
		if !ok {
			return reject(command.CodeSegmentNotFound, digest)
		}
		if slices.Contains(c.Sources[:i], digest) {
			return reject(command.CodeSegmentTwice, digest)
		}
		for _, ref := range source.refs() {
			to, ok := moves[place{i, ref.part}]
			if !ok {
				return reject(command.CodeMergeIncomplete, ref.part, digest)
			}
			refs = append(refs, segmentRef{to, ref.operation, ref.run})
		}
		e.remove(tableSegments, source)
	}
	if len(refs) == 0 {
		return command.Result{}
	}
	e.Segment++
	slices.SortFunc(refs, func(a, b segmentRef) int { return cmp.Compare(a.part, b.part) })
	e.add(tableSegments, (&Segment{Digest: c.Segment, Size: c.Size, Num: e.Segment}).with(refs))
	e.moveRuns(r, refs)
	return command.Result{Value: int64(len(refs))}
}

// moveRuns points the runs to the edit's new segment, each row of runs once.
func (e *edit) moveRuns(r *Reader, refs []segmentRef) {
	byRun := slices.Clone(refs)
	slices.SortFunc(byRun, func(a, b segmentRef) int {
		return cmp.Or(cmp.Compare(a.operation, b.operation), cmp.Compare(a.run, b.run))
	})
	for len(byRun) > 0 {
		row := r.runsWith(byRun[0].operation, byRun[0].run)
		list := row.unpack()
		for len(byRun) > 0 && byRun[0].operation == row.OperationID && byRun[0].run < row.First+int64(row.N) {
			p := &list[byRun[0].run-row.First]
			p.segment, p.part = e.Segment, int(byRun[0].part)
			byRun = byRun[1:]
		}
		e.replace(tableRuns, row.with(list))
	}
}

// dropRuns removes an operation's runs and their segments' references to them.
func (e *edit) dropRuns(r *Reader, operation int64) {
	var segments []int64
	for row := range rowsBy[*runs](r, tableRuns, byID, key(operation), false) {
		e.remove(tableRuns, row)
		for _, p := range row.unpack() {
			segments = append(segments, p.segment)
		}
	}
	slices.Sort(segments)
	for _, number := range slices.Compact(segments) {
		s, ok := find[Segment](r, tableSegments, byID, key(number))
		if !ok {
			continue
		}
		refs := slices.DeleteFunc(s.refs(), func(ref segmentRef) bool { return ref.operation == operation })
		if len(refs) == 0 {
			e.remove(tableSegments, s)
		} else {
			e.replace(tableSegments, s.with(refs))
		}
	}
}
