package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"scaleout/fsm/command"
)

const (
	timeoutBatch = 256         // of executions that one command ends
	timeoutLook  = time.Second // how often the queue's bounds are looked at
)

// FailOverdue ends executions that have waited longer for a worker than they may, until ctx ends. Their time is state
// time: a new leader goes on where the last one stood. What is due next lies on top of a heap, so a look costs nothing
// however many tasks wait.
func (d *Dispatcher) FailOverdue(ctx context.Context) error {
	tick := time.NewTicker(timeoutLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for {
			items := d.overdue()
			if len(items) == 0 {
				break
			}
			if err := d.failQueued(ctx, items); err != nil {
				if ctx.Err() == nil {
					d.log.Warn("executions that waited too long were not ended; trying again", "number", len(items), "err", err)
				}
				break
			}
		}
	}
}

// overdue lists tasks whose wait is over, up to a batch of them, and takes them off the heap: the state's answer puts
// back what goes on waiting.
func (d *Dispatcher) overdue() []command.Overdue {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return nil
	}
	now, code := command.At(d.cfg.Now()), d.board.reasonCodes(time.Now())
	var items []command.Overdue
	for b := d.board; len(b.bounds) > 0 && b.bounds[0].until <= now && len(items) < timeoutBatch; {
		t := heap.Pop(&b.bounds).(*task)
		items = append(items, command.Overdue{AttemptRef: ref(t), Until: t.until, Reason: code(t)})
	}
	return items
}

// failQueued proposes the end of overdue tasks and brings the queue in line with what became of them.
func (d *Dispatcher) failQueued(ctx context.Context, items []command.Overdue) error {
	env, err := command.Wrap(&command.FailQueued{Items: items})
	if err != nil {
		return err
	}
	env.Caller = command.Caller{Kind: "master", Name: "queue timeout"}
	result, _, err := d.cfg.Node.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	if err == nil && len(result.Items) != len(items) {
		err = errors.New("the state machine answered another number of items than were sent")
	}
	for i := range result.Items {
		if err == nil && result.Items[i].Code == "" {
			d.log.Warn("no worker was found in time", "task", items[i].TaskID, "attempt", items[i].Attempt, "reason", items[i].Reason)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.board == nil {
		return err
	}
	refused := err != nil
	for i, item := range items {
		t := d.board.tasks[item.TaskID]
		if t != nil && t.attempt == item.Attempt && t.slot < 0 {
			heap.Push(&d.board.bounds, t) // its time is not over by the state's clock, or the command's outcome is unknown
			refused = refused || result.Items[i].Code != ""
		}
	}
	if err == nil && refused {
		return errors.New("the state takes their time as not over yet")
	}
	return err
}

// bound puts a task that may not wait for ever among those with a bound.
func (b *board) bound(t *task) {
	if t.until != 0 {
		heap.Push(&b.bounds, t)
	}
}

// unbound takes it out again.
func (b *board) unbound(t *task) {
	if t.slot >= 0 {
		heap.Remove(&b.bounds, t.slot)
	}
}

// bounds is a heap of waiting tasks by the moment when their wait is over.
type bounds []*task

func (h bounds) Len() int           { return len(h) }
func (h bounds) Less(i, j int) bool { return h[i].until < h[j].until }
func (h bounds) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}
func (h *bounds) Push(x any) {
	t := x.(*task)
	t.slot = len(*h)
	*h = append(*h, t)
}
func (h *bounds) Pop() any {
	t := pop((*[]*task)(h))
	t.slot = -1
	return t
}
