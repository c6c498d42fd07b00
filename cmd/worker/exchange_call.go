package worker

import (
	"context"
	"fmt"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/wire"
)

// exchangeCalls holds the exchanges in flight: one, and possibly older held polls that it has overtaken. An overtaken
// poll is not canceled at once. A cancellation would close its connection, and a new connection costs more than the
// rest of an exchange; its answer may even bring a grant.
type exchangeCalls struct {
	w           *Worker
	workerCtx   context.Context // of the attempts that answers start
	ctx         context.Context // of the calls
	cancel      context.CancelFunc
	sequence    uint64
	lastApplied uint64 // the newest exchange whose answer was applied
	inFlight    int
	results     chan exchangeResult
}

type exchangeResult struct {
	sequence uint64
	answer   wire.ExchangeAnswer
	from     guard.Instant // when the leases in the answer begin
	err      error
}

// overtakenTimeout is how long a held poll may stay unanswered after a newer exchange has overtaken it.
const overtakenTimeout = 3 * time.Second

func newExchangeCalls(workerCtx context.Context, w *Worker) *exchangeCalls {
	ctx, cancel := context.WithCancel(workerCtx)
	return &exchangeCalls{
		w: w, workerCtx: workerCtx, ctx: ctx, cancel: cancel, results: make(chan exchangeResult),
	}
}

// end cancels the calls in flight and waits for their end.
func (c *exchangeCalls) end() {
	c.cancel()
	for ; c.inFlight > 0; c.inFlight-- {
		<-c.results
	}
}

// exchange sends what the worker holds now and applies the answer. It returns before the answer of a held poll as soon
// as there is news, which the next exchange carries.
func (c *exchangeCalls) exchange(troubled, leaving bool) error {
	w := c.w
	select {
	case <-w.exchangeNow: // this exchange carries the news
	default:
	}
	running, ended := w.runningAndEnded()
	c.sequence++
	req := wire.Exchange{
		Incarnation: w.incarnation, Sequence: c.sequence, Slots: w.slots(), Running: running, Ended: ended,
	}
	// The masters must not hold an exchange after trouble. Nor one with a report: its answer frees a slot.
	if !troubled && len(ended) == 0 && !leaving {
		req.WaitMs = w.pollTime(len(running)).Milliseconds()
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.inFlight++
	go func() {
		before, beforeTime := guard.Now(), time.Now()
		a, sent, err := w.cfg.Masters.Exchange(ctx, w.id, req)
		cancel()
		c.results <- exchangeResult{req.Sequence, a, leaseStart(before, beforeTime, sent), err}
	}()
	// A leaving worker that has nothing left to report does not wait for masters that have no leader.
	var flushed <-chan time.Time
	mayLeave := func() bool {
		leaving, now := w.leaving()
		if now {
			cancel()
		} else if leaving {
			flushed = time.After(w.flushTimeLeft())
		}
		return now
	}
	if leaving && mayLeave() {
		return nil
	}
	for {
		select {
		case r := <-c.results:
			c.inFlight--
			if r.err == nil {
				c.apply(r)
			}
			if r.sequence != req.Sequence {
				continue // the result of an overtaken poll; its error does not matter
			}
			if r.err != nil {
				return fmt.Errorf("exchange: %w", r.err)
			}
			if req.WaitMs == 0 && len(r.answer.Settled)+len(r.answer.Fenced)+len(r.answer.Grants) == 0 {
				pauseFor(c.ctx, firstPause, nil) // the answer changed nothing: the next exchange need not follow at once
			}
			return nil
		case <-w.exchangeNow:
			if req.WaitMs > 0 {
				time.AfterFunc(overtakenTimeout, cancel)
				return nil
			}
			if mayLeave() {
				return nil
			}
		case <-flushed:
			if mayLeave() {
				return nil
			}
		}
	}
}

// apply does what an answer says, except for grants in an answer that is older than one already applied. Since that
// newer answer, such an attempt may have run, ended and been reported. If the state still gives the attempt to this
// worker, the next answer brings the grant again.
func (c *exchangeCalls) apply(r exchangeResult) {
	if r.sequence < c.lastApplied {
		r.answer.Grants = nil
	}
	c.lastApplied = max(c.lastApplied, r.sequence)
	c.w.apply(c.workerCtx, r.answer, r.from)
}

// slots returns how many attempts the worker will hold at most now.
func (w *Worker) slots() int {
	killed := isClosed(w.killAsked)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining || killed {
		return 0
	}
	return w.cfg.MaxTaskCount
}
