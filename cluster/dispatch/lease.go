package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// expireBatch bounds the attempts that one command declares lost.
const expireBatch = 256

// lease is the leader's clock of one held attempt. It ends later than the worker's own clock: the worker counts from
// the sending of an exchange; the leader counts from receiving it or from the grant, whichever is later, and adds 5 s
// and one per cent.
type lease struct {
	ref         command.AttemptRef
	worker      string
	incarnation string
	giveUp      time.Duration
	renewed     time.Time
	deadline    time.Time
	stopping    bool
	dropped     bool
	// expiring is set while the attempt is being declared lost, and closed when the outcome is known. A renewal that
	// finds it set waits: a leader that renewed the lease and declared the attempt lost at the same time would make two
	// attempts overlap.
	expiring chan struct{}
	// doubt means that a command that declares the attempt lost may still be applied. Only the outcome of a later such
	// command ends the doubt.
	doubt  bool
	queued time.Time // the deadline under which it stands in the leaseHeap
}

func (l *lease) settle() {
	if l.expiring != nil {
		close(l.expiring)
		l.expiring = nil
	}
}

// renew counts the full lease duration from the given moment. A deadline never moves back.
func (l *lease) renew(from time.Time) {
	if from.After(l.renewed) {
		l.renewed = from
	}
	l.deadline = l.renewed.Add(l.giveUp + 5*time.Second + l.giveUp/100)
}

func (q *queue) grantLease(ref command.AttemptRef, a *catalog.Attempt, now time.Time) {
	l := &lease{
		ref: ref, worker: a.Worker, incarnation: a.Incarnation,
		giveUp: command.Span(a.GiveUpAfterMs),
	}
	l.renew(now)
	q.leases[ref] = l
	l.queued = l.deadline
	heap.Push(&q.due, l)
	q.worker(a.Worker).held++
}

func (q *queue) dropLease(ref command.AttemptRef) {
	if l := q.leases[ref]; l != nil {
		l.dropped = true
		l.settle()
		delete(q.leases, ref)
		q.worker(l.worker).held--
	}
}

// NextDeadline returns when the next lease ends if nothing renews it, and false if there is none.
func (d *Dispatcher) NextDeadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return time.Time{}, false
	}
	return d.queue.nextDeadline()
}

// nextDeadline corrects the heap lazily: a renewal only makes a deadline later, so it leaves the heap alone.
func (q *queue) nextDeadline() (time.Time, bool) {
	for len(q.due) > 0 {
		l := q.due[0]
		switch {
		case l.dropped:
			heap.Pop(&q.due)
		case l.queued.Before(l.deadline):
			l.queued = l.deadline
			heap.Fix(&q.due, 0)
		default:
			return l.deadline, true
		}
	}
	return time.Time{}, false
}

// ExtendAll gives every lease its full duration from now. It is called when this leader may have missed renewals.
func (d *Dispatcher) ExtendAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return
	}
	now := time.Now()
	for _, l := range d.queue.leases {
		if l.expiring == nil {
			l.renew(now)
		}
	}
}

// Sweep declares attempts lost whose leases have run out, and logs each. It proves leadership after it has marked them,
// so that a deposed leader declares no attempt lost.
func (d *Dispatcher) Sweep(ctx context.Context) error {
	marked := d.markExpired(time.Now())
	if len(marked) == 0 {
		return nil
	}
	if err := d.cfg.Node.Read(ctx); err != nil {
		d.unmark(marked, false)
		return err
	}
	for len(marked) > 0 {
		n := min(len(marked), expireBatch)
		if err := d.expire(ctx, marked[:n]); err != nil {
			d.unmark(marked[n:], false)
			return err
		}
		marked = marked[n:]
	}
	return nil
}

func (d *Dispatcher) markExpired(now time.Time) []*lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return nil
	}
	q := d.queue
	var marked []*lease
	for {
		at, ok := q.nextDeadline()
		if !ok || at.After(now) {
			break
		}
		l := heap.Pop(&q.due).(*lease)
		if l.expiring == nil {
			l.expiring = make(chan struct{})
		}
		marked = append(marked, l)
	}
	for _, l := range marked {
		heap.Push(&q.due, l) // if the outcome is unknown, the next sweep tries again
	}
	return marked
}

// unmark lets renewals through again. If the outcome is not known, leases in doubt keep their marks, because an earlier
// command may be applied at any moment.
func (d *Dispatcher) unmark(leases []*lease, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range leases {
		if known || !l.doubt {
			l.doubt = false
			l.settle()
		}
	}
}

func (d *Dispatcher) expire(ctx context.Context, leases []*lease) error {
	items := make([]command.Expiry, len(leases))
	d.mu.Lock()
	for i, l := range leases {
		items[i] = command.Expiry{
			AttemptRef: l.ref, Worker: l.worker, Incarnation: l.incarnation, SilentSince: command.At(l.renewed),
		}
	}
	d.mu.Unlock()
	env, err := command.Wrap(&command.Expire{Items: items})
	if err != nil {
		d.unmark(leases, false)
		return err
	}
	env.Caller = command.Caller{Kind: "master", Name: "expiry"}
	result, _, err := d.cfg.Node.Propose(ctx, env)
	switch {
	case err != nil && command.NotApplied(err):
		d.unmark(leases, false)
		return err
	case err != nil:
		d.mu.Lock()
		for _, l := range leases {
			l.doubt = true
		}
		d.mu.Unlock()
		return err
	case result.Rejection != nil:
		d.unmark(leases, true)
		return result.Rejection
	case len(result.Items) != len(items):
		d.unmark(leases, true)
		return errors.New("the state machine answered another number of items than were sent")
	}
	var touched []int64
	for i, item := range result.Items {
		if item.Code == "" {
			d.metrics.lost.Inc()
			d.log.LogAttrs(ctx, slog.LevelWarn, "attempt lost", slog.Int64(logkey.TaskID, items[i].TaskID),
				slog.Int(logkey.Attempt, items[i].Attempt), slog.String(logkey.Worker, items[i].Worker),
				slog.Time(logkey.SilentSince, items[i].SilentSince.Time()))
		}
		touched = append(touched, items[i].TaskID)
	}
	d.Touch(touched, nil)
	d.unmark(leases, true) // a lease that the state still holds goes on
	return nil
}

// leaseHeap is a heap of leases by the deadline under which they were pushed.
type leaseHeap []*lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].queued.Before(h[j].queued) }
func (h leaseHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *leaseHeap) Push(x any)        { *h = append(*h, x.(*lease)) }
func (h *leaseHeap) Pop() any          { return pop((*[]*lease)(h)) }
