//go:build unix

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

func TestDrain(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := countedScript(t, fmt.Sprintf(`while [ ! -e %s ]; do sleep 0.01; done`, gate))
	k := m.script(1, text)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	w.stop()
	m.until("the masters hear that nothing new is wanted", func() bool { return m.slots == 0 })
	late := m.script(2, "exit 0")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	if late.granted {
		t.Error("a draining worker took a task")
	}
}

func TestKill(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	dir := t.TempDir()
	k := m.script(1, fmt.Sprintf(`trap "" TERM; echo $$ > %s/pid; while :; do sleep 1; done`, dir))
	pid := filePID(t, filepath.Join(dir, "pid"))
	w.stop()
	w.Kill()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the package lives")
	}
	if e := m.ended(k); e.Outcome != wire.OutcomeFailed {
		t.Errorf("%+v", e)
	}
}

// Without a leader every master holds what it is asked. A worker that runs nothing ends all the same.
func TestDrainWhileMastersHoldTheCall(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	cfg.FlushTimeout = time.Minute
	w := m.worker(cfg)
	m.until("it polls", func() bool { return m.held > 0 })
	m.update(func() { m.holdSilently = true })
	m.server.CloseClientConnections() // the held poll is asked again, and refused
	m.until("a master has its call", func() bool { return m.heldSilently > 0 })
	began := time.Now()
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d >= cfg.FlushTimeout {
		t.Errorf("it took %v to end: it waited for an answer", d)
	}
}

func TestDrainWithoutMasters(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	cfg.FlushTimeout = 500 * time.Millisecond
	w := m.worker(cfg)
	text, file := countedScript(t, "exit 0")
	gate := filepath.Join(t.TempDir(), "gate")
	k := m.script(1, fmt.Sprintf("%s & while [ ! -e %s ]; do sleep 0.01; done", text[:strings.Index(text, ";")], gate))
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	m.update(func() { m.noLeader = true })
	w.stop()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	m.update(func() { m.noLeader = false })
	m.worker(cfg)
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	if n := runs(t, file); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}
