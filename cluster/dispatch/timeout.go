package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

const (
	timeoutBatch = 256         // of executions that one command ends
	timeoutLook  = time.Second // how often overdue tasks are looked for
)

// FailOverdue ends executions that have waited longer for a worker than they may. It returns when ctx ends. The wait is
// measured in state time, so a new leader goes on where the previous one stood. The next task that is due lies on top
// of a heap, so a look is cheap however many tasks wait.
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
					d.log.LogAttrs(ctx, slog.LevelWarn, "executions that waited too long were not ended; trying again",
						slog.Int(logkey.Number, len(items)), slog.Any(logkey.Err, err))
				}
				break
			}
		}
	}
}

// overdue takes up to a batch of tasks whose wait is over off the heap. failQueued puts back those that the state lets
// wait on.
func (d *Dispatcher) overdue() []command.Overdue {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return nil
	}
	now, reason := command.At(d.cfg.Now()), d.queue.reasonNames(time.Now())
	var items []command.Overdue
	for q := d.queue; len(q.bounds) > 0 && q.bounds[0].until <= now && len(items) < timeoutBatch; {
		t := heap.Pop(&q.bounds).(*task)
		items = append(items, command.Overdue{AttemptRef: attemptRef(t), Until: t.until, Reason: reason(t)})
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
			d.log.LogAttrs(ctx, slog.LevelWarn, "no worker was found in time", slog.Int64(logkey.TaskID, items[i].TaskID),
				slog.Int(logkey.Attempt, items[i].Attempt), slog.String(logkey.Reason, items[i].Reason))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == nil {
		return err
	}
	refused := err != nil
	for i, item := range items {
		t := d.queue.tasks[item.TaskID]
		if t != nil && t.attempt == item.Attempt && t.slot < 0 {
			// Its wait is not over by the state's clock, or the command's outcome is unknown.
			heap.Push(&d.queue.bounds, t)
			refused = refused || result.Items[i].Code != ""
		}
	}
	if err == nil && refused {
		return errors.New("the state does not take their wait as over yet")
	}
	return err
}

// bound puts a task that must not wait for ever into the boundHeap.
func (q *queue) bound(t *task) {
	if t.until != 0 {
		heap.Push(&q.bounds, t)
	}
}

// unbound takes a task out of the boundHeap.
func (q *queue) unbound(t *task) {
	if t.slot >= 0 {
		heap.Remove(&q.bounds, t.slot)
	}
}

// boundHeap is a heap of waiting tasks by the moment at which their wait is over.
type boundHeap []*task

func (h boundHeap) Len() int           { return len(h) }
func (h boundHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h boundHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}
func (h *boundHeap) Push(x any) {
	t := x.(*task)
	t.slot = len(*h)
	*h = append(*h, t)
}
func (h *boundHeap) Pop() any {
	t := pop((*[]*task)(h))
	t.slot = -1
	return t
}
