package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// State is the replicated state. View takes no lock that is held while Touch is called.
type State interface{ View() *catalog.Reader }

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
	State      State
	Node       Node
	Stray      func(worker string, ref command.AttemptRef) // told once of a running attempt that is not its worker's; nil: nobody
	Election   time.Duration                               // election time-out of the masters, for the check of a worker's lease
	Now        func() time.Time                            // the clock that commands are stamped with; nil: time.Now
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
	board *board // nil while not leading
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
	d := &Dispatcher{cfg: cfg, log: cfg.Logger.With("component", "dispatch"), wake: make(chan struct{}, 1)}
	d.metrics = newMetrics(cfg.Registerer)
	return d
}

// Establish rebuilds the queue and gives every lease its full term. Call it behind a barrier of the new leadership.
func (d *Dispatcher) Establish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	view := d.cfg.State.View() // what is applied from now on waits in Touch and comes on top
	b := newBoard(time.Now())
	for w := range view.Workers() {
		b.worker(w.ID).row = w
	}
	for e := range view.Live() {
		b.place(e, b.now)
	}
	d.board = b
	d.log.Info("queue rebuilt", "pending", len(b.tasks), "leases", len(b.leases), "workers", len(b.workers))
}

// Drop forgets the queue and ends every held poll with command.ErrNotLeader.
func (d *Dispatcher) Drop() {
	d.mu.Lock()
	b := d.board
	d.board = nil
	if b != nil {
		for _, w := range b.workers {
			if w.poll != nil {
				w.poll.end(endLost)
				w.poll = nil
			}
		}
		for _, l := range b.leases {
			l.settle()
		}
	}
	d.mu.Unlock()
}

// Touch re-reads executions and workers that a command has changed. The state machine calls it after each entry; a
// node that does not lead ignores it.
func (d *Dispatcher) Touch(executions []int64, workers []string) {
	if len(executions) == 0 && len(workers) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return
	}
	view := d.cfg.State.View()
	now := time.Now()
	d.refresh(view, executions, workers, now)
}

// refresh brings the board up to the view and hands out what became ready. The caller holds the lock and took the view
// under it: a board that followed an older view than its own would forget grants and renew what is lost.
func (d *Dispatcher) refresh(view *catalog.Reader, executions []int64, workers []string, now time.Time) {
	b := d.board
	for _, id := range workers {
		row, ok := view.Worker(id)
		w := b.worker(id)
		// Enabled, disabled, deleted, registered anew: the worker is told at once. A heartbeat changes the row too.
		if told := ok && w.row != nil && w.row.Enabled == row.Enabled && w.row.Instance == row.Instance; !told && w.poll != nil {
			w.poll.end(endChanged)
			w.poll = nil
		}
		w.row = row
		if !ok {
			b.forget(id)
		}
	}
	for _, id := range executions {
		e, ok := view.Execution(id)
		if !ok {
			b.remove(id)
			continue
		}
		for _, worker := range b.place(e, now) {
			// A stop, or a grant that this poll does not know, must not wait for the poll's own end.
			if w := b.workers[worker]; w != nil && w.poll != nil {
				w.poll.end(endChanged)
				w.poll = nil
			}
		}
	}
	b.assign(now)
	d.alarm()
}

// alarm tells Run and the expiry loop that the next due moment may have changed.
func (d *Dispatcher) alarm() {
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
		if d.board != nil {
			now := time.Now()
			if due, ok := d.board.promote(now); ok {
				next = max(time.Millisecond, due.Sub(now))
			}
			d.board.assign(now)
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

// Contacts are the last contacts of workers that were heard from since the given moment, for the heartbeat.
func (d *Dispatcher) Contacts(since time.Time) []command.WorkerBeat {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return nil
	}
	var beats []command.WorkerBeat
	for _, w := range d.board.sorted() {
		if w.contact.After(since) {
			beats = append(beats, command.WorkerBeat{ID: w.id, LastOnline: command.At(w.contact)})
		}
	}
	return beats
}
