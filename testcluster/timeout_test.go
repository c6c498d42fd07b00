package testcluster_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// bounded starts an execution with server options.
func (s *scriptProject) bounded(pkg string, retries int, options map[string]any) int64 {
	s.t.Helper()
	r := s.call("create_execution", map[string]any{"folder_name": "F", "project_name": "P", "package_name": pkg})
	id, _ := r.Int("execution_id")
	for name, value := range options {
		s.call("set_execution_parameter_value",
			map[string]any{"execution_id": id, "object_type": 50, "parameter_name": name, "parameter_value": value})
	}
	s.Begin(id, retries)
	return id
}

// No worker takes an execution, and its leader ends. The next leader ends the execution when its time is over: not
// earlier, and once.
func TestAnExecutionWaitsNoLongerThanItMay(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, onceScript)
	short := s.bounded("once.sh", 3, map[string]any{"QUEUE_TIMEOUT": 8})
	free := s.bounded("once.sh", 0, map[string]any{"QUEUE_TIMEOUT": 0})
	old := c.Leader()
	c.Kill(old)
	c.Restart(old)
	row := c.WaitStatus(short, 60*time.Second, 4)
	created, _ := row.Time("created_time")
	if ended, _ := row.Time("end_time"); ended.Sub(created) < 8*time.Second {
		t.Errorf("it was ended after %v", ended.Sub(created))
	}
	attempts := s.attempts(short)
	if len(attempts) != 1 || attempts[0].Text("reason") != "queue_timeout" ||
		!strings.Contains(attempts[0].Text("message"), "within 8s, the execution's QUEUE_TIMEOUT (no_worker_enabled)") {
		t.Errorf("%v", attempts)
	}
	if texts := s.texts(short); !slices.ContainsFunc(texts,
		func(text string) bool { return strings.Contains(text, "QUEUE_TIMEOUT") }) {
		t.Errorf("%q", texts)
	}
	c.Worker(testcluster.WorkerConfig{})
	s.once(free)
	if n := s.ran(short, "ran"); n != 0 {
		t.Errorf("what had ended ran %d times", n)
	}
	c.WaitHashes()
}

// An attempt that runs too long is ended, counts as failed and is tried again.
func TestAnAttemptRunsNoLongerThanItMay(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c, map[string]string{"slow.sh": "note ran\nsleep 60\n"})
	c.Worker(testcluster.WorkerConfig{})
	id := s.bounded("slow.sh", 1, map[string]any{"RUN_TIMEOUT": 2})
	c.WaitStatus(id, 60*time.Second, 4)
	attempts := s.attempts(id)
	if len(attempts) != 2 || s.ran(id, "ran") != 2 {
		t.Fatalf("%d attempts of which %d ran", len(attempts), s.ran(id, "ran"))
	}
	for _, a := range attempts {
		if a.Text("reason") != wire.EndedRunTimeout || !strings.Contains(a.Text("message"), "longer than 2s (RUN_TIMEOUT)") {
			t.Errorf("%v", a)
		}
	}
	c.Eventually("its messages say so", 20*time.Second, func() bool {
		return slices.ContainsFunc(s.texts(id),
			func(text string) bool { return strings.Contains(text, "RUN_TIMEOUT allows") })
	})
	c.WaitHashes()
}
