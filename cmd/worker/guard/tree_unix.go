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
)

// tree is the package's processes: its own one, which leads a session and a process group, and all that descend from it.
type tree struct {
	log    *slog.Logger
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

func newTree(log *slog.Logger, noCgroup bool) (*tree, error) {
	if err := becomeReaper(); err != nil {
		log.Warn("orphans of the package cannot be collected here", "err", err)
	}
	group := &cgroup{}
	if !noCgroup {
		group = newCgroup(log)
	}
	t := &tree{log: log, group: group, done: make(chan struct{}), sigs: make(chan os.Signal, 1)}
	signal.Notify(t.sigs, unix.SIGCHLD)
	return t, nil
}

// start runs the package. It does so on a thread that nothing else ever uses and that lives as long as the package: the
// parent-death signal is sent when the *thread* that started a child ends, and Go ends threads at will.
func (t *tree) start(spec Spec, stdout, stderr *os.File) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := t.startHere(spec, stdout, stderr)
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

func (t *tree) startHere(spec Spec, stdout, stderr *os.File) error {
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
	if t.group.into(attr) {
		err := run(attr)
		if err == nil {
			return nil
		}
		// Whether the cgroup or the program was refused shows the second try, without a cgroup.
		t.log.Info("not in a cgroup of its own", "err", err)
		t.group.close()
		attr = packageAttr()
	}
	return run(attr)
}

// reap collects every child: the leader's status is kept, orphans that the kernel hands to this process are only
// removed. It never uses exec.Cmd.Wait, which would compete for the same children.
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

// terminate asks every process of the tree to end. A stopped one is woken, or it would never hear of it.
func (t *tree) terminate() {
	t.signalGroup(unix.SIGTERM)
	for _, p := range t.members() {
		if p.pgrp != t.leader {
			unix.Kill(p.pid, unix.SIGTERM)
		}
		unix.Kill(p.pid, unix.SIGCONT)
	}
}

// signalGroup signals the whole group at once, which no fork can escape, as long as the group's number is surely ours.
func (t *tree) signalGroup(sig unix.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reaped {
		unix.Kill(-t.leader, sig)
	}
}

// kill ends every process of the tree and returns when none is left. Against a process that the kernel cannot kill it
// waits for ever: as long as one lives, nobody may be told that the package ended.
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
			t.log.Warn("processes that do not die", "count", len(left), "since", time.Since(began))
		}
	}
	<-t.done
}

func (t *tree) close() {
	t.group.close()
	signal.Stop(t.sigs)
	close(t.sigs)
}

// killGuard ends a guard process, if the process with its number is still the same one.
func killGuard(st state) {
	if st.PID > 0 && st.Boot == bootID() && startTime(st.PID) == st.Start {
		unix.Kill(st.PID, unix.SIGKILL)
	}
}

// killLeft kills what a dead guard left of its tree and waits until it is gone: the cgroup, and the session and process
// group that the package led.
func killLeft(st state, timeout time.Duration) error {
	if st.Boot != bootID() {
		return nil
	}
	deadline := time.Now().Add(timeout)
	for {
		left, err := leftOf(st)
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

func leftOf(st state) ([]proc, error) {
	if st.Package <= 1 {
		return nil, nil
	}
	table, err := listProcs()
	if err != nil {
		return nil, err
	}
	var left []proc
	for _, p := range table {
		// While any member lives, the kernel gives the group's number to nobody else. So a leader that began at another
		// time means that all members are gone and the number was given away.
		if p.pid == st.Package && p.start != st.PkgStart {
			return nil, nil
		}
		if (p.pgrp == st.Package || p.session == st.Package) && !p.zombie {
			left = append(left, p)
		}
	}
	return left, nil
}

// descend picks the processes that descend from root, not counting those that are only waiting to be collected.
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
