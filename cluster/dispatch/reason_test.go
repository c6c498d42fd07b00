package dispatch

import (
	"fmt"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// One look at the workers for each class: what a task waits for on its own is no other one's reason, in whatever order.
func TestReasonNamesAreThoseOfEachTask(t *testing.T) {
	now := time.Now()
	b := newQueue(now)
	w := b.worker("w")
	w.row, w.contact = &catalog.Worker{RegisterWorker: command.RegisterWorker{ID: "w", AgentHeartbeatMs: 30_000},
		Enabled: true}, now
	open, selected := &class{extension: ".sh", any: true}, &class{extension: ".sh", allowed: []string{"other"}}
	tasks := []*task{
		{class: open}, {class: selected}, {class: open, waiting: true}, {class: open, waiting: true, back: []string{"m1"}},
		{class: open, reserved: true}, {class: selected, reserved: true},
	}
	want := []string{"no_worker_can_run", "no_worker_enabled", "retry_wait", "handed_back", "starting", "starting"}
	for first := range tasks {
		name := b.reasonNames(now)
		for i := range tasks {
			at := (first + i) % len(tasks)
			if got := name(tasks[at]); got != want[at] {
				t.Errorf("beginning with task %d, task %d: %s, want %s", first, at, got, want[at])
			}
		}
	}
}

// A batch of tasks that waited too long, with as many workers as a large cluster has.
func BenchmarkReasons(b *testing.B) {
	now := time.Now()
	queue := newQueue(now)
	for i := range 5000 {
		w := queue.worker(fmt.Sprintf("%036d", i*7919%5000))
		w.row, w.contact = &catalog.Worker{RegisterWorker: command.RegisterWorker{ID: w.id, AgentHeartbeatMs: 30_000},
			Enabled: true}, now
	}
	tasks, scripts := make([]*task, timeoutBatch), &class{extension: ".sh", any: true}
	for i := range tasks {
		tasks[i] = &task{class: scripts, slot: -1}
	}
	for b.Loop() {
		name := queue.reasonNames(now)
		for _, t := range tasks {
			if got := name(t); got != "no_worker_can_run" {
				b.Fatal(got)
			}
		}
	}
}
