package dispatch

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// queue is the memory of one leadership: tasks, workers and leases. Its methods are called with the dispatcher's lock
// held.
type queue struct {
	now     time.Time // when this leadership was established
	tasks   map[int64]*task
	classes map[string]*class
	waits   waitHeap
	bounds  boundHeap
	workers map[string]*worker
	byID    []*worker // the workers, sorted; nil: see sorted
	leases  map[command.AttemptRef]*lease
	due     leaseHeap
}

func newQueue(now time.Time) *queue {
	return &queue{
		now:     now,
		tasks:   map[int64]*task{},
		classes: map[string]*class{},
		workers: map[string]*worker{},
		leases:  map[command.AttemptRef]*lease{},
	}
}

// worker is what the leader remembers of one worker.
type worker struct {
	id          string
	row         *catalog.Worker // nil until the state has it
	contact     time.Time       // last heard from, by this leader; zero: not yet
	incarnation string          // whose exchanges sequence counts
	sequence    uint64
	latest      *exchange // only the newest one is held
	slots       int       // how many attempts it said that it will hold at most
	held        int       // attempts that the state gives to it
	promised    int       // grants on their way into the log
	poll        *poll
	orphans     map[command.AttemptRef]bool // attempts that it runs, that are not its own, and that were reported
}

func (q *queue) worker(id string) *worker {
	w := q.workers[id]
	if w == nil {
		w = &worker{id: id}
		q.workers[id], q.byID = w, nil
	}
	return w
}

// forget removes a worker.
func (q *queue) forget(id string) {
	delete(q.workers, id)
	q.byID = nil
}

// sorted returns the workers by id. The caller must not change the slice: it is kept until a worker comes or goes,
// which is seldom, because each reason asks for it.
func (q *queue) sorted() []*worker {
	if q.byID == nil {
		q.byID = slices.SortedFunc(maps.Values(q.workers), func(x, y *worker) int { return cmp.Compare(x.id, y.id) })
	}
	return q.byID
}

// online reports whether the worker was heard from within twice its agent heartbeat. A leader that has not heard from
// it yet uses the contact that the previous leader wrote to the state.
func (w *worker) online(now time.Time) bool {
	if w.row == nil {
		return false
	}
	limit := 2 * command.Span(w.row.AgentHeartbeatMs)
	last := w.contact
	if last.IsZero() {
		last = w.row.LastOnline.Time()
	}
	return now.Sub(last) <= limit
}

// free is how many more attempts the worker may be given: the lower of what it asked for and of its setting, less what
// it holds and what is on its way to it.
func (w *worker) free() int {
	if w.row == nil || !w.row.Enabled {
		return 0
	}
	return min(w.slots, w.row.MaxTaskCount) - w.held - w.promised
}

// place brings one execution's task and lease in line with the state and returns the workers that must hear of it.
func (q *queue) place(e *catalog.Execution, now time.Time) (affected []string) {
	if e.Status == catalog.Pending {
		q.enqueue(e, now)
	} else {
		q.dequeue(e.ID)
	}
	last := len(e.Attempts) - 1
	for i := range e.Attempts {
		a := &e.Attempts[i]
		ref := command.AttemptRef{TaskID: e.ID, Attempt: a.Number}
		if i == last && a.Held() {
			l := q.leases[ref]
			if l == nil {
				q.grantLease(ref, a, now)
				affected = append(affected, a.Worker)
			} else {
				if l.incarnation != a.Incarnation {
					l.incarnation = a.Incarnation // the worker's next process has adopted it
				}
				if e.Status == catalog.Stopping && !l.stopping {
					affected = append(affected, a.Worker)
				}
			}
			q.leases[ref].stopping = e.Status == catalog.Stopping
			continue
		}
		q.dropLease(ref)
	}
	return affected
}

// remove forgets an execution that the state no longer has.
func (q *queue) remove(id int64) {
	q.dequeue(id)
	for ref := range q.leases {
		if ref.TaskID == id {
			q.dropLease(ref)
		}
	}
}
