package dispatch

import (
	"cmp"
	"container/heap"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// preference is how long a retry waits for a worker other than the one that ran its last attempt.
const preference = 5 * time.Second

// scan bounds how many tasks of a class are looked at to find one that does not prefer another worker.
const scan = 32

// task is one pending task.
type task struct {
	id       int64
	class    *class
	attempt  int          // the number that its next grant carries
	last     string       // worker of its last attempt
	due      time.Time    // retry wait ends; zero: none
	ready    time.Time    // since when it could be granted
	waiting  bool         // in retry wait
	reserved bool         // its grant is on its way into the log
	gone     bool         // removed; a heap drops it when it comes to the top
	back     []string     // its last attempt was handed back: by whom, how often and why, as of ReasonHandedBack
	until    command.Time // when it has waited too long, in state time; 0: never
	slot     int          // its index in the boundHeap; -1: it is not in there
	giveUp   func(*catalog.Worker) time.Duration
}

// class holds the ready tasks that the same workers can run. There are few classes, however many tasks wait, so a poll
// looks at the head of each class and never at the whole queue.
type class struct {
	extension string
	bits      int
	any       bool
	allowed   []string
	ready     readyHeap
	tasks     int // pending tasks of the class, ready or not
}

func classKey(e *catalog.Execution, extension string, bits int) string {
	key := extension + "|" + strconv.Itoa(bits)
	if !e.AnyWorker {
		key += "|" + strings.Join(e.Workers, ",")
	}
	return key
}

// runs reports whether the worker's machine can run the class's packages.
func (c *class) runs(w *catalog.Worker) bool {
	return slices.ContainsFunc(w.Extensions, func(x string) bool { return sqltype.EqualText(x, c.extension) }) &&
		(c.bits == 0 || slices.Contains(w.Bitness, c.bits))
}

// selected reports whether the executions of the class allow the worker.
func (c *class) selected(id string) bool { return c.any || slices.Contains(c.allowed, id) }

func (q *queue) enqueue(e *catalog.Execution, now time.Time) {
	attempt := 1
	if n := len(e.Attempts); n > 0 {
		attempt = e.Attempts[n-1].Number + 1
	}
	if t := q.tasks[e.ID]; t != nil {
		if t.attempt == attempt {
			return
		}
		q.dequeue(e.ID)
	}
	extension := sqltype.Fold(path.Ext(e.Package))
	bits := 0
	if extension == ".dtsx" {
		bits = 64
		if e.Use32Bit {
			bits = 32
		}
	}
	key := classKey(e, extension, bits)
	c := q.classes[key]
	if c == nil {
		c = &class{extension: extension, bits: bits, any: e.AnyWorker, allowed: e.Workers}
		q.classes[key] = c
	}
	t := &task{id: e.ID, class: c, attempt: attempt, ready: now, until: e.QueueUntil, slot: -1, giveUp: giveUp(e)}
	if n := len(e.Attempts); n > 0 {
		last := &e.Attempts[n-1]
		t.last = last.Worker
		if times := e.ReturnedInARow(); times > 0 {
			t.back = command.Arguments(cmp.Or(last.Machine, last.Worker), last.Number, times, catalog.MostReturned, last.Message)
		}
		// The wait counts from the moment when this leader learned of the failure, on its own monotonic clock.
		if wait := time.Duration(e.NotBefore - last.Ended); e.NotBefore > 0 && wait > 0 {
			t.due = now.Add(wait)
		}
	}
	q.tasks[e.ID] = t
	q.bound(t)
	c.tasks++
	if t.due.After(now) {
		t.waiting = true
		heap.Push(&q.waits, t)
		return
	}
	q.offer(t, now)
}

// offer makes the task ready. A retry comes up a second time, when it stops waiting for another worker.
func (q *queue) offer(t *task, now time.Time) {
	t.waiting, t.ready = false, now
	heap.Push(&t.class.ready, t)
	if t.last != "" {
		t.due = now.Add(preference)
		heap.Push(&q.waits, t)
	}
}

// giveUp is the lease duration of the task's next attempt: the worker's lease if another attempt may follow, else the
// worker's tolerance, because nothing can overlap with the last attempt.
func giveUp(e *catalog.Execution) func(*catalog.Worker) time.Duration {
	last := len(e.Attempts)-e.Returned >= e.RetryCount
	return func(w *catalog.Worker) time.Duration {
		if last {
			return command.Span(w.ToleranceMs)
		}
		return command.Span(w.LeaseMs)
	}
}

func (q *queue) dequeue(id int64) {
	if t := q.tasks[id]; t != nil {
		t.gone = true
		q.unbound(t)
		delete(q.tasks, id)
		t.class.tasks--
	}
}

// promote moves tasks whose wait has passed to their class, and returns when the next task is due.
func (q *queue) promote(now time.Time) (time.Time, bool) {
	for len(q.waits) > 0 {
		t := q.waits[0]
		if !t.gone && t.due.After(now) {
			return t.due, true
		}
		heap.Pop(&q.waits)
		if !t.gone && t.waiting {
			q.offer(t, now)
		}
	}
	return time.Time{}, false
}

// take reserves up to n tasks for the worker, lowest ids first.
func (q *queue) take(w *worker, n int, now time.Time) []*task {
	var taken []*task
	for len(taken) < n {
		var best *class
		var bestTask *task
		for _, c := range q.classes {
			if !c.selected(w.id) || !c.runs(w.row) {
				continue
			}
			if t := q.head(c, w, now); t != nil && (bestTask == nil || t.id < bestTask.id) {
				best, bestTask = c, t
			}
		}
		if best == nil {
			break
		}
		best.drop(bestTask)
		bestTask.reserved = true
		taken = append(taken, bestTask)
	}
	w.promised += len(taken)
	return taken
}

// head is the first ready task of the class that the worker should take, or nil.
func (q *queue) head(c *class, w *worker, now time.Time) *task {
	var skipped []*task
	var found *task
	for len(c.ready) > 0 && len(skipped) < scan {
		t := c.ready[0]
		if t.gone || t.reserved {
			heap.Pop(&c.ready)
			continue
		}
		if t.last == w.id && now.Sub(t.ready) < preference && q.another(t, w, now) {
			skipped = append(skipped, heap.Pop(&c.ready).(*task))
			continue
		}
		found = t
		break
	}
	for _, t := range skipped {
		heap.Push(&c.ready, t)
	}
	return found
}

// another reports whether some other worker could take the task now.
func (q *queue) another(t *task, not *worker, now time.Time) bool {
	for _, w := range q.workers {
		if w != not && w.free() > 0 && w.online(now) && t.class.selected(w.id) && t.class.runs(w.row) {
			return true
		}
	}
	return false
}

// drop takes the task out of the class's heap.
func (c *class) drop(t *task) {
	if i := slices.Index(c.ready, t); i >= 0 {
		heap.Remove(&c.ready, i)
	}
}

// putBack returns reserved tasks whose grant did not happen.
func (q *queue) putBack(w *worker, tasks []*task) {
	for _, t := range tasks {
		if !t.gone && t.reserved {
			t.reserved = false
			heap.Push(&t.class.ready, t)
		}
	}
	w.promised -= len(tasks)
}

// assign hands ready tasks to held polls: to the least loaded worker first, and among equals to the one that has waited
// longest.
func (q *queue) assign(now time.Time) {
	for key, c := range q.classes {
		if c.tasks == 0 {
			delete(q.classes, key)
		}
	}
	for len(q.classes) > 0 {
		var best *worker
		for _, w := range q.workers {
			if w.poll == nil || w.free() <= 0 || !q.has(w, now) {
				continue
			}
			if best == nil || w.before(best) {
				best = w
			}
		}
		if best == nil {
			return
		}
		best.poll.taken = q.take(best, 1, now)
		best.poll.end(endTaken)
		best.poll = nil
	}
}

// before orders held polls for assign.
func (w *worker) before(other *worker) bool {
	if a, b := w.held+w.promised, other.held+other.promised; a != b {
		return a < b
	}
	return w.poll.since.Before(other.poll.since)
}

// has reports whether a task is ready for the worker.
func (q *queue) has(w *worker, now time.Time) bool {
	for _, c := range q.classes {
		if c.selected(w.id) && c.runs(w.row) && q.head(c, w, now) != nil {
			return true
		}
	}
	return false
}

// readyHeap is a heap of ready tasks, the lowest id first.
type readyHeap []*task

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].id < h[j].id }
func (h readyHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *readyHeap) Push(x any)        { *h = append(*h, x.(*task)) }
func (h *readyHeap) Pop() any          { return pop((*[]*task)(h)) }

// waitHeap is a heap of tasks in retry wait, the soonest first.
type waitHeap []*task

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waitHeap) Push(x any)        { *h = append(*h, x.(*task)) }
func (h *waitHeap) Pop() any          { return pop((*[]*task)(h)) }

func pop[T any](s *[]T) T {
	old := *s
	last := old[len(old)-1]
	var zero T
	old[len(old)-1] = zero
	*s = old[:len(old)-1]
	return last
}

func attemptRef(t *task) command.AttemptRef {
	return command.AttemptRef{TaskID: t.id, Attempt: t.attempt}
}
