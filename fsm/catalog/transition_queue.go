package catalog

import (
	"fmt"
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
		return refuse(command.CodeNotPending, "attempt %d of task %d does not wait for a worker", c.Attempt, c.TaskID)
	}
	if x.QueueUntil == 0 || x.QueueUntil != c.Until || e.Time < x.QueueUntil {
		return refuse(command.CodeNotPending, "attempt %d of task %d may go on waiting", c.Attempt, c.TaskID)
	}
	if len(c.Reason) > mostCode {
		return refuse(command.CodeInvalidArgument, "a reason of %d bytes; at most %d are taken", len(c.Reason), mostCode)
	}
	x = new(*x)
	x.Status, x.Ended, x.Overdue, x.Waited = Failed, e.Time, true, c.Reason
	x.Notes = e.note(x.Notes, MessageError, "%s", x.OverdueSentence())
	e.put(r, x)
	return command.ItemResult{}
}

// overdueSentence says that no worker was found in time, and why.
func (x *Execution) OverdueSentence() string {
	text := fmt.Sprintf("Attempt %d was not started: no worker took it within %v, the execution's %s",
		x.Next(), time.Duration(x.QueueTimeoutMs)*time.Millisecond, OptionQueueTimeout)
	if x.Waited != "" {
		text += " (" + x.Waited + ")"
	}
	return text + "."
}

// next is the number that the next attempt gets.
func (x *Execution) Next() int {
	if a := x.current(); a != nil {
		return a.Number + 1
	}
	return 1
}
