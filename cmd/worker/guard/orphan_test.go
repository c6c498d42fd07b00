//go:build unix

package guard

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestWorkerKilled(t *testing.T) {
	spec := script(t, `echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 5`)
	spec.Lease.For = 30 * time.Second
	cmd := startParent(t, spec)
	cmd.Process.Kill()
	cmd.Wait()
	g, err := Adopt(spec.Folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Extend(Lease{From: Now(), For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(spec.Folder, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, g); e.Reason != Exited || e.Code != 5 {
		t.Errorf("exit %+v", e)
	}
	if got := text(t, spec.Folder); len(got) != 2 {
		t.Errorf("output %q", got)
	}
}

func TestWorkerStopped(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			spec := script(t, `echo $$ > ready; sleep 60`)
			spec.Lease.For = 4 * time.Second // enough for three processes to start on a busy machine
			cmd := startParent(t, spec)
			pid := readPID(t, spec, "ready")
			cmd.Process.Signal(sig)
			until(t, "the guard has ended the package", func() bool { _, err := ReadExit(spec.Folder); return err == nil })
			if !dead(pid) {
				t.Error("the package lives")
			}
			if e, _ := ReadExit(spec.Folder); e.Reason != Deadline {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

func TestGuardKilled(t *testing.T) {
	spec := script(t, `setsid sh -c 'echo $$ > far; sleep 60' & sh -c 'echo $$ > near; sleep 60' & wait`)
	secret := filepath.Join(spec.Folder, "secret")
	os.WriteFile(secret, nil, 0o600)
	spec.Remove = []string{secret}
	g := start(t, spec)
	near, far := readPID(t, spec, "near"), readPID(t, spec, "far")
	syscall.Kill(g.st.PID, syscall.SIGKILL)
	if runtime.GOOS == "linux" {
		until(t, "the package dies with its guard", func() bool { return dead(g.PID()) })
	}
	g.collect()
	if _, err := Adopt(spec.Folder); !errors.Is(err, ErrGone) {
		t.Fatalf("adopt: %v", err)
	}
	if !dead(g.PID()) || !dead(near) {
		t.Error("the process group lives")
	}
	if g.st.Cgroup != "" && !dead(far) {
		t.Error("the cgroup lives")
	}
	syscall.Kill(far, syscall.SIGKILL)
	if e := wait(t, g); e.Reason != Lost {
		t.Errorf("exit %+v", e)
	}
	if _, err := os.Stat(secret); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("secret file is still there: %v", err)
	}
}

func TestSweepWithoutCgroup(t *testing.T) {
	// What a guard without a cgroup leaves is found by session and group; a number given away is not touched.
	cmd := exec.Command("/bin/sh", "-c", `sleep 60 & sleep 60`)
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	until(t, "two in the group", func() bool {
		left, _ := orphansOf(state{Package: pid, PkgStart: startTime(pid)})
		return len(left) >= 2
	})
	if left, err := orphansOf(state{Package: pid, PkgStart: startTime(pid) + 1}); err != nil || len(left) != 0 {
		t.Fatalf("found processes of another: %v %v", left, err)
	}
	folder := t.TempDir()
	st := state{PID: 1 << 30, Boot: bootID(), Package: pid, PkgStart: startTime(pid)}
	if err := writeJSON(folder, stateFile, st); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait() // only the child in its group is left
	if gone, err := Sweep(folder); !gone || err != nil {
		t.Fatalf("sweep: %v, %v", gone, err)
	}
	if left, _ := orphansOf(st); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if e, err := ReadExit(folder); err != nil || e.Reason != Lost {
		t.Errorf("exit %+v, %v", e, err)
	}
}
