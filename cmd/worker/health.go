package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// heartbeat holds what can be read of the exchange loop without waiting for it.
type heartbeat struct {
	turn   atomic.Int64 // when the exchange loop last began a turn, Unix nanoseconds; 0: never
	answer atomic.Int64 // when a master last gave a good answer; 0: never
}

func (h *heartbeat) beginTurn() { h.turn.Store(time.Now().UnixNano()) }
func (h *heartbeat) answered()  { h.answer.Store(time.Now().UnixNano()) }

// maxTurn is far longer than one turn of the exchange loop can take: a poll that each of many masters holds, and the
// pause after it.
const maxTurn = 5 * time.Minute

// lastAnswer returns when a master last gave this worker a good answer, and the zero time if none has yet.
func (w *Worker) lastAnswer() time.Time {
	if n := w.heartbeat.answer.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Waiting says why this worker does not work with the masters now, and returns "" when it does.
func (w *Worker) Waiting() string {
	switch last := w.lastAnswer(); {
	case last.IsZero():
		return "no master has taken this worker's registration yet"
	case time.Since(last) > 2*w.cfg.AgentHeartbeat:
		return "no master has answered since " + last.UTC().Format(time.RFC3339)
	}
	return ""
}

// Alive returns an error if the worker's own loop is stuck. Masters that do not answer are no such error.
func (w *Worker) Alive(ctx context.Context) error {
	unlocked := make(chan struct{})
	go func() {
		w.heldAttempts()
		close(unlocked)
	}()
	select {
	case <-unlocked:
	case <-ctx.Done():
		return fmt.Errorf("the worker's attempts are locked: %w", ctx.Err())
	}
	if n := w.heartbeat.turn.Load(); n != 0 && time.Since(time.Unix(0, n)) > maxTurn {
		return fmt.Errorf("the worker's exchange loop has stood still since %s", time.Unix(0, n).UTC().Format(time.RFC3339))
	}
	return nil
}

// Leave makes Run end soon and leaves running packages to their guards. The next worker process on the same data
// directory adopts them if it starts before their leases end. Leave may be called at any time.
func (w *Worker) Leave() {
	w.leave.Do(func() { close(w.leaveAsked) })
}
