package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// State is the replicated state. Reader takes no lock that is held while Touch is called.
type State interface{ Reader() *catalog.Reader }

// Node proposes commands and proves leadership.
type Node interface {
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
	// Read returns nil once leadership is proved for a moment after the call.
	Read(ctx context.Context) error
	// Proved is the newest moment for which leadership is proved.
	Proved() time.Time
}

// Config is what a Dispatcher needs.
type Config struct {
	State State
	Node  Node
	// Orphan is called once for each attempt that a worker runs although it is not its own any more. It may be nil.
	Orphan     func(worker string, ref command.AttemptRef)
	Election   time.Duration    // the masters' election time-out, against which a worker's lease is checked
	Now        func() time.Time // the clock that commands are stamped with; nil: time.Now
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Dispatcher is the queue and the leases of this node while it leads.
type Dispatcher struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // capacity 1: the next due moment may have changed

	mu    sync.Mutex
	queue *queue // nil while not leading
}

// New makes a Dispatcher that does not lead. Until Establish, and after Drop, its methods fail with
// command.ErrNotLeader.
func New(cfg Config) *Dispatcher {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Dispatcher{
		cfg: cfg, log: cfg.Logger.With(slog.String(logkey.Component, "dispatch")), wake: make(chan struct{}, 1),
	}
	d.metrics = newMetrics(cfg.Registerer)
	return d
}

// Establish rebuilds the queue and gives every lease its full duration. It must be called behind a barrier of the new
// leadership.
func (d *Dispatcher) Establish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	reader := d.cfg.State.Reader() // entries applied from now on wait in Touch and are added after this
	q := newQueue(time.Now())
	for w := range reader.Workers() {
		q.worker(w.ID).row = w
	}
	for e := range reader.Live() {
		q.place(e, q.now)
	}
	d.queue = q
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "queue rebuilt", slog.Int(logkey.Pending, len(q.tasks)),
		slog.Int(logkey.Leases, len(q.leases)), slog.Int(logkey.Workers, len(q.workers)))
}

// Drop forgets the queue and ends every held poll with command.ErrNotLeader.
func (d *Dispatcher) Drop() {
	d.mu.Lock()
	q := d.queue
	d.queue = nil
	if q != nil {
		for _, w := range q.workers {
			if w.poll != nil {
				w.poll.end(endLost)
				w.poll = nil
			}
		}
		for _, l := range q.leases {
			l.settle()
		}
	}
	d.mu.Unlock()
}

// Touch reads executions and workers anew that a command has changed. The state machine calls it after each entry. A
// node that does not lead ignores the call.
func (d *Dispatcher) Touch(executions []int64, workers []string) {
	if len(executions) == 0 && len(workers) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return
	}
	reader := d.cfg.State.Reader()
	now := time.Now()
	d.refresh(reader, executions, workers, now)
}

// refresh brings the queue in line with the state and hands out the tasks that became ready. The caller holds the lock
// and took the reader under it: a queue that went back to an older state would forget grants and renew lost attempts.
func (d *Dispatcher) refresh(reader *catalog.Reader, executions []int64, workers []string, now time.Time) {
	q := d.queue
	for _, id := range workers {
		row, ok := reader.Worker(id)
		w := q.worker(id)
		// A worker that was enabled, disabled, deleted or registered anew hears of it at once. A heartbeat changes the
		// row too, and is no news to the worker.
		same := ok && w.row != nil && w.row.Enabled == row.Enabled && w.row.Incarnation == row.Incarnation
		if !same && w.poll != nil {
			w.poll.end(endChanged)
			w.poll = nil
		}
		w.row = row
		if !ok {
			q.forget(id)
		}
	}
	for _, id := range executions {
		e, ok := reader.Execution(id)
		if !ok {
			q.remove(id)
			continue
		}
		for _, worker := range q.place(e, now) {
			// A stop, or a grant that this poll does not know of, must not wait until the poll ends by itself.
			if w := q.workers[worker]; w != nil && w.poll != nil {
				w.poll.end(endChanged)
				w.poll = nil
			}
		}
	}
	q.assign(now)
	d.notify()
}

// notify makes Run look again, because the next due moment may have changed.
func (d *Dispatcher) notify() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run hands out tasks whose retry wait has passed. It returns when ctx ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := time.Hour
		d.mu.Lock()
		if d.queue != nil {
			now := time.Now()
			if due, ok := d.queue.promote(now); ok {
				next = max(time.Millisecond, due.Sub(now))
			}
			d.queue.assign(now)
		}
		d.mu.Unlock()
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// Contacts returns the last contact of each worker that was heard from since the given moment, for the heartbeat.
func (d *Dispatcher) Contacts(since time.Time) []command.WorkerBeat {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return nil
	}
	var beats []command.WorkerBeat
	for _, w := range d.queue.sorted() {
		if w.contact.After(since) {
			beats = append(beats, command.WorkerBeat{ID: w.id, LastOnline: command.At(w.contact)})
		}
	}
	return beats
}
