package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// expireBatch bounds the attempts that one command declares lost.
const expireBatch = 256

// lease is the leader's clock of one held attempt. It ends later than the worker's own clock: the worker counts from
// the sending of an exchange, the leader from the later of receiving and granting, and adds 5 s and one per cent.
type lease struct {
	ref      command.AttemptRef
	worker   string
	instance string
	giveUp   time.Duration
	renewed  time.Time
	deadline time.Time
	stopping bool
	dropped  bool
	// expiring is set while the attempt is being declared lost; it is closed when the outcome is known. A renewal that
	// finds it waits: whoever lets the worker go on and declares its attempt lost at once has made two attempts overlap.
	expiring chan struct{}
	// doubt: a command that declares it lost may still be applied. Only a later such command's outcome ends the doubt.
	doubt  bool
	queued time.Time // the deadline under which it stands in the heap
}

func (l *lease) settle() {
	if l.expiring != nil {
		close(l.expiring)
		l.expiring = nil
	}
}

// renew counts the full term from the given moment, never backwards.
func (l *lease) renew(from time.Time) {
	if from.After(l.renewed) {
		l.renewed = from
	}
	l.deadline = l.renewed.Add(l.giveUp + 5*time.Second + l.giveUp/100)
}

func (b *board) grantLease(ref command.AttemptRef, a *catalog.Attempt, now time.Time) {
	l := &lease{
		ref: ref, worker: a.Worker, instance: a.Instance,
		giveUp: command.Span(a.GiveUpAfterMs),
	}
	l.renew(now)
	b.leases[ref] = l
	l.queued = l.deadline
	heap.Push(&b.due, l)
	b.worker(a.Worker).held++
}

func (b *board) dropLease(ref command.AttemptRef) {
	if l := b.leases[ref]; l != nil {
		l.dropped = true
		l.settle()
		delete(b.leases, ref)
		b.worker(l.worker).held--
	}
}

// NextDeadline is when the next lease ends if nothing renews it.
func (d *Dispatcher) NextDeadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return time.Time{}, false
	}
	return d.board.nextDeadline()
}

// nextDeadline trims the heap lazily: a renewal only moves a deadline back, so it does not touch the heap.
func (b *board) nextDeadline() (time.Time, bool) {
	for len(b.due) > 0 {
		l := b.due[0]
		switch {
		case l.dropped:
			heap.Pop(&b.due)
		case l.queued.Before(l.deadline):
			l.queued = l.deadline
			heap.Fix(&b.due, 0)
		default:
			return l.deadline, true
		}
	}
	return time.Time{}, false
}

// ExtendAll gives every lease its full term from now: the leader cannot say that it was listening.
func (d *Dispatcher) ExtendAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return
	}
	now := time.Now()
	for _, l := range d.board.leases {
		if l.expiring == nil {
			l.renew(now)
		}
	}
}

// Sweep declares attempts lost whose terms have passed. It proves leadership after it has marked them, so that a
// deposed leader declares nobody lost, and it says so in the log for each.
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
	if d.board == nil {
		return nil
	}
	b := d.board
	var marked []*lease
	for {
		at, ok := b.nextDeadline()
		if !ok || at.After(now) {
			break
		}
		l := heap.Pop(&b.due).(*lease)
		if l.expiring == nil {
			l.expiring = make(chan struct{})
		}
		marked = append(marked, l)
	}
	for _, l := range marked {
		heap.Push(&b.due, l) // an unknown outcome is tried again at the next sweep
	}
	return marked
}

// unmark lets renewals through again. Unless the outcome is known, those in doubt keep their marks: an earlier command
// may be applied at any moment.
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
			AttemptRef: l.ref, Worker: l.worker, Instance: l.instance, SilentSince: command.At(l.renewed),
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
			d.log.Warn("attempt lost", "task", items[i].TaskID, "attempt", items[i].Attempt,
				"worker", items[i].Worker, "silent_since", items[i].SilentSince.Time())
		}
		touched = append(touched, items[i].TaskID)
	}
	d.Touch(touched, nil)
	d.unmark(leases, true) // one that the state still holds goes on
	return nil
}

// deadlines is a heap of leases by the deadline under which they were pushed.
type deadlines []*lease

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].queued.Before(h[j].queued) }
func (h deadlines) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlines) Push(x any)        { *h = append(*h, x.(*lease)) }
func (h *deadlines) Pop() any          { return pop((*[]*lease)(h)) }
