package catalog

import (
	"time"

	"scaleout/fsm/command"
)

// Codes of what ended an execution or an attempt when it was a bound of its own.
const (
	QueueTimeout = "queue_timeout" // no worker was found in time
	RunTimeout   = "run_timeout"   // an attempt ran too long
)

// waitsFrom begins a wait for a worker.
func (x *Execution) waitsFrom(t command.Time) {
	if x.QueueTimeoutMs > 0 {
		x.QueueUntil = t.Add(command.Span(x.QueueTimeoutMs))
	}
}

// failQueued ends an execution that still waits for a worker when the time for that is over, in state time. An attempt
// that was handed back does not begin a wait of its own: it never ran.
func failQueued(r *Reader, e *edit, c command.Overdue) command.ItemResult {
	x, ok := find[Execution](r, tableLive, byID, key(c.TaskID))
	if !ok || x.Status != Pending || x.Next() != c.Attempt {
		return refuse(command.CodeNotPendingWait, c.Attempt, c.TaskID)
	}
	if x.QueueUntil == 0 || x.QueueUntil != c.Until || e.Time < x.QueueUntil {
		return refuse(command.CodeNotPendingTime, c.Attempt, c.TaskID)
	}
	if len(c.Reason) > mostCode {
		return refuse(command.CodeReason, len(c.Reason), mostCode)
	}
	x = new(*x)
	x.Status, x.Ended, x.Overdue, x.Waited = Failed, e.Time, true, c.Reason
	x.Notes = e.addNote(x.Notes, x.OverdueNote())
	e.put(r, x)
	return command.ItemResult{}
}

// OverdueNote says that no worker was found in time, and why.
func (x *Execution) OverdueNote() Note {
	n := Note{Time: x.Ended, Type: MessageError, SourceType: SourceEntryAPI, Code: command.NoteOverdue}
	n.Args = command.Arguments(x.Next(), time.Duration(x.QueueTimeoutMs)*time.Millisecond, OptionQueueTimeout)
	if x.Waited != "" {
		n.Code, n.Args = command.NoteOverdueReason, append(n.Args, x.Waited)
	}
	return n
}

// Next is the number that the next attempt gets.
func (x *Execution) Next() int {
	if a := x.current(); a != nil {
		return a.Number + 1
	}
	return 1
}
