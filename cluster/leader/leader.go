package leader

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Routine is a loop that only a leader runs, for as long as it leads.
type Routine struct {
	Name string
	// Run ends when ctx does. If it returns nil earlier, the routine is done for this generation. If it returns an error,
	// the runner logs it and starts the routine again after a pause.
	Run func(ctx context.Context) error
}

// Runner runs generations of leadership. The zero value of every field but Establish is usable.
type Runner struct {
	// Establish prepares a generation: after it has returned nil the generation is ready. It ends when ctx does. What it
	// starts with Scope.Go runs until the generation ends.
	Establish func(ctx context.Context, s *Scope) error
	// Ready is called once Establish has succeeded. Unready is called as soon as the generation ends, even if it never
	// became ready. They are never called at the same time, and Unready is called last. Neither may block.
	Ready   func(s *Scope)
	Unready func(s *Scope)
	// Routines start after Ready.
	Routines []Routine
	// Drop is called when every goroutine of the generation, or of a failed attempt to establish it, has ended.
	Drop func()
	// HandOver is called after a failed attempt, and should hand leadership over. If the generation goes on nevertheless,
	// Establish is tried again.
	HandOver func(ctx context.Context, err error)
	Logger   *slog.Logger

	// Retry is the first pause before a failed Establish or routine is run again. The pause doubles with each failure, up
	// to 30 times Retry. The default is 1 s.
	Retry time.Duration
}

// Run turns notifications into generations until ctx ends or notify is closed. Then it ends the last generation, and
// returns once everything that it started has ended. A true always begins a new generation, even if no false came
// before.
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
	// The drain outlives the last generation, because Raft may notify while that generation is being ended.
	defer func() {
		close(stop)
		<-drained
	}()

	var current *generation
	for {
		select {
		case <-ctx.Done():
			current.end(ctx, r)
			return nil
		case <-drained:
			current.end(ctx, r)
			return nil
		case <-d.changed:
		}
		number, leading := d.state()
		if current != nil && (!leading || current.scope.Generation != number) {
			current.end(ctx, r)
			current = nil
		}
		if leading && current == nil {
			current = begin(ctx, r, number)
		}
	}
}

// drain remembers the newest notification and does nothing else, so that Raft never waits for more than a lock.
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
