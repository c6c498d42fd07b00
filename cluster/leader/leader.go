package leader

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Routine is something that only a leader does, for as long as it leads.
type Routine struct {
	Name string
	// Run ends when ctx does. Returning nil earlier means that the routine is done for this generation; an error makes the
	// runner log it and start the routine again after a pause.
	Run func(ctx context.Context) error
}

// Runner runs generations of leadership. The zero value of every field but Establish is usable.
type Runner struct {
	// Establish prepares a generation: after it returned nil the generation is ready. It ends when ctx does. What it
	// starts with Scope.Go lives until the generation ends.
	Establish func(ctx context.Context, s *Scope) error
	// Ready is called once Establish succeeded, Unready at once when the generation ends, even if it never became
	// ready; never at the same time, Unready last. Neither may block.
	Ready   func(s *Scope)
	Unready func(s *Scope)
	// Routines start after Ready.
	Routines []Routine
	// Drop is called when every goroutine of the generation, or of a failed attempt to establish it, has ended.
	Drop func()
	// Abandon is called after a failed attempt: it should hand leadership over. If the generation goes on all the same,
	// Establish is tried again.
	HandOver func(ctx context.Context, err error)
	Logger   *slog.Logger

	// Retry is the first pause before a failed Establish or routine is run again; it doubles up to 30 times itself.
	// Default 1 s.
	Retry time.Duration
}

// Run turns notifications into generations until ctx ends or notify is closed, then ends the last generation and
// returns once everything it started has ended. A true always begins a new generation, also when no false came before.
func (r Runner) Run(ctx context.Context, notify <-chan bool) error {
	if r.Establish == nil {
		return errors.New("leader: Runner.Establish is nil: it must prepare a generation")
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	if r.Retry <= 0 {
		r.Retry = time.Second
	}

	d := &drain{changed: make(chan struct{}, 1)}
	stop := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		d.run(notify, stop)
	}()
	// The drain outlives the last generation: Raft may notify while that one is being ended.
	defer func() {
		close(stop)
		<-drained
	}()

	var current *generation
	for {
		select {
		case <-ctx.Done():
			current.end(r)
			return nil
		case <-drained:
			current.end(r)
			return nil
		case <-d.changed:
		}
		number, leading := d.state()
		if current != nil && (!leading || current.scope.Generation != number) {
			current.end(r)
			current = nil
		}
		if leading && current == nil {
			current = begin(ctx, r, number)
		}
	}
}

// drain remembers the newest notification. It does nothing else, so that Raft never waits for more than a lock.
type drain struct {
	mu         sync.Mutex
	generation uint64
	leading    bool
	changed    chan struct{}
}

func (d *drain) run(notify <-chan bool, stop <-chan struct{}) {
	for {
		select {
		case leading, ok := <-notify:
			if !ok {
				return
			}
			d.mu.Lock()
			d.leading = leading
			if leading {
				d.generation++
			}
			d.mu.Unlock()
			select {
			case d.changed <- struct{}{}:
			default:
			}
		case <-stop:
			return
		}
	}
}

func (d *drain) state() (generation uint64, leading bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation, d.leading
}
