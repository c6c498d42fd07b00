package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

const gated = "note ran\ngate go\nnote end\n"

func TestADisabledWorkerFinishesAndGetsNothingNew(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, map[string]string{"gated.sh": gated, "once.sh": "note ran\n"})
	w := c.Worker(testcluster.WorkerConfig{})
	runs := s.start("gated.sh", 0)
	c.Eventually("it runs", 10*time.Second, func() bool { return s.ran(runs, "ran") == 1 })
	s.call("disable_worker_agent", map[string]any{"WorkerAgentId": w.ID()})
	waits := s.start("once.sh", 0)
	if text := s.reason(waits, "no_worker_enabled"); !strings.Contains(text, w.Name()) {
		t.Errorf("the sentence does not name the worker that could be enabled: %q", text)
	}
	s.open("go")
	s.once(runs)
	c.WaitStatus(waits, time.Second, 5)
	s.call("enable_worker_agent", map[string]any{"WorkerAgentId": w.ID()})
	s.once(waits)
	s.noReason(waits)
}

func TestChosenWorkersOnly(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	c.Worker(testcluster.WorkerConfig{Name: "other"})
	chosen := c.Worker(testcluster.WorkerConfig{Name: "chosen", MaxTaskCount: 1})
	id := chosen.ID()
	var ids []int64
	for range 6 {
		ids = append(ids, s.startOn("once.sh", 0, id, id))
	}
	for _, e := range ids {
		s.once(e)
		if got := s.attempts(e)[0].Text("worker_agent_id"); got != id {
			t.Errorf("execution %d ran on %s, chosen was %s", e, got, id)
		}
	}
}

func TestStop(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	// The shell ends at the polite signal, its child does not.
	s := deployScripts(t, c, map[string]string{"tree.sh": `
sh -c 'trap "" TERM; echo $$ > "DIR/grandchild.tmp"; mv "DIR/grandchild.tmp" "DIR/grandchild"
while :; do sleep 0.1; done' &
note ran
wait
`})
	pending := s.start("tree.sh", 3)
	s.call("stop_operation", map[string]any{"operation_id": pending})
	if row := c.WaitStatus(pending, time.Second, 3); row.Text("stopped_by_name") == "" {
		t.Error("nobody is said to have stopped it")
	}
	c.Worker(testcluster.WorkerConfig{})
	id := s.start("tree.sh", 3)
	file := filepath.Join(s.dir, "grandchild")
	c.Eventually("the grandchild runs", 10*time.Second, func() bool { _, err := os.Stat(file); return err == nil })
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	s.call("stop_operation", map[string]any{"operation_id": id})
	row := c.WaitStatus(id, 15*time.Second, 3)
	if n, _ := row.Int("executed_count"); n != 1 {
		t.Errorf("stopped, and yet %d attempts", n)
	}
	grandchild, err := os.FindProcess(pid)
	if err == nil {
		err = grandchild.Signal(syscall.Signal(0))
	}
	if !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the grandchild %d is still there (%v)", pid, err)
	}
	if rows := s.attempts(id); rows[0].Text("outcome") != "canceled" {
		t.Errorf("%v", rows)
	}
	if s.ran(pending, "ran") != 0 {
		t.Error("it ran, though it was stopped before")
	}
}

func TestARetryWaitsAndPrefersAnotherWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	const delay = time.Second
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int, cfg *master.Config) { cfg.RetryDelay = delay }))
	s := deployScripts(t, c, map[string]string{"second.sh": "note ran\n[ $SCALEOUT_ATTEMPT -gt 2 ] || exit 7\n"})
	c.Worker(testcluster.WorkerConfig{Name: "a"})
	c.Worker(testcluster.WorkerConfig{Name: "b"})
	id := s.start("second.sh", 5)
	s.reason(id, "retry_wait")
	row := c.WaitStatus(id, 30*time.Second, 7)
	if n, _ := row.Int("executed_count"); n != 3 {
		t.Errorf("%d attempts", n)
	}
	rows := s.attempts(id)
	for i, r := range rows[1:] {
		ended, _ := rows[i].Time("ended")
		granted, _ := r.Time("granted")
		if wait := granted.Sub(ended); wait < delay*time.Duration(i+1) {
			t.Errorf("attempt %d came %v after attempt %d, the delay is %v × %d", i+2, wait, i+1, delay, i+1)
		}
		if r.Text("worker_agent_id") == rows[i].Text("worker_agent_id") {
			t.Errorf("attempt %d went to the worker that attempt %d failed on, another one was free", i+2, i+1)
		}
	}
	s.noReason(id)
}

