package worker

import (
	"context"
	"fmt"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/wire"
)

// calls are the exchanges in flight: one, and behind it perhaps an older held poll that it ends. The older one is not
// torn down from here: that would close its connection, and a new one costs more than all the rest of an exchange. Its
// answer may even bring a grant.
type calls struct {
	w        *Worker
	work     context.Context // the life of the attempts that answers begin
	life     context.Context // that of the calls
	cancel   context.CancelFunc
	sequence uint64
	acted    uint64 // the latest exchange whose answer was acted on
	flying   int
	results  chan result
}

type result struct {
	sequence uint64
	answer   wire.ExchangeAnswer
	from     guard.Instant
	err      error
}

// overtaken is how long a poll may stay unanswered once a newer one has ended it.
const overtaken = 3 * time.Second

func newCalls(w *Worker, life context.Context) *calls {
	work := life
	life, cancel := context.WithCancel(life)
	return &calls{w: w, work: work, life: life, cancel: cancel, results: make(chan result)}
}

// end waits for what is in flight.
func (c *calls) end() {
	c.cancel()
	for ; c.flying > 0; c.flying-- {
		<-c.results
	}
}

// exchange sends what the worker holds now and acts on the answer. A held poll is left behind as soon as there is news,
// for the next exchange to carry.
func (c *calls) exchange(troubled, leaving bool) error {
	w := c.w
	select {
	case <-w.wake: // what it stood for is in this exchange
	default:
	}
	running, ended := w.holdings()
	c.sequence++
	req := wire.Exchange{
		Instance: w.instance, Sequence: c.sequence, Slots: w.slots(), Running: running, Ended: ended,
	}
	// Not held after trouble; nor with a report, so that its slot is free and its answer here soon.
	if !troubled && len(ended) == 0 && !leaving {
		req.WaitMs = w.hold(len(running)).Milliseconds()
	}
	ctx, cancel := context.WithCancel(c.life)
	c.flying++
	go func() {
		before, beforeTime := guard.Now(), time.Now()
		a, sent, err := w.cfg.Masters.Exchange(ctx, w.id, req)
		cancel()
		c.results <- result{req.Sequence, a, sentAt(before, beforeTime, sent), err}
	}()
	// Who leaves with nothing left to report does not wait for masters that have no leader.
	var over <-chan time.Time
	depart := func() bool {
		leaving, now := w.leaving()
		if now {
			cancel()
		} else if leaving {
			over = time.After(w.patience())
		}
		return now
	}
	if leaving && depart() {
		return nil
	}
	for {
		select {
		case r := <-c.results:
			c.flying--
			if r.err == nil {
				c.act(r)
			}
			if r.sequence != req.Sequence {
				continue // an overtaken one; how it failed does not matter
			}
			if r.err != nil {
				return fmt.Errorf("exchange: %w", r.err)
			}
			if req.WaitMs == 0 && len(r.answer.Settled)+len(r.answer.Fenced)+len(r.answer.Grants) == 0 {
				w.wait(c.life, firstPause, nil) // nothing came of it: the next one need not come at once
			}
			return nil
		case <-w.wake:
			if req.WaitMs > 0 {
				time.AfterFunc(overtaken, cancel)
				return nil
			}
			if depart() {
				return nil
			}
		case <-over:
			if depart() {
				return nil
			}
		}
	}
}

// act does what an answer says. An attempt that a late answer brings may have run, ended and been reported since, on the
// word of a newer one: it is taken only from the newest, and if the state still gives it, the next one brings it again.
func (c *calls) act(r result) {
	if r.sequence < c.acted {
		r.answer.Grants = nil
	}
	c.acted = max(c.acted, r.sequence)
	c.w.act(c.work, r.answer, r.from)
}

// slots is the most attempts that the worker will hold now.
func (w *Worker) slots() int {
	killed := w.killed()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining || killed {
		return 0
	}
	return w.cfg.MaxTaskCount
}
