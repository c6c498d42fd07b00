package dispatch

import (
	"cmp"
	"container/heap"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// preference is how long a retry waits for another worker than the one that its last attempt ran on.
const preference = 5 * time.Second

// scan bounds how many tasks of a class are looked at for one that prefers no other worker.
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
	reserved bool         // on its way into the log
	gone     bool         // removed; heaps drop it when they meet it
	back     string       // its last attempt was handed back: by whom, how often and why
	until    command.Time // when it has waited too long, in state time; 0: never
	slot     int          // its place in the heap of bounds; -1: none
	giveUp   func(*catalog.Worker) time.Duration
}

// class is the ready tasks that the same workers can run. There are few classes, however many tasks wait, so that a
// poll looks at the head of each and never at the whole queue.
type class struct {
	extension string
	bits      int
	any       bool
	allowed   []string
	ready     byID
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
	return slices.ContainsFunc(w.Extensions, func(x string) bool { return strings.EqualFold(x, c.extension) }) &&
		(c.bits == 0 || slices.Contains(w.Bitness, c.bits))
}

// selected reports whether the executions of the class allow the worker.
func (c *class) selected(id string) bool { return c.any || slices.Contains(c.allowed, id) }

func (b *board) enqueue(e *catalog.Execution, now time.Time) {
	attempt := 1
	if n := len(e.Attempts); n > 0 {
		attempt = e.Attempts[n-1].Number + 1
	}
	if t := b.tasks[e.ID]; t != nil {
		if t.attempt == attempt {
			return
		}
		b.dequeue(e.ID)
	}
	extension := strings.ToLower(path.Ext(e.Package))
	bits := 0
	if extension == ".dtsx" {
		bits = 64
		if e.Use32Bit {
			bits = 32
		}
	}
	key := classKey(e, extension, bits)
	c := b.classes[key]
	if c == nil {
		c = &class{extension: extension, bits: bits, any: e.AnyWorker, allowed: e.Workers}
		b.classes[key] = c
	}
	t := &task{id: e.ID, class: c, attempt: attempt, ready: now, until: e.QueueUntil, slot: -1, giveUp: giveUp(e)}
	if n := len(e.Attempts); n > 0 {
		last := &e.Attempts[n-1]
		t.last = last.Worker
		if times := e.ReturnedInARow(); times > 0 {
			t.back = fmt.Sprintf("%s handed attempt %d back (%d in a row, the attempt that makes it %d fails): %.300s",
				cmp.Or(last.Machine, last.Worker), last.Number, times, catalog.MostReturned, last.Message)
		}
		// The wait counts from when this leader learned of the failure, on its own monotonic clock.
		if wait := time.Duration(e.NotBefore - last.Ended); e.NotBefore > 0 && wait > 0 {
			t.due = now.Add(wait)
		}
	}
	b.tasks[e.ID] = t
	b.bound(t)
	c.tasks++
	if t.due.After(now) {
		t.waiting = true
		heap.Push(&b.waits, t)
		return
	}
	b.offer(t, now)
}

// offer makes the task ready. A retry comes up once more when it stops waiting for another worker.
func (b *board) offer(t *task, now time.Time) {
	t.waiting, t.ready = false, now
	heap.Push(&t.class.ready, t)
	if t.last != "" {
		t.due = now.Add(preference)
		heap.Push(&b.waits, t)
	}
}

// giveUp is the term of the task's next attempt: the lease when another may follow it, else the worker's tolerance,
// since nothing can overlap with the last one.
func giveUp(e *catalog.Execution) func(*catalog.Worker) time.Duration {
	last := len(e.Attempts)-e.Returned >= e.RetryCount
	return func(w *catalog.Worker) time.Duration {
		if last {
			return command.Span(w.ToleranceMs)
		}
		return command.Span(w.LeaseMs)
	}
}

func (b *board) dequeue(id int64) {
	if t := b.tasks[id]; t != nil {
		t.gone = true
		b.unbound(t)
		delete(b.tasks, id)
		t.class.tasks--
	}
}

// promote moves tasks whose wait has passed to their class and returns when the next one is due.
func (b *board) promote(now time.Time) (time.Time, bool) {
	for len(b.waits) > 0 {
		t := b.waits[0]
		if !t.gone && t.due.After(now) {
			return t.due, true
		}
		heap.Pop(&b.waits)
		if !t.gone && t.waiting {
			b.offer(t, now)
		}
	}
	return time.Time{}, false
}

// take reserves up to n tasks for the worker, lowest ids first.
func (b *board) take(w *worker, n int, now time.Time) []*task {
	var taken []*task
	for len(taken) < n {
		var best *class
		var bestTask *task
		for _, c := range b.classes {
			if !c.selected(w.id) || !c.runs(w.row) {
				continue
			}
			if t := b.head(c, w, now); t != nil && (bestTask == nil || t.id < bestTask.id) {
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

// head is the first ready task of the class that the worker should take. Classes without tasks are forgotten.
func (b *board) head(c *class, w *worker, now time.Time) *task {
	var skipped []*task
	var found *task
	for len(c.ready) > 0 && len(skipped) < scan {
		t := c.ready[0]
		if t.gone || t.reserved {
			heap.Pop(&c.ready)
			continue
		}
		if t.last == w.id && now.Sub(t.ready) < preference && b.another(t, w, now) {
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
func (b *board) another(t *task, not *worker, now time.Time) bool {
	for _, w := range b.workers {
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
func (b *board) putBack(w *worker, tasks []*task) {
	for _, t := range tasks {
		if !t.gone && t.reserved {
			t.reserved = false
			heap.Push(&t.class.ready, t)
		}
	}
	w.promised -= len(tasks)
}

// assign hands ready tasks to held polls: the least loaded worker first, then the one that waits longest.
func (b *board) assign(now time.Time) {
	for key, c := range b.classes {
		if c.tasks == 0 {
			delete(b.classes, key)
		}
	}
	for len(b.classes) > 0 {
		var best *worker
		for _, w := range b.workers {
			if w.poll == nil || w.free() <= 0 || !b.has(w, now) {
				continue
			}
			if best == nil || w.before(best) {
				best = w
			}
		}
		if best == nil {
			return
		}
		best.poll.taken = b.take(best, 1, now)
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
func (b *board) has(w *worker, now time.Time) bool {
	for _, c := range b.classes {
		if c.selected(w.id) && c.runs(w.row) && b.head(c, w, now) != nil {
			return true
		}
	}
	return false
}

// byID is a heap of tasks, lowest id first.
type byID []*task

func (h byID) Len() int           { return len(h) }
func (h byID) Less(i, j int) bool { return h[i].id < h[j].id }
func (h byID) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byID) Push(x any)        { *h = append(*h, x.(*task)) }
func (h *byID) Pop() any          { return pop((*[]*task)(h)) }

// waits is a heap of tasks in retry wait, soonest first.
type waits []*task

func (h waits) Len() int           { return len(h) }
func (h waits) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waits) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waits) Push(x any)        { *h = append(*h, x.(*task)) }
func (h *waits) Pop() any          { return pop((*[]*task)(h)) }

func pop[T any](s *[]T) T {
	old := *s
	last := old[len(old)-1]
	var zero T
	old[len(old)-1] = zero
	*s = old[:len(old)-1]
	return last
}

func ref(t *task) command.AttemptRef { return command.AttemptRef{TaskID: t.id, Attempt: t.attempt} }
