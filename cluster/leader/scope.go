package leader

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"scaleout/fsm/logkey"
)

// Scope is one generation of leadership, or one attempt to establish it.
type Scope struct {
	// Generation counts from 1 in each Run.
	Generation uint64

	ctx context.Context
	log *slog.Logger

	mu      sync.Mutex
	running map[string]int
	wg      sync.WaitGroup
}

func newScope(ctx context.Context, number uint64, log *slog.Logger) *Scope {
	return &Scope{Generation: number, ctx: ctx, log: log, running: make(map[string]int)}
}

// Go runs f until the generation ends. The generation has not ended before f has returned. Go may be called from
// Establish and from any function that Go runs.
func (s *Scope) Go(name string, f func(ctx context.Context)) {
	s.mu.Lock()
	s.running[name]++
	s.mu.Unlock()
	s.wg.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.running[name]--; s.running[name] == 0 {
				delete(s.running, name)
			}
		}()
		f(s.ctx)
	})
}

// wait returns when everything that Go started has ended. It logs what takes long, because a routine that does not end
// keeps this node from ever leading again.
func (s *Scope) wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.wg.Wait()
	}()
	slow := time.NewTicker(10 * time.Second)
	defer slow.Stop()
	for {
		select {
		case <-ended:
			return
		case <-slow.C:
			s.mu.Lock()
			names := slices.Sorted(maps.Keys(s.running))
			s.mu.Unlock()
			s.log.LogAttrs(ctx, slog.LevelWarn, "leadership ended, still waiting for its routines",
				slog.Uint64(logkey.Generation, s.Generation), slog.Any(logkey.Routines, names))
		}
	}
}

// generation runs one attempt to establish after the other, and after a successful one the routines.
type generation struct {
	scope  *Scope // the generation's identity for Ready and Unready
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	ended bool
}

func begin(parent context.Context, r Runner, number uint64) *generation {
	ctx, cancel := context.WithCancel(parent)
	g := &generation{scope: newScope(ctx, number, r.Logger), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		g.run(ctx, r)
	}()
	return g
}

// end ends a generation: not ready, cancel, wait for every goroutine, drop memory. A nil generation has ended already.
func (g *generation) end(ctx context.Context, r Runner) {
	if g == nil {
		return
	}
	started := time.Now()
	g.mu.Lock()
	g.ended = true
	if r.Unready != nil {
		r.Unready(g.scope)
	}
	g.mu.Unlock()
	g.cancel()
	<-g.done
	r.Logger.LogAttrs(ctx, slog.LevelInfo, "leadership ended",
		slog.Uint64(logkey.Generation, g.scope.Generation), slog.Duration(logkey.Took, time.Since(started)))
}

func (g *generation) run(ctx context.Context, r Runner) {
	pause := r.Retry
	for ctx.Err() == nil {
		attempt, cancel := context.WithCancel(ctx)
		s := g.scope
		s.ctx = attempt
		err := r.Establish(attempt, s)
		if err == nil && g.ready(r) {
			for _, d := range r.Routines {
				s.Go(d.Name, func(ctx context.Context) { supervise(ctx, r, d) })
			}
			<-ctx.Done()
		}
		cancel()
		s.wait(ctx)
		if r.Drop != nil {
			r.Drop()
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		r.Logger.LogAttrs(ctx, slog.LevelError, "leadership could not be established",
			slog.Uint64(logkey.Generation, s.Generation), slog.Any(logkey.Err, err))
		if r.HandOver != nil {
			r.HandOver(ctx, err)
		}
		pause = sleep(ctx, pause, 30*r.Retry)
	}
}

// ready publishes the generation unless it has ended meanwhile. The lock makes sure that Ready is not called after
// Unready.
func (g *generation) ready(r Runner) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	if r.Ready != nil {
		r.Ready(g.scope)
	}
	return true
}

func supervise(ctx context.Context, r Runner, d Routine) {
	pause := r.Retry
	for {
		started := time.Now()
		err := d.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(started) > 30*r.Retry {
			pause = r.Retry
		}
		r.Logger.LogAttrs(ctx, slog.LevelError, "a leader routine failed and will run again",
			slog.String(logkey.Routine, d.Name), slog.Any(logkey.Err, err), slog.Duration(logkey.RetryIn, pause))
		pause = sleep(ctx, pause, 30*r.Retry)
		if ctx.Err() != nil {
			return
		}
	}
}

// sleep waits for d or the end of ctx and returns the next, longer pause.
func sleep(ctx context.Context, d, limit time.Duration) time.Duration {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return min(2*d, limit)
}
