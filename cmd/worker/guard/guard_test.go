//go:build unix

package guard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/cmd/worker/logger"
)

const parentEnv = "GUARD_TEST_PARENT"

func TestMain(m *testing.M) {
	if IsGuard(os.Args) {
		os.Exit(Main(os.Args))
	}
	if folder := os.Getenv(parentEnv); folder != "" {
		os.Exit(parent(folder))
	}
	goleak.VerifyTestMain(m)
}

// parent plays a worker process: it starts one guard and then does nothing.
func parent(folder string) int {
	var spec Spec
	if err := json.Unmarshal([]byte(os.Getenv(parentEnv+"_SPEC")), &spec); err != nil {
		fmt.Println(err)
		return 1
	}
	spec.Folder, spec.Lease.From = folder, Now()
	g, err := Start(spec)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("pid", g.PID())
	select {}
}

func startParent(t *testing.T, spec Spec) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentEnv+"="+spec.Folder, parentEnv+"_SPEC="+string(data))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "pid ") {
		t.Fatalf("parent said %q, %v", line, err)
	}
	return cmd
}

func script(t *testing.T, text string) Spec {
	t.Helper()
	spec := Spec{
		Folder: t.TempDir(), Command: "/bin/sh", Args: []string{"-c", text},
		Env: []string{"PATH=" + os.Getenv("PATH")}, Lease: Lease{From: Now(), For: time.Minute},
		KillBefore: 400 * time.Millisecond, Grace: 300 * time.Millisecond, Linger: 200 * time.Millisecond,
	}
	spec.Dir = spec.Folder
	t.Cleanup(func() {
		if st, err := readState(spec.Folder); err == nil {
			killGuard(st)
			killOrphans(st, 5*time.Second)
		}
	})
	return spec
}

func start(t *testing.T, spec Spec) *Guard {
	t.Helper()
	g, err := Start(spec)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(spec.Folder, logFile))
		t.Fatalf("%v\n%s", err, log)
	}
	return g
}

func wait(t *testing.T, g *Guard) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := g.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func readPID(t *testing.T, spec Spec, name string) int {
	t.Helper()
	var pid int
	until(t, name+" is written", func() bool {
		data, _ := os.ReadFile(filepath.Join(spec.Folder, name))
		if !strings.HasSuffix(string(data), "\n") {
			return false
		}
		pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		return pid > 0
	})
	return pid
}

func dead(pid int) bool {
	table, err := listProcs()
	if err != nil {
		return false
	}
	for _, p := range table {
		if p.pid == pid && !p.zombie {
			return false
		}
	}
	return true
}

func text(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	for from := int64(0); ; {
		lines, next, err := ReadOutput(folder, from)
		if err != nil {
			t.Fatal(err)
		}
		if next == from {
			return all
		}
		for _, l := range lines {
			all = append(all, string(rune(l.Stream))+" "+l.Text)
		}
		from = next
	}
}

func TestExitAndOutput(t *testing.T) {
	spec := script(t, `echo one; echo two >&2; sleep 0.05; printf 'three\r\nlast'; exit 3`)
	secret := filepath.Join(spec.Folder, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec.Remove = []string{secret}
	began := time.Now()
	g := start(t, spec)
	e := wait(t, g)
	if e.Reason != Exited || e.Code != 3 || e.Signal != "" {
		t.Fatalf("exit %+v", e)
	}
	if e.Started.Before(began) || e.Ended.Before(e.Started) {
		t.Errorf("times %v %v", e.Started, e.Ended)
	}
	got := strings.Join(text(t, spec.Folder), "|")
	if got != "O one|E two|O three|O last" && got != "E two|O one|O three|O last" {
		t.Errorf("output %q", got)
	}
	if _, err := os.Stat(secret); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("secret file is still there: %v", err)
	}
	if _, err := os.Stat(g.st.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket is still there: %v", err)
	}
	if _, err := Adopt(spec.Folder); !errors.Is(err, ErrGone) {
		t.Errorf("adopt after the end: %v", err)
	}
	if again, err := g.Wait(t.Context()); err != nil || again.Code != 3 {
		t.Errorf("second wait: %+v, %v", again, err)
	}
}

