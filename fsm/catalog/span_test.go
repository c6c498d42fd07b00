package catalog

import (
	"fmt"
	"math"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// Spans of time that cannot be counted with are refused where they come in.
func TestHugeSpansAreRefused(t *testing.T) {
	worker := func(change func(*command.RegisterWorker)) command.Command {
		r := registration(worker2, "i1")
		change(r)
		return r
	}
	for _, ms := range []int64{command.MaxSpanMs, command.MaxSpanMs + 1, math.MaxInt64 / int64(time.Millisecond),
		math.MaxInt64} {
		w := newMachine(t)
		w.deploy()
		created := w.create("Load.dtsx")
		for what, c := range map[string]command.Command{
			"tolerance":       worker(func(r *command.RegisterWorker) { r.ToleranceMs = ms }),
			"lease":           worker(func(r *command.RegisterWorker) { r.LeaseMs, r.ToleranceMs = ms, ms }),
			"agent heartbeat": worker(func(r *command.RegisterWorker) { r.AgentHeartbeatMs = ms }),
			"task heartbeat":  worker(func(r *command.RegisterWorker) { r.TaskHeartbeatMs = ms }),
			"retry delay":     &command.StartExecution{ExecutionID: created, RetryCount: 1, RetryDelayMs: ms},
		} {
			t.Run(fmt.Sprint(what, " ", ms), func(t *testing.T) {
				r := w.do(c)
				refused := r.Rejection != nil && command.Family(r.Rejection.Code) == command.FamilyInvalidArgument
				if want := ms > command.MaxSpanMs; refused != want {
					t.Errorf("refused %v, want %v: %+v", refused, want, r.Rejection)
				}
			})
		}
	}
}

// However long the delay and whichever the attempt, the time of a retry is not in the past.
func TestAHugeRetryDelay(t *testing.T) {
	now := command.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, attempts := range []int{1, 8, 9, 1000} {
		e := &edit{meta: meta{Time: now}}
		x := &Execution{Status: Running, RetryCount: 2000, RetryDelayMs: command.MaxSpanMs,
			Attempts: make([]Attempt, attempts)}
		x.afterFailure(e, Failed)
		if x.Status != Pending || x.NotBefore != now.Add(command.Span(command.MaxSpanMs)) {
			t.Errorf("after %d attempts: %v, not before %v", attempts, x.Status, x.NotBefore.Time())
		}
	}
}
