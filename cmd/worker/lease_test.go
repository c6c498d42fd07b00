//go:build unix

package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/wire"
)

// countedScript returns a script that records each of its runs in a file.
func countedScript(t *testing.T, rest string) (script, file string) {
	file = filepath.Join(t.TempDir(), "runs")
	return fmt.Sprintf("echo $$ >> %s; %s", file, rest), file
}

// runs returns how often a countedScript has run.
func runs(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

func TestLostAnswerAndSecondDelivery(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	m.update(func() { m.loseAnswers = 1 })
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := countedScript(t, fmt.Sprintf("while [ ! -e %s ]; do sleep 0.01; done", gate))
	m.worker(m.config(t.TempDir()))
	k := m.script(1, text)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	m.update(func() { m.deliverAgain = true })
	m.until("it is delivered again", func() bool { return !m.deliverAgain })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	if n := runs(t, file); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loseAnswers != 0 || m.deliverAgain {
		t.Error("no answer was lost, or no grant was delivered again")
	}
}

// When the answer to an overtaken poll arrives, an attempt of a newer answer may have run, ended and been reported. So
// an overtaken answer starts nothing.
func TestAnOvertakenAnswerStartsNothing(t *testing.T) {
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	cfg.Masters, _ = Connect(m.server.URL, credentials(t, m.certs), nil)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, end := context.WithCancel(t.Context())
	defer w.tasks.Wait()
	defer end()
	c := newExchangeCalls(ctx, w)
	late := wire.ExchangeAnswer{
		Grants:  []wire.Grant{{TaskID: 1, Attempt: 1, Package: "p.sh", GiveUpAfterMs: 600_000}},
		Enabled: true,
	}
	c.apply(exchangeResult{sequence: 6, answer: wire.ExchangeAnswer{Enabled: true}, from: guard.Now()})
	c.apply(exchangeResult{sequence: 5, answer: late, from: guard.Now()})
	if n := len(w.heldAttempts()); n != 0 {
		t.Error("an overtaken answer started an attempt")
	}
	c.apply(exchangeResult{sequence: 7, answer: late, from: guard.Now()})
	if n := len(w.heldAttempts()) + len(w.spool.Reports()); n != 1 {
		t.Error("the newest answer started nothing")
	}
}

func TestLateGrantIsNotTaken(t *testing.T) {
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	cfg.Masters, _ = Connect(m.server.URL, credentials(t, m.certs), nil)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	g := wire.Grant{TaskID: 1, Attempt: 1, Package: "p.sh", GiveUpAfterMs: 600_000}
	from := guard.Now()
	from.Boot -= 31 * time.Second // the host slept: the monotonic clock says nothing of it
	w.takeGrant(t.Context(), g, from)
	if n := len(w.heldAttempts()); n != 0 {
		t.Error("a grant with less than half its lease left was taken")
	}
}

func TestFenced(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	dir := t.TempDir()
	k := m.script(1, fmt.Sprintf(`echo $$ > %s/pid; exec sleep 60`, dir))
	pid := filePID(t, filepath.Join(dir, "pid"))
	m.update(func() { k.fenced = true })
	m.until("the attempt is let go of", func() bool { return len(w.heldAttempts()) == 0 })
	if alive(pid) {
		t.Error("the fenced package lives")
	}
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.reports != 0 {
		t.Error("a fenced attempt was reported")
	}
}

func TestMastersAway(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	gate := filepath.Join(t.TempDir(), "gate")
	text, file := countedScript(t, fmt.Sprintf(`echo said; while [ ! -e %s ]; do sleep 0.01; done`, gate))
	k := m.script(1, text)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	m.update(func() { m.noLeader = true })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.until("the report waits", func() bool { return len(w.spool.Reports()) == 1 })
	m.update(func() { m.noLeader = false })
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	m.until("messages", func() bool { return len(m.messages[k.attemptRef()]) == 1 })
}

func TestRenewedOrEnded(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	m.update(func() { m.giveUp = 7_000 })
	cfg := m.config(t.TempDir())
	cfg.LeaseInterval, cfg.TaskHeartbeat = 7*time.Second, 300*time.Millisecond
	m.worker(cfg)
	k := m.script(1, "sleep 3; exit 0") // killed after 2 s, were it not renewed
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	text, file := countedScript(t, "sleep 60")
	k = m.script(2, text)
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	m.update(func() { m.noLeader = true })
	folder := filepath.Join(cfg.DataDirectory, "Tasks", "2-1")
	m.until(
		"its guard ends it",
		func() bool { e, err := guard.ReadExit(folder); return err == nil && e.Reason == guard.Deadline },
	)
	m.update(func() { m.noLeader = false })
	if e := m.ended(k); e.Outcome != wire.OutcomeFailed || !strings.Contains(e.Message, "lease") {
		t.Errorf("%+v", e)
	}
}
