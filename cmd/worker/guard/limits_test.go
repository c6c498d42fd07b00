//go:build unix

package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestDeadlineKillsGrandchildren(t *testing.T) {
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("no cgroup %v", without), func(t *testing.T) { deadlineKills(t, without) })
	}
}

func deadlineKills(t *testing.T, without bool) {
	t.Parallel()
	// The child ignores the polite signal; the grandchild leaves the session and its parent.
	spec := script(t, `trap "" TERM
		(setsid sh -c 'trap "" TERM; echo $$ > grand; while :; do sleep 1; done' &)
		while :; do sleep 1; done`)
	// The kill comes long before the deadline, so that a busy machine carries it out in time.
	spec.KillBefore, spec.NoCgroup = 20*time.Second, without
	spec.Lease = Lease{From: Now(), For: 22 * time.Second}
	deadline := time.Now().Add(spec.Lease.For)
	g := start(t, spec)
	grand := readPID(t, spec, "grand")
	e := wait(t, g)
	if late := e.Ended.Sub(deadline); late > 0 {
		t.Errorf("it ended %v after the deadline", late)
	}
	if e.Reason != Deadline || e.Signal != "SIGKILL" {
		t.Errorf("exit %+v", e)
	}
	if !dead(grand) || !dead(g.PID()) {
		t.Error("a process outlived the exit file")
	}
}

// A package that runs for longer than it may is ended, politely at first, whatever its lease says.
func TestRunTimeout(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		signal     string
		code       int
	}{
		{"it ends when asked", `trap "exit 7" TERM; while :; do sleep 0.05; done`, "", 7},
		{"it does not", `trap "" TERM; while :; do sleep 0.05; done`, "SIGKILL", -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			spec := script(t, tc.text)
			spec.RunTimeout, spec.Grace = 500*time.Millisecond, time.Second
			began := time.Now()
			e := wait(t, start(t, spec))
			if e.Reason != TimedOut || e.Signal != tc.signal || e.Code != tc.code {
				t.Errorf("exit %+v", e)
			}
			if ran := e.Ended.Sub(began); ran < spec.RunTimeout {
				t.Errorf("it was ended after %v", ran)
			}
		})
	}
	t.Run("it is quicker", func(t *testing.T) {
		t.Parallel()
		spec := script(t, `exit 3`)
		spec.RunTimeout = time.Minute
		if e := wait(t, start(t, spec)); e.Reason != Exited || e.Code != 3 {
			t.Errorf("exit %+v", e)
		}
	})
}

func TestExtend(t *testing.T) {
	spec := script(t, `while [ ! -e go ]; do sleep 0.02; done; exit 0`)
	spec.Lease = Lease{From: Now(), For: 4 * time.Second}
	g := start(t, spec)
	if err := g.Extend(Lease{From: Now(), For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := g.Extend(spec.Lease); err != nil { // late and shorter
		t.Fatal(err)
	}
	if a, err := call(g.st, request{Op: opStatus}); err != nil || time.Duration(a.Left) < 50*time.Second {
		t.Fatalf("left %v, %v", time.Duration(a.Left), err)
	}
	until(t, "the first deadline has passed", func() bool { return spec.Lease.Left(Now()) < 0 })
	if dead(g.PID()) {
		t.Fatal("it was killed at the first deadline")
	}
	if err := os.WriteFile(filepath.Join(spec.Folder, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, g); e.Reason != Exited || e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	if err := g.Extend(Lease{From: Now(), For: time.Minute}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("extend after the end: %v", err)
	}
}

func TestStop(t *testing.T) {
	t.Run("polite", func(t *testing.T) {
		spec := script(t, `trap 'echo bye; exit 7' TERM; echo $$ > ready; while :; do sleep 0.02; done`)
		spec.Grace = 10 * time.Second
		g := start(t, spec)
		readPID(t, spec, "ready")
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, g); e.Reason != Stopped || e.Code != 7 {
			t.Errorf("exit %+v", e)
		}
		if got := text(t, spec.Folder); !slices.Contains(got, "O bye") {
			t.Errorf("output %q", got)
		}
	})
	t.Run("with a grandchild that will not go", func(t *testing.T) {
		spec := script(t, `(trap "" TERM; sh -c 'echo $$ > grand; while :; do sleep 1; done') & wait`)
		g := start(t, spec)
		grand := readPID(t, spec, "grand")
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, g); e.Reason != Stopped {
			t.Errorf("exit %+v", e)
		}
		if !dead(grand) {
			t.Error("the grandchild lives")
		}
	})
	t.Run("stopped package", func(t *testing.T) {
		spec := script(t, `echo $$ > ready; kill -STOP $$; sleep 60`)
		g := start(t, spec)
		readPID(t, spec, "ready")
		if err := g.Stop(); err != nil {
			t.Fatal(err)
		}
		if e := wait(t, g); e.Reason != Stopped || e.Signal != "SIGTERM" {
			t.Errorf("exit %+v", e)
		}
	})
}