// A program that is removed after the worker has registered it costs no attempt.
func TestReturnedCostsNoAttempt(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 1)
	s := deployScripts(t, c, map[string]string{"job.odd": "note ran\n"})
	runner := filepath.Join(s.dir, "runner")
	install := func() {
		t.Helper()
		// The program is renamed into place: one that is still being written cannot be run.
		if err := os.WriteFile(runner+".new", []byte("#!/bin/sh\nexec sh \"$@\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(runner+".new", runner); err != nil {
			t.Fatal(err)
		}
	}
	install()
	c.Worker(testcluster.WorkerConfig{Runners: map[string][]string{".odd": {runner}}})
	s.once(s.start("job.odd", 0))
	if err := os.Remove(runner); err != nil {
		t.Fatal(err)
	}
	id := s.start("job.odd", 0)
	if text := s.reason(id, "no_worker_can_run"); !strings.Contains(text, ".odd") {
		t.Errorf("%q does not name the extension", text)
	}
	install()
	c.WaitStatus(id, 20*time.Second, 7)
	var outcomes []string
	for _, r := range s.attempts(id) {
		outcomes = append(outcomes, r.Text("outcome"))
	}
	if n := s.ran(id, "ran"); n != 1 || outcomes[len(outcomes)-1] != "succeeded" || slices.Contains(outcomes, "failed") {
		t.Errorf("ran %d times: %v", n, outcomes)
	}
}

// Each reason for which an execution waits is shown, and no reason is shown once the execution runs.
func TestReasons(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Settings(func(_ int,
		cfg *master.Config) {
		cfg.RetryDelay = 10 * time.Minute
	}))
	s := deployScripts(t, c, map[string]string{"a.sh": "note ran\n", "b.odd": "", "c.dtsx": ""})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := s.start("a.sh", 1)
	s.reason(id, "no_worker_enabled")
	h := c.Controller("controlled", time.Minute, time.Minute)
	s.reason(id, "starting")
	odd := s.start("b.odd", 0)
	if text := s.reason(odd, "no_worker_can_run"); !strings.Contains(text, ".odd") {
		t.Errorf("%q", text)
	}
	short := func(reg *wire.Register) { reg.AgentHeartbeatMs = 500 }
	if _, err := h.Register(ctx, short); err != nil {
		t.Fatal(err)
	}
	s.reason(id, "no_worker_online")
	chosen := s.startOn("a.sh", 0, h.ID)
	s.reason(chosen, "selected_workers_offline")
	if _, err := h.Register(ctx, func(reg *wire.Register) { reg.AgentHeartbeatMs = 600_000 }); err != nil {
		t.Fatal(err)
	}
	a, err := h.Exchange(ctx, 0, 1, nil)
	if err != nil || len(a.Grants) != 1 || a.Grants[0].ExecutionID != id {
		t.Fatalf("%+v, %v", a, err)
	}
	s.noReason(id)
	s.reason(s.start("a.sh", 0), "workers_busy")
	s.reason(chosen, "selected_workers_busy")
	if text := s.reason(id, "silent"); !strings.Contains(text, "controlled is silent since") {
		t.Errorf("%q", text)
	}
	failed := wire.Ended{TaskID: id, Attempt: 1, Outcome: wire.OutcomeFailed, ExitCode: 1}
	if a, err = h.Exchange(ctx, 0, 0, nil, failed); err != nil || len(a.Settled) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	s.reason(id, "retry_wait")
	s.call("stop_operation", map[string]any{"operation_id": id})
	s.noReason(id)

	// A stale read shows NULL for what only the leader knows.
	page, err := c.Admin().View(ctx, "tasks", client.Query{Equal: map[string]any{"execution_id": chosen}, Stale: true})
	if err != nil || len(page.Rows) != 1 || page.Rows[0]["reason"] != nil {
		t.Errorf("stale: %v, %v", page.Rows, err)
	}
}