func TestModesAndSecret(t *testing.T) {
	spec := script(t, `sleep 60`)
	g := start(t, spec)
	for _, name := range []string{stateFile, socketFile, OutputFile, logFile, lockFile} {
		info, err := os.Stat(filepath.Join(spec.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	forged := g.st
	forged.Secret = "00"
	if _, err := call(forged, request{Op: opKill}); err == nil || dead(g.PID()) {
		t.Errorf("a request with a wrong secret was obeyed: %v", err)
	}
	if _, err := call(g.st, request{Op: "dance"}); err == nil {
		t.Error("an unknown operation was accepted")
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, g); e.Reason != Killed || e.Signal != "SIGKILL" || e.Code != -1 {
		t.Errorf("exit %+v", e)
	}
}

func TestLongFolderHasShortSocket(t *testing.T) {
	spec := script(t, `exit 0`)
	spec.Folder = filepath.Join(spec.Folder, strings.Repeat("long/", 40))
	if err := os.MkdirAll(spec.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	g := start(t, spec)
	if len(g.st.Socket) > maxSocketPath {
		t.Errorf("socket path %q", g.st.Socket)
	}
	wait(t, g)
	if _, err := os.Stat(filepath.Dir(g.st.Socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Run("no such program", func(t *testing.T) {
		spec := script(t, ``)
		spec.Command = filepath.Join(spec.Folder, "nothing-here")
		_, err := Start(spec)
		var failed *StartError
		if !errors.Is(err, ErrStart) || !errors.As(err, &failed) || !failed.Exit.Elsewhere {
			t.Fatalf("got %v", err)
		}
		if e, err := ReadExit(spec.Folder); err != nil || e.Reason != StartFailed {
			t.Fatalf("exit file %+v, %v", e, err)
		}
	})
	t.Run("the lease is nearly over", func(t *testing.T) {
		spec := script(t, `exit 0`)
		spec.Lease.For = 100 * time.Millisecond
		if _, err := Start(spec); err == nil || !strings.Contains(err.Error(), "lease") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("the guard says nothing", func(t *testing.T) {
		spec := script(t, `exit 0`)
		spec.Executable = "/bin/false"
		if _, err := Start(spec); !errors.Is(err, ErrNoAnswer) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestOnlyOnce(t *testing.T) {
	spec := script(t, `sleep 60`)
	g := start(t, spec)
	if _, err := Start(spec); err == nil || !strings.Contains(err.Error(), "guarded already") {
		t.Fatalf("second guard: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(spec); err == nil || !strings.Contains(err.Error(), "ended already") {
		t.Fatalf("a guard for an ended attempt: %v", err)
	}
}

func TestLeftBehind(t *testing.T) {
	// The package ends; its daemon is not allowed to run on under nobody's name.
	spec := script(t, `setsid sh -c 'echo $$ > grand; sleep 60' & while [ ! -s grand ]; do sleep 0.01; done; exit 0`)
	spec.NoCgroup = true
	g := start(t, spec)
	if e := wait(t, g); e.Reason != Exited || e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	if !dead(readPID(t, spec, "grand")) {
		t.Error("the daemon lives")
	}
}

func TestFolderWithoutGuardIsLost(t *testing.T) {
	spec := script(t, `exit 0`)
	if _, err := Adopt(spec.Folder); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	if e, err := ReadExit(spec.Folder); err != nil || e.Reason != StartFailed {
		t.Fatalf("exit %+v, %v", e, err)
	}
	// The guard that comes late must not start what was declared lost.
	if _, err := Start(spec); err == nil || !strings.Contains(err.Error(), "ended already") {
		t.Fatalf("started: %v", err)
	}
}

func TestWorkerDiesWhileItStarts(t *testing.T) {
	spec := script(t, `exit 6`)
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close() // nobody will read that it is ready
	cmd := exec.Command(os.Args[0], Verb, spec.Folder)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(data), w
	if err := cmd.Run(); err != nil {
		t.Errorf("the guard: %v", err)
	}
	w.Close()
	if e, err := ReadExit(spec.Folder); err != nil || e.Code != 6 {
		t.Errorf("exit %+v, %v", e, err)
	}
}

func TestHalfASpecStartsNothing(t *testing.T) {
	var got answer
	err := run(t.TempDir(), strings.NewReader(`{"command":"/bin/sh","lease":{"for":60`), func(a answer) { got = a },
		logger.Logger{})
	if err == nil || got.Error == "" {
		t.Fatalf("%v, %+v", err, got)
	}
}

func TestHungGuardIsKilled(t *testing.T) {
	spec := script(t, `sleep 60`)
	g := start(t, spec)
	defer func(d time.Duration) { answerTimeout = d }(answerTimeout)
	answerTimeout = 500 * time.Millisecond
	syscall.Kill(g.st.PID, syscall.SIGSTOP)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if !dead(g.PID()) {
		t.Error("the package lives")
	}
	if e := wait(t, g); e.Reason != Lost {
		t.Errorf("exit %+v", e)
	}
}
