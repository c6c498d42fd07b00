package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/view"
)

// Reason codes of a pending execution, and "silent" for a running one that the leader has not heard of.
const (
	NoWorkerEnabled        = "no_worker_enabled"
	NoWorkerOnline         = "no_worker_online"
	NoWorkerCanRun         = "no_worker_can_run"
	WorkersBusy            = "workers_busy"
	SelectedWorkersOffline = "selected_workers_offline"
	SelectedWorkersBusy    = "selected_workers_busy"
	RetryWait              = "retry_wait"
	HandedBack             = "handed_back"
	Starting               = "starting"
	Silent                 = "silent"
)

var _ view.Live = (*Dispatcher)(nil)

// Reason says why a pending execution has not been granted, or since when a running one is silent.
func (d *Dispatcher) Reason(id int64) (code, sentence string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return "", "", false
	}
	now := time.Now()
	if t := d.queue.tasks[id]; t != nil {
		code, sentence = d.queue.reason(t, now)
		return code, sentence, true
	}
	for _, l := range d.queue.leases {
		if l.ref.TaskID == id {
			return d.queue.silence(l, now)
		}
	}
	return "", "", false
}

// reason checks first for what no worker can mend, and last for what the next poll will mend.
func (q *queue) reason(t *task, now time.Time) (code, sentence string) {
	if t.waiting && t.back != "" {
		return HandedBack, fmt.Sprintf("%s; attempt %d starts in %v", t.back, t.attempt, t.due.Sub(now).Round(time.Second))
	}
	if t.waiting {
		return RetryWait, fmt.Sprintf("attempt %d starts in %v", t.attempt, t.due.Sub(now).Round(time.Second))
	}
	if t.reserved {
		return Starting, "a worker is taking it"
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
		if w.free() > 0 || w.instance != w.row.Instance && w.held < w.row.MaxTaskCount {
			free = append(free, w)
		}
	}
	chosen := !t.class.any
	switch {
	case len(enabled) == 0 && chosen:
		return NoWorkerEnabled, "none of the selected workers is enabled: " + names(selected)
	case len(enabled) == 0:
		return NoWorkerEnabled, "no worker is enabled; enable one of: " + names(selected)
	case len(online) == 0 && chosen:
		return SelectedWorkersOffline, "the selected workers are not online: " + names(enabled)
	case len(online) == 0:
		return NoWorkerOnline, "no enabled worker is online: " + names(enabled)
	case len(able) == 0:
		what := t.class.extension
		if t.class.bits == 32 {
			what = "32-bit " + what
		}
		return NoWorkerCanRun, fmt.Sprintf("no worker that is online can run %s packages: %s", what, names(online))
	case len(free) > 0:
		return Starting, "waiting for the next call of " + names(free)
	case chosen:
		return SelectedWorkersBusy, "the selected workers run as much as they may: " + load(able)
	default:
		return WorkersBusy, "all workers run as much as they may: " + load(able)
	}
}

// reasonCodes returns a function that gives the code of a task's reason, for many tasks at one moment. It looks at the
// workers once for each class of tasks, because there may be thousands of both and the lock is held.
func (q *queue) reasonCodes(now time.Time) func(*task) string {
	byClass := map[*class]string{}
	return func(t *task) string {
		if code, known := byClass[t.class]; known && !t.waiting && !t.reserved {
			return code
		}
		code, _ := q.reason(t, now)
		if !t.waiting && !t.reserved {
			byClass[t.class] = code
		}
		return code
	}
}

func (q *queue) silence(l *lease, now time.Time) (code, sentence string, ok bool) {
	w := q.workers[l.worker]
	if w == nil || w.row == nil {
		return "", "", false
	}
	// Three heartbeats: one may be held and one on its way without anything being wrong.
	if now.Sub(l.renewed) < 3*command.Span(w.row.TaskHeartbeatMs) {
		return "", "", false
	}
	return Silent, fmt.Sprintf("worker %s is silent since %s, attempt %d is lost at %s",
		w.name(), l.renewed.UTC().Format(time.RFC3339), l.ref.Attempt, l.deadline.UTC().Format(time.RFC3339)), true
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
func names(ws []*worker) string {
	if len(ws) == 0 {
		return "none is registered"
	}
	return list(ws, (*worker).name)
}

func load(ws []*worker) string {
	return list(ws, func(w *worker) string {
		return fmt.Sprintf("%s (%d of %d)", w.name(), w.held+w.promised, min(w.slots, w.row.MaxTaskCount))
	})
}

func list(ws []*worker, text func(*worker) string) string {
	const most = 5
	var out []string
	for _, w := range ws[:min(len(ws), most)] {
		out = append(out, text(w))
	}
	slices.Sort(out)
	if more := len(ws) - most; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
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
	now.Draining = now.Online && w.slots == 0 && w.latest != nil && w.instance == w.row.Instance
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