func TestAFencedReport(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	h := c.Controller("controlled", time.Minute, time.Minute)
	other := c.Controller("other", time.Minute, time.Minute)
	id := s.startOn("once.sh", 1, h.ID, other.ID)
	report := func(h *testcluster.Controller, attempt int, outcome string, code int) wire.ExchangeAnswer {
		t.Helper()
		a, err := h.Exchange(ctx, 0, 0, nil, wire.Ended{TaskID: id, Attempt: attempt, Outcome: outcome, ExitCode: code})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a, err := h.Exchange(ctx, 5*time.Second, 1, nil); err != nil || len(a.Grants) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a := report(other, 1, wire.OutcomeSucceeded, 0); len(a.Fenced) != 1 || len(a.Settled) != 0 {
		t.Errorf("another worker's task: %+v", a)
	}
	if a := report(h, 1, wire.OutcomeFailed, 9); len(a.Settled) != 1 {
		t.Errorf("%+v", a)
	}
	if a := report(h, 1, wire.OutcomeFailed, 9); len(a.Settled) != 1 {
		t.Errorf("the same report again: %+v", a)
	}
	if a := report(h, 1, wire.OutcomeSucceeded, 0); len(a.Fenced) != 1 || len(a.Settled) != 0 {
		t.Errorf("another word on an attempt that has ended: %+v", a)
	}
	if a, err := other.Exchange(ctx, 10*time.Second, 1, nil); err != nil || len(a.Grants) != 1 ||
		a.Grants[0].Attempt != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	a, err := h.Exchange(ctx, 0, 0, []wire.AttemptRef{{TaskID: id, Attempt: 1}, {TaskID: id, Attempt: 2}})
	if err != nil || len(a.Fenced) != 2 || len(a.Renewed) != 0 {
		t.Errorf("attempts that are not this worker's: %+v, %v", a, err)
	}
	c.WaitStatus(id, time.Second, 2)
	if a := report(other, 2, wire.OutcomeSucceeded, 0); len(a.Settled) != 1 {
		t.Errorf("%+v", a)
	}
	c.WaitStatus(id, time.Second, 7)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	s := deployScripts(t, c, map[string]string{"gated.sh": gated, "once.sh": "note ran\n"})
	w := c.Worker(testcluster.WorkerConfig{Process: true})
	id := s.start("gated.sh", 0)
	c.Eventually("it runs", 10*time.Second, func() bool { return s.ran(id, "ran") == 1 })
	w.Signal()
	c.Eventually("it drains", 10*time.Second, w.Drains)
	later := s.start("once.sh", 0)
	s.reason(later, "workers_busy")
	s.open("go")
	s.once(id)
	select {
	case <-w.Ended():
	case <-time.After(2 * time.Minute):
		t.Fatal("the drained worker does not end")
	}
	c.WaitStatus(later, time.Second, 5)
	w.Restart()
	s.once(later)
}

func TestASecondSignalEndsWhatRuns(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	s := deployScripts(t, c, map[string]string{"gated.sh": gated})
	w := c.Worker(testcluster.WorkerConfig{Process: true})
	id := s.start("gated.sh", 0)
	c.Eventually("it runs", 10*time.Second, func() bool { return s.ran(id, "ran") == 1 })
	w.Signal()
	c.Eventually("it drains", 10*time.Second, w.Drains)
	w.Signal()
	c.WaitStatus(id, 10*time.Second, 4)
	select {
	case <-w.Ended():
	case <-time.After(2 * time.Minute):
		t.Fatal("the worker does not end")
	}
	if s.ran(id, "end") != 0 {
		t.Error("it ended by itself")
	}
}

// A worker that knows only one follower is served like any other: it registers, gets projects and tasks, gets stops,
// and hands over messages.
func TestAFollowerServesTheWholeWorkerProtocol(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, map[string]string{"talk.sh": "note ran\necho to be read\necho trouble >&2\n",
		"gated.sh": gated})
	follower := c.Others(c.Leader())[1]
	w := c.Worker(testcluster.WorkerConfig{Masters: []string{"https://" + c.Address(follower)}})
	id, stopped := s.start("talk.sh", 0), s.start("gated.sh", 0)
	s.once(id)
	c.Eventually("messages", 10*time.Second, func() bool {
		texts := s.texts(id)
		return slices.Contains(texts, "to be read") && slices.Contains(texts, "trouble")
	})
	c.WaitStatus(stopped, 10*time.Second, 2)
	s.call("stop_operation", map[string]any{"operation_id": stopped})
	c.WaitStatus(stopped, 10*time.Second, 3)
	if got := w.ConnectedTo(); !slices.Equal(got, []string{c.Address(follower)}) {
		t.Errorf("the worker talks to %v, not to %s alone", got, c.Address(follower))
	}
}

