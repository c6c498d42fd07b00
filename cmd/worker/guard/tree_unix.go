//go:build unix

package guard

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"scaleout/cmd/worker/logger"
	"scaleout/fsm/logkey"
)

// tree is the package's processes: its own process, which leads a session and a process group, and all its descendants.
type tree struct {
	log    logger.Logger
	group  *cgroup
	sigs   chan os.Signal
	leader int
	done   chan struct{} // closed when the leader has been reaped

	mu     sync.Mutex
	reaped bool
	status unix.WaitStatus
}

// proc is one row of the system's process table.
type proc struct {
	pid, ppid, pgrp, session int
	start                    uint64
	zombie                   bool
}

func newTree(log logger.Logger, noCgroup bool) (*tree, error) {
	if err := becomeReaper(); err != nil {
		log.Warn("orphans of the package cannot be collected on this system", logger.Err(err))
	}
	group := &cgroup{}
	if !noCgroup {
		group = newCgroup(log)
	}
	t := &tree{log: log, group: group, done: make(chan struct{}), sigs: make(chan os.Signal, 1)}
	signal.Notify(t.sigs, unix.SIGCHLD)
	return t, nil
}

// start runs the package. It uses a thread that nothing else uses and that lives as long as the package: the kernel
// sends the parent-death signal when the *thread* that started a child ends, and Go may end threads at any time.
func (t *tree) start(spec Spec, stdout, stderr *os.File) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := t.startOnThisThread(spec, stdout, stderr)
		started <- err
		if err == nil {
			<-t.done
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	go t.reap()
	return nil
}

func (t *tree) startOnThisThread(spec Spec, stdout, stderr *os.File) error {
	run := func(attr *unix.SysProcAttr) error {
		cmd := exec.Command(spec.Command, spec.Args...)
		cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Env, spec.Dir, stdout, stderr
		if cmd.Env == nil {
			cmd.Env = []string{}
		}
		cmd.SysProcAttr = attr
		if err := cmd.Start(); err != nil {
			return err
		}
		t.leader = cmd.Process.Pid
		return nil
	}
	attr := packageAttr()
	if t.group.join(attr) {
		err := run(attr)
		if err == nil {
			return nil
		}
		// A second try without a cgroup shows whether the cgroup or the program was the reason.
		t.log.Info("the package cannot be started in a cgroup of its own", logger.Err(err))
		t.group.close()
		attr = packageAttr()
	}
	return run(attr)
}

// reap collects every child. It keeps the leader's status; orphans that the kernel gives to this process are only
// removed. Nothing here uses exec.Cmd.Wait, which would compete for the same children.
func (t *tree) reap() {
	for {
		for {
			var ws unix.WaitStatus
			t.mu.Lock()
			pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
			if pid == t.leader && !t.reaped && (ws.Exited() || ws.Signaled()) {
				t.reaped, t.status = true, ws
				close(t.done)
			}
			t.mu.Unlock()
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if pid <= 0 {
				break
			}
		}
		if _, open := <-t.sigs; !open {
			return
		}
	}
}

func (t *tree) pid() int                { return t.leader }
func (t *tree) cgroupPath() string      { return t.group.path() }
func (t *tree) exited() <-chan struct{} { return t.done }
func (t *tree) alive() bool             { return len(t.members()) > 0 }

func (t *tree) result() (code int, sig string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.Signaled() {
		return -1, unix.SignalName(t.status.Signal())
	}
	return t.status.ExitStatus(), ""
}

// terminate asks every process of the tree to end. It continues suspended processes, which could not handle the signal.
func (t *tree) terminate() {
	t.signalGroup(unix.SIGTERM)
	for _, p := range t.members() {
		if p.pgrp != t.leader {
			unix.Kill(p.pid, unix.SIGTERM)
		}
		unix.Kill(p.pid, unix.SIGCONT)
	}
}

// signalGroup signals the whole group at once, so that no fork can escape. It does nothing once the leader is reaped:
// the group's number may belong to another group then.
func (t *tree) signalGroup(sig unix.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reaped {
		unix.Kill(-t.leader, sig)
	}
}

// kill ends every process of the tree and returns when none is left. It waits without limit for a process that the
// kernel cannot kill: while one lives, nobody may be told that the package has ended.
func (t *tree) kill() {
	wait := 2 * time.Millisecond
	for began := time.Now(); ; {
		t.group.kill()
		t.signalGroup(unix.SIGKILL)
		left := t.members()
		for _, p := range left {
			unix.Kill(p.pid, unix.SIGKILL)
		}
		if len(left) == 0 {
			break
		}
		time.Sleep(wait)
		if wait = min(2*wait, time.Second); wait == time.Second {
			t.log.Warn("processes do not die", slog.Int(logkey.Number, len(left)), slog.Duration(logkey.For, time.Since(began)))
		}
	}
	<-t.done
}

func (t *tree) close() {
	t.group.close()
	signal.Stop(t.sigs)
	close(t.sigs)
}

// killGuard kills a guard process if its pid still belongs to the same process.
func killGuard(st state) {
	if st.PID > 0 && st.Boot == bootID() && startTime(st.PID) == st.Start {
		unix.Kill(st.PID, unix.SIGKILL)
	}
}

// killOrphans kills what a dead guard left of its tree, and waits until it is gone: the cgroup, and the session and
// process group that the package led.
func killOrphans(st state, timeout time.Duration) error {
	if st.Boot != bootID() {
		return nil
	}
	deadline := time.Now().Add(timeout)
	for {
		left, err := orphansOf(st)
		if err != nil {
			return err
		}
		killCgroup(st.Cgroup)
		for _, p := range left {
			unix.Kill(p.pid, unix.SIGKILL)
		}
		if len(left) == 0 && removeCgroup(st.Cgroup) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("processes do not die")
		}
		time.Sleep(pollEvery)
	}
}

func orphansOf(st state) ([]proc, error) {
	if st.Package <= 1 {
		return nil, nil
	}
	table, err := listProcs()
	if err != nil {
		return nil, err
	}
	var left []proc
	for _, p := range table {
		// While any member lives, the kernel does not reuse the group's number. So if the leader has another start time, all
		// members are gone and the number belongs to another group.
		if p.pid == st.Package && p.start != st.PkgStart {
			return nil, nil
		}
		if (p.pgrp == st.Package || p.session == st.Package) && !p.zombie {
			left = append(left, p)
		}
	}
	return left, nil
}

// descend returns the processes that descend from root, without zombies.
func descend(table []proc, root int) []proc {
	children := make(map[int][]proc)
	for _, p := range table {
		children[p.ppid] = append(children[p.ppid], p)
	}
	var found []proc
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			if !p.zombie {
				found = append(found, p)
			}
			next = append(next, p.pid)
		}
	}
	return found
}

func detached() *unix.SysProcAttr { return &unix.SysProcAttr{Setsid: true} }
