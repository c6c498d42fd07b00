package dispatch

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// bounded makes a pending execution whose attempts wait so long for a worker at most.
func (h *harness) bounded(retries int, wait time.Duration) int64 {
	h.Helper()
	id := h.do(&command.CreateExecution{Folder: "F", Project: "P", Package: "a.sh",
		AnyWorker: true}).Value
	h.do(&command.SetExecutionParameter{ExecutionID: id, ObjectType: catalog.ObjectExecution,
		Name:  catalog.OptionQueueTimeout,
		Value: command.Value{Type: "Int32", Text: strconv.Itoa(int(wait / time.Second))}})
	h.do(&command.StartExecution{ExecutionID: id, RetryCount: retries, RetryDelayMs: 5000})
	return id
}

// watched runs the loop that ends what waited too long.
func (h *harness) watched() (stop func()) {
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = h.d.FailOverdue(ctx) }()
	return func() { cancel(); <-done }
}

func (h *harness) waited(id int64, code string) {
	h.Helper()
	h.status(id, catalog.Failed)
	if e, _ := h.Reader().Execution(id); !e.Overdue || e.Waited != code {
		h.Errorf("execution %d: overdue %t, it waited because of %q, want %q", id, e.Overdue, e.Waited, code)
	}
}

func TestWhatWaitsTooLongFails(t *testing.T) {
	within(t, func(h *harness) {
		defer h.watched()()
		short, long, free := h.bounded(0, 10*time.Second), h.bounded(0, time.Minute), h.start("a.sh", 0)
		<-time.After(9 * time.Second)
		synctest.Wait()
		h.status(short, catalog.Pending)
		<-time.After(3 * time.Second)
		synctest.Wait()
		h.waited(short, command.ReasonName(command.ReasonNoWorkerEnabled))
		h.status(long, catalog.Pending)

		// Another leader counts in the same time.
		h.d.Drop()
		<-time.After(40 * time.Second)
		h.d.Establish()
		<-time.After(5 * time.Second)
		synctest.Wait()
		h.status(long, catalog.Pending)
		<-time.After(5 * time.Second)
		synctest.Wait()
		h.waited(long, command.ReasonName(command.ReasonNoWorkerEnabled))
		h.status(free, catalog.Pending)
		if _, _, ok := h.d.Reason(short); ok || len(h.d.queue.bounds) != 0 {
			t.Errorf("what has ended stands in the queue: %d bounds", len(h.d.queue.bounds))
		}
	})
}

// Each attempt's wait counts from when it could be given to a worker, and what a worker took is bound no more.
func TestTheWaitOfEachAttemptIsItsOwn(t *testing.T) {
	within(t, func(h *harness) {
		defer h.watched()()
		id := h.bounded(1, 20*time.Second)
		<-time.After(15 * time.Second)
		h.worker(one, 1)
		h.gives("in time", h.exchange(h.poll(one)), id)
		if n := len(h.d.queue.bounds); n != 0 {
			t.Errorf("%d bounds of what runs", n)
		}
		<-time.After(20 * time.Second)
		p := h.poll(one)
		p.Slots, p.Ended = 0, []command.Report{report(id, 1, command.Failed)}
		h.exchange(p)
		h.do(&command.EnableWorker{ID: one, Enabled: false})
		<-time.After(24 * time.Second) // of which 5 are the retry's
		synctest.Wait()
		h.status(id, catalog.Pending)
		<-time.After(3 * time.Second)
		synctest.Wait()
		h.waited(id, command.ReasonName(command.ReasonNoWorkerEnabled))
	})
}

// A command whose outcome nobody knows, or that the state's clock takes as too early, is tried again.
func TestWhatWaitsTooLongIsTriedAgain(t *testing.T) {
	within(t, func(h *harness) {
		h.d.cfg.Now = func() time.Time { return time.Now().Add(5 * time.Second) } // ahead of the state's
		defer h.watched()()
		id := h.bounded(0, 10*time.Second)
		tries := 0
		set(h, &h.before, func(cmd command.Command) error {
			if _, ok := cmd.(*command.FailQueued); ok {
				if tries++; tries < 4 {
					return errUnknown
				}
			}
			return nil
		})
		<-time.After(20 * time.Second)
		synctest.Wait()
		h.waited(id, command.ReasonName(command.ReasonNoWorkerEnabled))
		if tries < 5 {
			t.Errorf("%d tries", tries)
		}
	})
}

// More than one command takes are ended all the same, each once, while a grant and an end of the wait race for one.
func TestManyWaitTooLong(t *testing.T) {
	within(t, func(h *harness) {
		var ids []int64
		for range timeoutBatch + 10 {
			ids = append(ids, h.bounded(0, 10*time.Second))
		}
		h.worker(one, 1)
		<-time.After(11 * time.Second)
		set(h, &h.before, func(cmd command.Command) error {
			if _, ok := cmd.(*command.FailQueued); ok {
				set(h, &h.before, nil)
				h.gives("just before", h.exchange(h.poll(one)), ids[0])
			}
			return nil
		})
		stop := h.watched()
		<-time.After(3 * time.Second)
		synctest.Wait()
		stop()
		h.status(ids[0], catalog.Running)
		for _, id := range ids[1:] {
			h.status(id, catalog.Failed)
		}
	})
}
