package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// pulse is what others may know of the worker's loop without waiting for it.
type pulse struct {
	turned atomic.Int64 // when the exchange loop last turned, Unix nanoseconds
	heard  atomic.Int64 // when a master last gave a good answer; 0: never
}

func (p *pulse) turn() { p.turned.Store(time.Now().UnixNano()) }
func (p *pulse) hear() { p.heard.Store(time.Now().UnixNano()) }

// longestTurn is far more than one turn of the exchange loop can take: a poll that is held at each of many masters, and
// the pause behind it.
const longestTurn = 5 * time.Minute

// Heard is when a master last gave this worker a good answer; the zero time when none has yet.
func (w *Worker) Heard() time.Time {
	if n := w.pulse.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Waiting says why this worker does not work with the masters now, "" when it does.
func (w *Worker) Waiting() string {
	switch heard := w.Heard(); {
	case heard.IsZero():
		return "no master has taken this worker's registration yet"
	case time.Since(heard) > 2*w.cfg.AgentHeartbeat:
		return "no master has answered since " + heard.UTC().Format(time.RFC3339)
	}
	return ""
}

// Alive reports an error when the worker's own loop stands still; masters that do not answer are no such error.
func (w *Worker) Alive(ctx context.Context) error {
	free := make(chan struct{})
	go func() {
		w.snapshot()
		close(free)
	}()
	select {
	case <-free:
	case <-ctx.Done():
		return fmt.Errorf("the worker's attempts are locked: %w", ctx.Err())
	}
	if n := w.pulse.turned.Load(); n != 0 && time.Since(time.Unix(0, n)) > longestTurn {
		return fmt.Errorf("the worker's exchange loop has stood still since %s", time.Unix(0, n).UTC().Format(time.RFC3339))
	}
	return nil
}

// Leave makes Run end soon and leaves what runs to its guards: the next worker process that is started on the same
// directory within their leases adopts it. It may be called at any time.
func (w *Worker) Leave() {
	w.leave.Do(func() { close(w.left) })
}
