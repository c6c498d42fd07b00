//go:build unix

package worker

import (
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

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/wire"
)

func TestRunsAndReports(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	ok := m.script(1,
		`echo "hello $PARAM_NAME"; echo oops >&2; cat "$SCALEOUT_PARAMETERS" > /dev/null; echo "$SCALEOUT_EXECUTION_ID $SCALEOUT_ATTEMPT $SCALEOUT_FOLDER $SCALEOUT_PROJECT $SCALEOUT_PACKAGE"`,
		wire.Parameter{ObjectType: 30, Name: "name", Type: "String", Value: "world"})
	bad := m.script(2, `exit 3`)
	none := m.run(3, "p.nothing", m.deploy(map[string]string{"p.nothing": "x"}))
	if e := m.ended(ok); e.Outcome != wire.OutcomeSucceeded || e.ExitCode != 0 {
		t.Errorf("%+v", e)
	}
	if e := m.ended(bad); e.Outcome != wire.OutcomeFailed || e.ExitCode != 3 || e.Message != "exit code 3" {
		t.Errorf("%+v", e)
	}
	if e := m.ended(none); e.Outcome != wire.OutcomeReturned || !strings.Contains(e.Message, ".nothing") {
		t.Errorf("%+v", e)
	}
	m.until("messages", func() bool {
		return len(m.messages[ok.attemptRef()]) == 3 && len(m.messages[bad.attemptRef()]) == 1
	})
	got := strings.Join(m.texts(ok), "|")
	if !strings.Contains(got, "hello world") || !strings.Contains(got, "1 1 F P p.sh") {
		t.Errorf("messages %q", got)
	}
	m.mu.Lock()
	for _, msg := range m.messages[ok.attemptRef()] {
		want := 70
		if msg.Text == "oops" {
			want = 120
		}
		if msg.Type != want || msg.SourceType != sourcePackage || time.Since(msg.Time) > time.Minute {
			t.Errorf("message %+v", msg)
		}
	}
	if words := m.messages[bad.attemptRef()][0]; words.SourceType != sourceExternal {
		t.Errorf("the worker's own words look like the package's: %+v", words)
	}
	reg := m.registers[0]
	m.mu.Unlock()
	if reg.AgentID != w.ID() || reg.MachineID != "machine" || reg.LeaseMs != 60_000 || reg.ErrorToleranceMs != 600_000 ||
		reg.MaxTaskCount != 4 {
		t.Errorf("registered as %+v", reg)
	}
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(w.cfg.DataDirectory, "spool", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left in the spool: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(w.cfg.TasksRootFolder, "1-1", "parameters.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the parameters are still there: %v", err)
	}
}