// A poll that a follower holds on behalf of the leader outlives the leader.
func TestALongPollOutlivesTheLeader(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	leader := c.Leader()
	h := c.Controller("controlled", 90*time.Second, 90*time.Second).At(c, c.Others(leader)[0])
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	type reply struct {
		wire.ExchangeAnswer
		err error
	}
	out := make(chan reply, 1)
	began := time.Now()
	go func() {
		a, err := h.Exchange(ctx, 25*time.Second, 1, nil)
		out <- reply{a, err}
	}()
	// The follower holds the poll: the leader shows that it has heard from the worker.
	c.Eventually("the poll is there", 10*time.Second, func() bool {
		for _, r := range s.rows("worker_agents", nil) {
			if at, ok := r.Time("LastOnlineTime"); ok && !at.Before(began.Add(-2*time.Second)) {
				return true
			}
		}
		return false
	})
	c.Kill(leader)
	id := s.start("once.sh", 0)
	r := <-out
	if r.err != nil || len(r.Grants) != 1 || r.Grants[0].ExecutionID != id {
		t.Fatalf("after %v: %+v, %v", time.Since(began), r.ExchangeAnswer, r.err)
	}
	if a, err := h.Exchange(ctx, 0, 1, nil,
		wire.Ended{TaskID: id, Attempt: 1, Outcome: wire.OutcomeSucceeded}); err != nil || len(a.Settled) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	c.WaitStatus(id, 5*time.Second, 7)
}

// The output of packages is kept once, in order and with times, whatever happens to the leader meanwhile.
func TestMessagesAcrossALeadersDeath(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	const n = 60
	s := deployScripts(t, c, map[string]string{"talk.sh": fmt.Sprintf(`note ran
i=1
while [ $i -le %d ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); sleep 0.05; done
`, n)})
	c.Worker(testcluster.WorkerConfig{})
	ids := []int64{s.start("talk.sh", 0), s.start("talk.sh", 0)}
	c.Eventually("it talks", 20*time.Second, func() bool { return len(s.texts(ids[0])) > 10 })
	c.Kill(c.Leader())
	for _, id := range ids {
		s.once(id)
		var out, errs []string
		c.Eventually("the last words", 20*time.Second, func() bool {
			out, errs = nil, nil
			for _, text := range s.texts(id) {
				switch {
				case strings.HasPrefix(text, "out "):
					out = append(out, text)
				case strings.HasPrefix(text, "err "):
					errs = append(errs, text)
				}
			}
			return slices.Contains(out, fmt.Sprintf("out %d", n)) && slices.Contains(errs, fmt.Sprintf("err %d", n))
		})
		var wantOut, wantErr []string
		for i := 1; i <= n; i++ {
			wantOut, wantErr = append(wantOut, fmt.Sprintf("out %d", i)), append(wantErr, fmt.Sprintf("err %d", i))
		}
		if !slices.Equal(out, wantOut) || !slices.Equal(errs, wantErr) {
			t.Errorf("execution %d said %v and %v", id, out, errs)
		}
		var last time.Time
		for _, r := range s.rows("operation_messages", map[string]any{"operation_id": id}, "operation_message_id") {
			if kind, _ := r.Int("message_source_type"); kind != 30 {
				continue
			}
			at, ok := r.Time("message_time")
			if !ok || at.Before(last) || time.Since(at) > 2*time.Minute {
				t.Errorf("%q at %v, after %v", r.Text("message"), r["message_time"], last)
			}
			last = at
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	s := deployScripts(t, c, map[string]string{"flood.sh": "note ran\nseq 1 30000\n"})
	c.Worker(testcluster.WorkerConfig{})
	id := s.start("flood.sh", 0)
	s.once(id)
	c.Eventually("its last words", 30*time.Second, func() bool { return slices.Contains(s.texts(id), "30000") })
	texts := s.texts(id)
	if len(texts) > 10_100 || !slices.Contains(texts, "9000") {
		t.Errorf("%d messages of 30000 lines", len(texts))
	}
	for i, text := range texts[:9000] {
		if text != strconv.Itoa(i+1) {
			t.Fatalf("message %d is %q", i+1, text)
		}
	}
}
