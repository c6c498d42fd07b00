//go:build unix

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

// A worker that leaves ends soon and says nothing of what runs; the next one takes it over, and it ran once.
func TestLeaveAndAdopt(t *testing.T) {
	m := newMaster(t)
	cfg := m.config(t.TempDir())
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := counted(t, fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done; exit 7`, gate))
	task := m.script(1, text)
	first := m.worker(cfg)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	if why := first.Waiting(); why != "" {
		t.Errorf("a worker that works waits: %s", why)
	}
	if err := first.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	first.Leave()
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("leaving took %v", took)
	}
	m.mu.Lock()
	if task.ended != nil {
		t.Errorf("a package that runs on was reported: %+v", task.ended)
	}
	m.mu.Unlock()
	m.worker(m.config(cfg.DataDirectory))
	m.until("registered again", func() bool { return len(m.registers) == 2 })
	m.mu.Lock()
	reg := m.registers[1]
	m.mu.Unlock()
	if len(reg.Running) != 1 || reg.Running[0] != task.ref() || len(reg.Ended) != 0 {
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

func TestWaitingUntilAMasterAnswers(t *testing.T) {
	m := newMaster(t)
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
	if w.Waiting() == "" || !w.Heard().IsZero() {
		t.Error("it works with nobody")
	}
	w.pulse.turned.Store(time.Now().Add(-2 * longestTurn).UnixNano())
	if err := w.Alive(t.Context()); err == nil {
		t.Error("a loop that stands still is called alive")
	}
}