func TestAgentIDIsKept(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	dir := t.TempDir()
	// What a worker leaves that was killed while it wrote its id.
	if err := os.WriteFile(filepath.Join(dir, agentFile+".tmp-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 2 {
		w := m.worker(m.config(dir))
		ids = append(ids, w.ID())
		n := len(ids)
		m.until("registered", func() bool { return len(m.registers) == n })
		w.stop()
		if err := w.wait(); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] != ids[1] || ids[0] != strings.ToUpper(ids[0]) {
		t.Errorf("ids %v", ids)
	}
	if m.registers[0].Incarnation == m.registers[1].Incarnation {
		t.Error("two processes registered as the same incarnation")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, agentFile+".*")); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestStop(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	dir := t.TempDir()
	k := m.script(
		1,
		fmt.Sprintf(`(trap "" TERM; setsid sh -c 'trap "" TERM; echo $$ > %s/grand; while :; do sleep 1; done') & wait`, dir),
	)
	pid := filePID(t, filepath.Join(dir, "grand"))
	m.update(func() { k.stop = true })
	if e := m.ended(k); e.Outcome != wire.OutcomeCanceled {
		t.Errorf("%+v", e)
	}
	if alive(pid) {
		t.Error("the grandchild lives")
	}
	// Succeeded before the kill is succeeded.
	k = m.script(2, fmt.Sprintf(`trap 'exit 0' TERM; echo $$ > %s/polite; while :; do sleep 0.01; done`, dir))
	filePID(t, filepath.Join(dir, "polite"))
	m.update(func() { k.stop = true })
	if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
}

func TestEveryProjectOnce(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	digest := m.deploy(map[string]string{"p.sh": "pwd; touch here 2>/dev/null; true"})
	var ks []*fakeTask
	for i := range int64(20) {
		ks = append(ks, m.run(i+1, "p.sh", digest))
	}
	for _, k := range ks {
		if e := m.ended(k); e.Outcome != wire.OutcomeSucceeded {
			t.Errorf("%+v", e)
		}
	}
	m.mu.Lock()
	fetched, most := m.fetched, m.mostHeld
	m.mu.Unlock()
	if fetched != 1 {
		t.Errorf("downloaded %d times", fetched)
	}
	if most > 2 {
		t.Errorf("%d exchanges at once", most)
	}
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	// A damaged file in the cache is not used.
	copies, err := filepath.Glob(filepath.Join(w.cfg.DataDirectory, "projects", digest+"*", projectFile))
	if err != nil || len(copies) == 0 {
		t.Fatal(copies, err)
	}
	for _, path := range copies {
		os.Chmod(path, 0o600)
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.worker(w.cfg)
	if e := m.ended(m.run(100, "p.sh", digest)); e.Outcome != wire.OutcomeSucceeded {
		t.Errorf("%+v", e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fetched != 2 {
		t.Errorf("downloaded %d times", m.fetched)
	}
}

func TestPackageThatChangesItsProject(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	digest := m.deploy(map[string]string{"p.sh": `[ ! -e here ] || exit 9; touch here; echo "exit 8" >> p.sh; exit 0`})
	for i := range int64(3) {
		if e := m.ended(m.run(i+1, "p.sh", digest)); e.Outcome != wire.OutcomeSucceeded {
			t.Errorf("run %d: %+v", i, e)
		}
	}
	if m.fetched != 1 {
		t.Errorf("downloaded %d times", m.fetched)
	}
}

func TestMessagesThatNobodyTakes(t *testing.T) {
	m := newFakeMaster(t)
	dir := t.TempDir()
	cfg := m.config(dir)
	s, err := spool.Open(filepath.Join(dir, "spool"), spool.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for id := range int64(3) {
		k := spool.Key{TaskID: 1000 + id, Attempt: 1}
		if _, err := s.CloseAttempt(k, []spool.Message{{Time: time.Now(), Text: "of another catalog"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w := m.worker(cfg)
	k := m.script(1, "echo hello")
	m.until("the other messages", func() bool { return len(m.messages[k.attemptRef()]) == 1 })
	m.until("nothing waits any more", func() bool { idle, _, _ := w.spool.Idle(); return idle })
}

// A package that runs longer than its execution's RUN_TIMEOUT is ended by its guard, also when no master answers, and
// the report says what ended it.
func TestRunTimeoutNeedsNoMaster(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	cfg := m.config(t.TempDir())
	m.worker(cfg)
	text, file := countedScript(t, "sleep 60")
	k := m.script(1, text, wire.Parameter{ObjectType: 50, Name: "RUN_TIMEOUT", Type: "Int32", Value: "2"})
	m.until("it runs", func() bool { return runs(t, file) == 1 })
	m.update(func() { m.noLeader = true })
	folder := filepath.Join(cfg.DataDirectory, "Tasks", "1-1")
	m.until(
		"its guard ends it",
		func() bool { e, err := guard.ReadExit(folder); return err == nil && e.Reason == guard.TimedOut },
	)
	m.update(func() { m.noLeader = false })
	e := m.ended(k)
	if e.Outcome != wire.OutcomeFailed || e.Code != wire.EndedRunTimeout ||
		!strings.Contains(e.Message, "longer than 2s (RUN_TIMEOUT)") {
		t.Errorf("%+v", e)
	}
	m.until("its messages say so", func() bool {
		return slices.ContainsFunc(
			m.messages[k.attemptRef()],
			func(msg wire.Message) bool { return strings.Contains(msg.Text, "RUN_TIMEOUT") },
		)
	})
}

func TestBadProjects(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	junk := strings.Repeat("ab", 32)
	m.update(func() { m.blobs[junk] = []byte("not what the digest says") })
	if e := m.ended(m.run(1, "p.sh", junk)); e.Outcome != wire.OutcomeReturned {
		t.Errorf("wrong content: %+v", e)
	}
	if e := m.ended(m.run(2, "p.sh", "../../etc/passwd")); e.Outcome != wire.OutcomeFailed {
		t.Errorf("no digest: %+v", e)
	}
	if e := m.ended(m.run(3, "q.sh", m.deploy(map[string]string{"p.sh": ""}))); e.Outcome != wire.OutcomeFailed ||
		!strings.Contains(e.Message, "q.sh") {
		t.Errorf("no such package: %+v", e)
	}
}

func TestRefused(t *testing.T) {
	m := newFakeMaster(t)
	m.update(func() {
		m.refusal = &wire.Problem{Status: 422, Code: wire.CodeLeaseTooShort, Detail: "LeaseInterval 6s must be more than 12s"}
	})
	w := m.worker(m.config(t.TempDir()))
	err := w.wait()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "12s") {
		t.Errorf("%v", err)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	if _, err := New(w.cfg); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "DataDirectory") {
		t.Errorf("%v", err)
	}
	other := w.cfg
	other.DataDirectory = t.TempDir()
	if _, err := New(other); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "TasksRootFolder") {
		t.Errorf("%v", err)
	}
}

func TestRegistersAgain(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	m.until("registered", func() bool { return len(m.registers) == 1 })
	// What this machine can run is told again when it turns out to have changed.
	m.ended(m.run(1, "p.nothing", m.deploy(map[string]string{"p.nothing": ""})))
	m.until("registered again", func() bool { return len(m.registers) == 2 })
}

func TestConfig(t *testing.T) {
	masters, err := Connect("https://127.0.0.1:1", credentials(t, newFakeMaster(t).certs), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Masters: masters, DataDirectory: t.TempDir()}
	for name, change := range map[string]func(*Config){
		"DataDirectory":           func(c *Config) { c.DataDirectory = "" },
		"TasksRootFolder":         func(c *Config) { c.TasksRootFolder = c.DataDirectory },
		"AgentId":                 func(c *Config) { c.AgentID = "seven" },
		"MaxTaskCount":            func(c *Config) { c.MaxTaskCount = -1 },
		"LeaseInterval":           func(c *Config) { c.LeaseInterval = time.Second },
		"HeartbeatErrorTolerance": func(c *Config) { c.ErrorTolerance = 10 * time.Second },
		"no masters":              func(c *Config) { c.Masters = nil },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := New(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
	}
	cfg := good
	cfg.AgentID = "{6f1c3a9e-1111-4222-8333-444455556666}"
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.ID() != "6F1C3A9E-1111-4222-8333-444455556666" {
		t.Errorf("id %s", w.ID())
	}
}

func TestLongOutputIsBoundedAndEndsWithItsEnd(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	k := m.script(
		1,
		`i=0; while [ $i -lt 12000 ]; do echo "line $i"; i=$((i+1)); done; sleep 0.3; echo "the reason" >&2; exit 1`,
	)
	m.ended(k)
	m.until("the last message", func() bool {
		l := m.messages[k.attemptRef()]
		return len(l) > 0 && l[len(l)-1].Text == "exit code 1"
	})
	got := m.texts(k)
	if len(got) > 10_100 || got[0] != "line 0" || got[9_000] != "line 9000" ||
		!slices.Contains(got[len(got)-25:], "the reason") {
		t.Errorf("%d messages, the last ones %q", len(got), got[len(got)-3:])
	}
}

func filePID(t *testing.T, path string) int {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		data, _ := os.ReadFile(path)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && strings.HasSuffix(string(data), "\n") {
			return pid
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s was never written", path)
		}
	}
}

// alive reports whether a process lives. A zombie does not: in a container perhaps nobody collects it.
func alive(pid int) bool {
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return !strings.Contains(string(data), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}
