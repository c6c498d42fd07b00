package dispatch

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// board is the memory of one leadership. Its methods are called with the dispatcher's lock held.
type board struct {
	now     time.Time // when this leadership was established
	tasks   map[int64]*task
	classes map[string]*class
	waits   waits
	bounds  bounds
	workers map[string]*worker
	byID    []*worker // the workers, sorted; nil: see sorted
	leases  map[command.AttemptRef]*lease
	due     deadlines
}

func newBoard(now time.Time) *board {
	return &board{
		now:     now,
		tasks:   map[int64]*task{},
		classes: map[string]*class{},
		workers: map[string]*worker{},
		leases:  map[command.AttemptRef]*lease{},
	}
}

// worker is what the leader remembers of one worker.
type worker struct {
	id       string
	row      *catalog.Worker // nil until the state has it
	contact  time.Time       // last heard from, by this leader; zero: not yet
	instance string          // whose exchanges sequence counts
	sequence uint64
	latest   *exchange // only the newest one is held
	slots    int       // the most attempts that it said it will hold
	held     int       // attempts that state gives to it
	promised int       // grants on their way into the log
	poll     *poll
	strays   map[command.AttemptRef]bool // named as running, not its own, and told of
}

func (b *board) worker(id string) *worker {
	w := b.workers[id]
	if w == nil {
		w = &worker{id: id}
		b.workers[id], b.byID = w, nil
	}
	return w
}

// forget removes a worker.
func (b *board) forget(id string) {
	delete(b.workers, id)
	b.byID = nil
}

// sorted returns the workers by id; the slice is not to be changed. It is asked for with each reason, and workers come and
// go seldom: it is sorted once in between.
func (b *board) sorted() []*worker {
	if b.byID == nil {
		b.byID = slices.SortedFunc(maps.Values(b.workers), func(x, y *worker) int { return cmp.Compare(x.id, y.id) })
	}
	return b.byID
}

// online reports whether the worker was heard from within twice its agent heartbeat. A leader that has not heard it
// yet goes by the contact that the last leader left in the state.
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

// free is how many more attempts the worker may be given: by its own word and by its setting, counting what state
// gives to it.
func (w *worker) free() int {
	if w.row == nil || !w.row.Enabled {
		return 0
	}
	return min(w.slots, w.row.MaxTaskCount) - w.held - w.promised
}

// place brings one execution's task and lease in line with the state and returns the workers that must hear of it.
func (b *board) place(e *catalog.Execution, now time.Time) (tell []string) {
	if e.Status == catalog.Pending {
		b.enqueue(e, now)
	} else {
		b.dequeue(e.ID)
	}
	last := len(e.Attempts) - 1
	for i := range e.Attempts {
		a := &e.Attempts[i]
		ref := command.AttemptRef{TaskID: e.ID, Attempt: a.Number}
		if i == last && a.Held() {
			l := b.leases[ref]
			if l == nil {
				b.grantLease(ref, a, now)
				tell = append(tell, a.Worker)
			} else {
				if l.instance != a.Instance {
					l.instance = a.Instance // adopted by the worker's next process
				}
				if e.Status == catalog.Stopping && !l.stopping {
					tell = append(tell, a.Worker)
				}
			}
			b.leases[ref].stopping = e.Status == catalog.Stopping
			continue
		}
		b.dropLease(ref)
	}
	return tell
}

// remove forgets an execution that the state no longer has.
func (b *board) remove(id int64) {
	b.dequeue(id)
	for ref := range b.leases {
		if ref.TaskID == id {
			b.dropLease(ref)
		}
	}
}
