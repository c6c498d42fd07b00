package catalog

import (
	"slices"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// exchange settles the reports, then grants: a report frees the slot that a grant of the same exchange takes.
func exchange(s *State, caller command.Caller, c *command.Exchange) command.Result {
	reports := items(s, caller, c.Ended, func(r *Reader, e *edit, rep command.Report) command.ItemResult {
		return report(r, e, c.Worker, rep, func(a *Attempt) bool { return a.Incarnation == c.Incarnation })
	})
	s.fencedReports(c.Worker, c.Ended, reports)
	grants := items(s, caller, c.Grants, func(r *Reader, e *edit, g command.GrantOrder) command.ItemResult {
		return grant(r, e, c.Worker, c.Incarnation, g)
	})
	return command.Result{Items: append(reports, grants...)}
}

// mostCode bounds a code that is kept with an execution, in bytes.
const mostCode = 64

// report takes a worker's final word on an attempt: on the current one, from the process that holds it. The same word
// again is fine, whichever process of the worker repeats it: the answer to the first may have been lost.
func report(r *Reader, e *edit, worker string, rep command.Report, holds func(*Attempt) bool) command.ItemResult {
	switch rep.Outcome {
	case command.Succeeded, command.Failed, command.Canceled, command.Returned:
	default:
		return refuse(command.CodeOutcome, rep.Outcome)
	}
	x, ok := r.Execution(rep.TaskID)
	if !ok {
		return refuse(command.CodeFencedNoTask, rep.TaskID)
	}
	a := x.attempt(rep.Attempt)
	switch {
	case a == nil || !sqltype.EqualText(a.Worker, worker):
		return refuse(command.CodeFencedNotGiven, rep.Attempt, rep.TaskID)
	case a.reported() == rep.Outcome && a.ExitCode == rep.ExitCode:
		return command.ItemResult{}
	case !a.Held():
		return refuse(command.CodeFencedEnded, rep.Attempt, rep.TaskID, a.Outcome)
	case !holds(a):
		return refuse(command.CodeFencedProcess, rep.Attempt, rep.TaskID)
	case len(rep.Code) > mostCode:
		return refuse(command.CodeEndCode, rep.Attempt, rep.TaskID, len(rep.Code), mostCode)
	case rep.Messages < 0 || rep.Messages > command.MaxAttemptMessages:
		return refuse(command.CodeMessageCount, rep.Attempt, rep.TaskID, rep.Messages)
	}
	x, a = x.settled(e, rep.Outcome)
	a.ExitCode, a.Message, a.Messages, a.Code = rep.ExitCode, rep.Message, rep.Messages, rep.Code
	switch rep.Outcome {
	case command.Succeeded:
		x.Status = Succeeded
	case command.Returned:
		if x.ReturnedInARow() < MostReturned {
			x.Returned++
			x.afterReturn(e)
			break
		}
		a.Outcome, a.HandedBack = command.Failed, true
		x.afterFailure(e, Failed)
	default:
		x.afterFailure(e, Failed)
	}
	if a = x.attempt(rep.Attempt); a != nil { // nil: one of too many handed back
		if a.Missing() == 0 {
			x.noteEnd(r, e, a)
		} else if n := len(x.endNotes(r, a)); n > 0 {
			a.EndNote = e.Message + 1
			e.Message += int64(n)
		}
	}
	e.put(r, x)
	return command.ItemResult{}
}

// noteEnd notes how a reported attempt ended. The note stands behind the attempt's own messages: it is written when the
// last of them is in, or when the next attempt begins.
func (x *Execution) noteEnd(r *Reader, e *edit, a *Attempt) {
	a.EndNote = 0
	for _, n := range x.endNotes(r, a) {
		x.Notes = e.addNote(x.Notes, n)
	}
}

// endNotes are the notes on how a reported attempt ended, without ids; none for one that succeeded.
func (x *Execution) endNotes(r *Reader, a *Attempt) (notes []Note) {
	if a.Outcome == command.Succeeded {
		return nil
	}
	add := func(kind int, code string, args ...any) {
		notes = append(notes, Note{Time: a.Ended, Type: kind, SourceType: SourceEntryAPI, Code: code,
			Args: command.Arguments(args...)})
	}
	worker := WorkerCalled(r, a.Worker)
	if a.HandedBack || a.Outcome == command.Returned {
		add(MessageWarning, command.NoteHandedBack, worker, a.Machine, a.Number, a.Message)
	}
	switch {
	case a.HandedBack:
		add(MessageError, command.NoteHandedTooOft, a.Number, MostReturned)
	case a.Code == RunTimeout:
		add(MessageError, command.NoteRunTimeout, a.Number, worker, a.Machine, optionRunTimeout)
	case a.Outcome == command.Failed || a.Outcome == command.Canceled:
		add(MessageError, command.NoteAttemptEnded, a.Number, worker, a.Machine, a.Outcome, a.ExitCode)
	}
	return notes
}

// endNoteWait is how long after an attempt's end its messages are waited for before it is shown without them how it
// ended: a worker that reported and was lost with its disk never sends them.
const endNoteWait = 10 * time.Minute

// ShownNotes are the execution's notes, and those on ends whose messages have not come in time.
func (x *Execution) ShownNotes(r *Reader) []Note {
	shown := slices.Clip(x.Notes)
	for i := range x.Attempts {
		a := &x.Attempts[i]
		if a.EndNote == 0 || r.Time() < a.Ended.Add(endNoteWait) {
			continue
		}
		for n, note := range x.endNotes(r, a) {
			note.ID = a.EndNote + int64(n)
			shown = append(shown, note)
		}
	}
	return shown
}

// WorkerCalled is what people call a worker: the name in its certificate, or its id once it is forgotten.
func WorkerCalled(r *Reader, id string) string {
	if w, ok := r.Worker(id); ok && w.CertName != "" {
		return w.CertName
	}
	return id
}

// expire declares an attempt lost, if that process still holds it.
func expire(r *Reader, e *edit, c command.Expiry) command.ItemResult {
	x, ok := find[Execution](r, tableLive, byID, key(c.TaskID))
	if !ok {
		return refuse(command.CodeNotHeld, c.TaskID)
	}
	a := x.current()
	if a == nil || !a.Held() || a.Number != c.Attempt || !sqltype.EqualText(a.Worker, c.Worker) ||
		a.Incarnation != c.Incarnation {
		return refuse(command.CodeNotHeldProcess, c.Attempt, c.TaskID, c.Worker)
	}
	x, a = x.settled(e, Lost)
	a.SilentSince = c.SilentSince
	lost, args := command.NoteLost, []any{a.Number, WorkerCalled(r, a.Worker), a.Machine}
	if c.SilentSince != 0 {
		lost, args = command.NoteLostSilent, append(args, c.SilentSince)
	}
	x.Notes = e.note(x.Notes, MessageError, lost, args...)
	x.afterFailure(e, EndedUnexpectedly)
	e.put(r, x)
	return command.ItemResult{}
}

// settled returns a copy whose current attempt has ended.
func (x *Execution) settled(e *edit, outcome command.Outcome) (*Execution, *Attempt) {
	x = new(*x)
	x.Attempts = slices.Clone(x.Attempts)
	a := x.current()
	a.Outcome, a.Ended = outcome, e.Time
	if outcome == command.Succeeded {
		x.Ended = e.Time
	}
	return x, a
}

// Used is how many attempts count against the retries: those handed back do not.
func (x *Execution) Used() int { return len(x.Attempts) - x.Returned }

// afterFailure says what follows an attempt that did not succeed: the stop that was asked for, another attempt, or the
// end in status end.
func (x *Execution) afterFailure(e *edit, end Status) {
	switch {
	case x.Status == Stopping:
		x.Status, x.Ended = Canceled, e.Time
	case x.Used() <= x.RetryCount:
		x.Status = Pending
		x.NotBefore = e.Time.Add(command.Span(min(x.RetryDelayMs, command.MaxSpanMs) * int64(x.Used())))
		x.waitsFrom(x.NotBefore)
	default:
		x.Status, x.Ended = end, e.Time
	}
}

const (
	// MostReturned is how many attempts may be handed back in a row. The last of them counts as failed: what no worker
	// can start must end, and say why.
	MostReturned = 10
	// keptReturned bounds the handed-back attempts that an execution remembers; older ones are forgotten, numbers stay.
	keptReturned = 32
	// Each wait after a handed-back attempt is twice the last one, within these bounds.
	shortestReturnWait = time.Second
	longestReturnWait  = 5 * time.Minute
)

// ReturnedInARow is how many attempts were handed back since one was not.
func (x *Execution) ReturnedInARow() (n int) {
	for n < len(x.Attempts) && x.Attempts[len(x.Attempts)-1-n].Outcome == command.Returned {
		n++
	}
	return n
}

// reported is the outcome in the worker's words.
func (a *Attempt) reported() command.Outcome {
	if a.HandedBack {
		return command.Returned
	}
	return a.Outcome
}

// afterReturn queues the task again, later each time: what keeps the worker from starting it may take a while to mend,
// and must not make it spin.
func (x *Execution) afterReturn(e *edit) {
	if x.Status == Stopping {
		x.Status, x.Ended = Canceled, e.Time
		return
	}
	wait := max(command.Span(x.RetryDelayMs), shortestReturnWait)
	for range x.ReturnedInARow() - 1 {
		wait = min(2*wait, longestReturnWait)
	}
	x.Status = Pending
	x.NotBefore = e.Time.Add(wait)
	if x.Returned > keptReturned {
		oldest := slices.IndexFunc(x.Attempts, func(a Attempt) bool { return a.Outcome == command.Returned })
		x.Attempts = slices.Delete(x.Attempts, oldest, oldest+1)
		x.Returned--
	}
}

// grant gives the next attempt to the worker: a compare-and-set on the attempt's number.
func grant(r *Reader, e *edit, worker, incarnation string, g command.GrantOrder) command.ItemResult {
	x, ok := find[Execution](r, tableLive, byID, key(g.TaskID))
	if !ok || x.Status != Pending {
		return refuse(command.CodeNotPending, g.TaskID)
	}
	next := x.Next()
	if g.Attempt != next {
		return refuse(command.CodeNotPendingNumber, g.TaskID, next, g.Attempt)
	}
	w, ok := r.Worker(worker)
	switch {
	case !ok:
		return refuse(command.CodeWorkerNotFound, worker)
	case w.Incarnation != incarnation:
		return refuse(command.CodeFencedRegistered, w.ID)
	case !w.Enabled:
		return refuse(command.CodeDisabled, w.ID)
	case !x.AnyWorker && !slices.Contains(x.Workers, w.ID):
		return refuse(command.CodeNotAllowed, x.ID, w.ID)
	case g.GiveUpAfterMs <= 0 || g.GiveUpAfterMs > command.MaxSpanMs:
		return refuse(command.CodeGiveUp, int64(command.MaxSpanMs), g.GiveUpAfterMs)
	}
	held := 0
	for range r.HeldBy(w.ID) {
		held++
	}
	if held >= w.MaxTaskCount {
		return refuse(command.CodeNoSlot, w.ID, held, w.MaxTaskCount)
	}
	x = new(*x)
	x.Attempts = slices.Clone(x.Attempts)
	if a := x.current(); a != nil && a.EndNote != 0 {
		x.noteEnd(r, e, a)
	}
	x.Attempts = append(x.Attempts, Attempt{
		NextSeq: 1, // messages are numbered from 1, as attempts are
		Number:  next, Worker: w.ID, Incarnation: incarnation, Machine: w.MachineName, Granted: e.Time,
		GiveUpAfterMs: g.GiveUpAfterMs,
	})
	x.Status = Running
	if x.Started == 0 {
		x.Started = e.Time
		e.countWait(x, e.Time)
	}
	e.replace(tableLive, x)
	return command.ItemResult{}
}
