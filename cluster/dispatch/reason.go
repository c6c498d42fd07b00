package dispatch

import (
	"fmt"
	"slices"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/view"
)

var _ view.Live = (*Dispatcher)(nil)

// Reason returns why a pending execution has not been granted, or since when a running one is silent: a code of package
// command with its arguments.
func (d *Dispatcher) Reason(id int64) (code string, args []string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return "", nil, false
	}
	now := time.Now()
	if t := d.queue.tasks[id]; t != nil {
		code, args = d.queue.reason(t, now)
		return code, args, true
	}
	for _, l := range d.queue.leases {
		if l.ref.TaskID == id {
			return d.queue.silence(l, now)
		}
	}
	return "", nil, false
}

// reason checks first for what no worker can mend, and last for what the next poll will mend.
func (q *queue) reason(t *task, now time.Time) (code string, args []string) {
	if t.waiting {
		wait := command.Arguments(t.attempt, t.due.Sub(now).Round(time.Second))
		if t.back != nil {
			return command.ReasonHandedBack, append(wait, t.back...)
		}
		return command.ReasonRetryWait, wait
	}
	if t.reserved {
		return command.ReasonStarting, nil
	}
	var selected, enabled, online, able, free []*worker
	for _, w := range q.sorted() {
		if w.row == nil || !t.class.selected(w.id) {
			continue
		}
		selected = append(selected, w)
		if !w.row.Enabled {
			continue
		}
		enabled = append(enabled, w)
		if !w.online(now) {
			continue
		}
		online = append(online, w)
		if !t.class.runs(w.row) {
			continue
		}
		able = append(able, w)
		// A worker says itself how many attempts it takes; this leader may not have heard that yet.
		if w.free() > 0 || w.incarnation != w.row.Incarnation && w.held < w.row.MaxTaskCount {
			free = append(free, w)
		}
	}
	chosen := !t.class.any
	switch {
	case len(selected) == 0 && chosen:
		return command.ReasonNoSelectedRegistered, nil
	case len(selected) == 0:
		return command.ReasonNoWorkerRegistered, nil
	case len(enabled) == 0 && chosen:
		return command.ReasonNoSelectedEnabled, names(selected)
	case len(enabled) == 0:
		return command.ReasonNoWorkerEnabled, names(selected)
	case len(online) == 0 && chosen:
		return command.ReasonSelectedWorkersOffline, names(enabled)
	case len(online) == 0:
		return command.ReasonNoWorkerOnline, names(enabled)
	case len(able) == 0 && t.class.bits == 32:
		return command.ReasonNoWorkerCanRun32, command.Arguments(t.class.extension, names(online))
	case len(able) == 0:
		return command.ReasonNoWorkerCanRun, command.Arguments(t.class.extension, names(online))
	case len(free) > 0:
		return command.ReasonStartingNextCall, names(free)
	case chosen:
		return command.ReasonSelectedWorkersBusy, loads(able)
	default:
		return command.ReasonWorkersBusy, loads(able)
	}
}

// reasonNames returns a function that gives the name of a task's reason, for many tasks at one moment. It looks at the
// workers once for each class of tasks, because there may be thousands of both and the lock is held.
func (q *queue) reasonNames(now time.Time) func(*task) string {
	byClass := map[*class]string{}
	return func(t *task) string {
		if name, known := byClass[t.class]; known && !t.waiting && !t.reserved {
			return name
		}
		code, _ := q.reason(t, now)
		name := command.ReasonName(code)
		if !t.waiting && !t.reserved {
			byClass[t.class] = name
		}
		return name
	}
}

func (q *queue) silence(l *lease, now time.Time) (code string, args []string, ok bool) {
	w := q.workers[l.worker]
	if w == nil || w.row == nil {
		return "", nil, false
	}
	// Three heartbeats: one may be held and one on its way without anything being wrong.
	if now.Sub(l.renewed) < 3*command.Span(w.row.TaskHeartbeatMs) {
		return "", nil, false
	}
	args = command.Arguments(w.name(), command.At(l.renewed), l.ref.Attempt, command.At(l.deadline))
	return command.ReasonSilent, args, true
}

func (w *worker) name() string {
	if w.row != nil && w.row.DisplayName != "" {
		return w.row.DisplayName
	}
	if w.row != nil && w.row.MachineName != "" {
		return w.row.MachineName
	}
	return w.id
}

// names lists a few workers for people.
func names(ws []*worker) []string { return listSome(ws, (*worker).name) }

// loads lists a few workers with how many tasks they have and how many they may have.
func loads(ws []*worker) []string {
	return listSome(ws, func(w *worker) string {
		return fmt.Sprintf("%s (%d/%d)", w.name(), w.held+w.promised, min(w.slots, w.row.MaxTaskCount))
	})
}

// listSome ends with a value such as +3 if it leaves workers out.
func listSome(ws []*worker, text func(*worker) string) []string {
	const most = 5
	var out []string
	for _, w := range ws[:min(len(ws), most)] {
		out = append(out, text(w))
	}
	slices.Sort(out)
	if more := len(ws) - most; more > 0 {
		out = append(out, fmt.Sprintf("+%d", more))
	}
	return out
}

// LastContact returns when this leader last heard from the worker, and false if it never did.
func (d *Dispatcher) LastContact(id string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return time.Time{}, false
	}
	w := d.queue.workers[id]
	if w == nil || w.contact.IsZero() {
		return time.Time{}, false
	}
	return w.contact, true
}

// Worker returns what this leader knows of a worker at this moment, and false if it does not know the worker or does
// not lead any more.
func (d *Dispatcher) Worker(id string) (view.WorkerNow, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return view.WorkerNow{}, false
	}
	w := d.queue.workers[id]
	if w == nil || w.row == nil {
		return view.WorkerNow{}, false
	}
	now := view.WorkerNow{Online: w.online(time.Now()), Running: w.held}
	// Only what this process of the worker said counts: a process that has just begun has said nothing yet.
	now.Draining = now.Online && w.slots == 0 && w.latest != nil && w.incarnation == w.row.Incarnation
	return now, true
}

// LeaseUntil returns when the attempt is declared lost if nothing renews its lease, and false if it has no lease.
func (d *Dispatcher) LeaseUntil(ref command.AttemptRef) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return time.Time{}, false
	}
	l := d.queue.leases[ref]
	if l == nil {
		return time.Time{}, false
	}
	return l.deadline, true
}
