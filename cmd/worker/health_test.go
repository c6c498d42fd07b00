//go:build unix

package worker

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

// A worker that leaves ends soon and says nothing of what runs; the next one takes it over, and it ran once.
func TestLeaveAndAdopt(t *testing.T) {
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := countedScript(t, fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done; exit 7`, gate))
	task := m.script(1, text)
	first := m.worker(cfg)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	if why := first.Waiting(); why != "" {
		t.Errorf("a worker that works waits: %s", why)
	}
	if err := first.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	first.Leave() // the package waits for its gate: whoever waits for the package waits for ever
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	if task.ended != nil {
		t.Errorf("a package that runs on was reported: %+v", task.ended)
	}
	m.mu.Unlock()
	takenOver(t, m, cfg.DataDirectory, task, gate, file)
}

// takenOver starts the next worker, lets the package go on to its end, exit code 7, and checks that it ran once.
func takenOver(t *testing.T, m *fakeMaster, data string, task *fakeTask, gate, file string) {
	t.Helper()
	m.worker(m.config(data))
	m.until("registered again", func() bool { return len(m.registers) == 2 })
	m.mu.Lock()
	reg := m.registers[1]
	m.mu.Unlock()
	if len(reg.Running) != 1 || reg.Running[0] != task.attemptRef() || len(reg.Ended) != 0 {
		t.Errorf("the second registration has %+v and %+v", reg.Running, reg.Ended)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := m.ended(task); e.Outcome != wire.OutcomeFailed || e.ExitCode != 7 {
		t.Errorf("%+v", e)
	}
	if n := runs(t, file); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// silentEnv names a file before which a guard process does not say that its package runs.
const silentEnv = "SCALEOUT_TEST_SILENT_GUARD"

// silent makes what this process says wait for a file.
func silent(gate string) {
	worker := os.Stdout
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	os.Stdout = w
	go func() {
		for range time.Tick(5 * time.Millisecond) {
			if _, err := os.Stat(gate); err == nil {
				break
			}
		}
		_, _ = io.Copy(worker, r)
		worker.Close()
	}()
}

// A worker that leaves while a package begins leaves that one, too, to its guard: it may run already.
func TestLeaveDuringAStart(t *testing.T) {
	gates := t.TempDir()
	said, done := filepath.Join(gates, "said"), filepath.Join(gates, "done")
	t.Setenv(silentEnv, said)
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	text, file := countedScript(t, fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done; exit 7`, done))
	task := m.script(1, text)
	first := m.worker(cfg)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	first.Leave()
	left := make(chan error, 1)
	go func() { left <- first.wait() }()
	select {
	case err := <-left:
		t.Errorf("the worker left before it knew what became of the start: %v", err)
		left <- nil
	case <-time.After(200 * time.Millisecond):
	}
	if err := os.WriteFile(said, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	takenOver(t, m, cfg.DataDirectory, task, done, file)
}

func TestWaitingUntilAMasterAnswers(t *testing.T) {
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	c, err := Connect(m.server.URL, credentials(t, m.certs), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg.Masters = c
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Waiting() == "" || !w.lastAnswer().IsZero() {
		t.Error("it works with nobody")
	}
	w.heartbeat.turn.Store(time.Now().Add(-2 * maxTurn).UnixNano())
	if err := w.Alive(t.Context()); err == nil {
		t.Error("a loop that stands still is called alive")
	}
}
