package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"scaleout/cmd/worker/logger"
	"scaleout/fsm/logkey"
)

// IsGuard reports whether the command line, with or without the program's name, is that of a guard process. A program
// that may be started as a guard calls it before anything else.
func IsGuard(args []string) bool {
	return len(args) == 3 && args[1] == Verb || len(args) == 2 && args[0] == Verb
}

// The exit codes of a guard process.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Main runs the guard process and returns its exit code when the package is gone. The arguments are os.Args, or what
// follows the program's name or the verb: the last one is the task folder. The Spec comes as JSON on standard input.
// One line of JSON on standard output tells the worker how the start went.
func Main(args []string) int {
	if !IsGuard(args) && len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: <binary> guard <task folder> (started by the worker, not by hand)")
		return exitUsage
	}
	runtime.GOMAXPROCS(2)
	// If the worker dies now, nobody reads the pipe of standard output, and Go would end this process when it writes
	// there.
	signal.Ignore(syscall.SIGPIPE)
	log := logger.New(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	reportStart := func(a answer) {
		json.NewEncoder(os.Stdout).Encode(a)
		// The worker reads to the end of the output; the guard does not depend on it afterwards.
		os.Stdout.Close()
	}
	if err := run(args[len(args)-1], os.Stdin, reportStart, log); err != nil {
		log.Error("the guard failed", logger.Err(err))
		return exitError
	}
	return exitOK
}

func run(folder string, stdin io.Reader, reportStart func(answer), log logger.Logger) error {
	refuse := func(err error) error { reportStart(answer{Error: err.Error()}); return err }
	var spec Spec
	// A worker that dies while it writes leaves an incomplete spec: nothing is started from it.
	if err := json.NewDecoder(stdin).Decode(&spec); err != nil {
		return refuse(fmt.Errorf("guard: spec: %w", err))
	}
	spec.fill()
	spec.Folder = folder
	lock := flock.New(filepath.Join(folder, lockFile), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err == nil && !held {
		err = errors.New("it is guarded already")
	}
	if err != nil {
		return refuse(fmt.Errorf("guard: %s is not guarded by this process: %w", folder, err))
	}
	defer lock.Close()
	// A process that found this folder without a guard has written an exit file under the lock. That decision stands.
	if _, err := ReadExit(folder); !errors.Is(err, ErrNoExit) {
		return refuse(fmt.Errorf("guard: %s has ended already", folder))
	}
	if left := spec.Lease.Left(Now()); left <= spec.KillBefore {
		return refuse(fmt.Errorf("guard: only %v of the lease are left; the guard would end the package at %v",
			left, spec.KillBefore))
	}
	k := &keeper{
		spec: spec, log: log, lease: spec.Lease, ops: make(chan string), ended: make(chan struct{}), clock: Now,
	}
	return k.run(reportStart)
}

// keeper is the state of a guard process.
type keeper struct {
	spec  Spec
	log   logger.Logger
	clock func() Instant
	ops   chan string
	ended chan struct{} // closed after exit is set and written

	mu    sync.Mutex
	lease Lease
	exit  Exit
	pid   int

	waiters sync.WaitGroup
}

func (k *keeper) run(reportStart func(answer)) error {
	refuse := func(err error) error { reportStart(answer{Error: err.Error()}); return err }
	// Signals are handled from before the start: one that comes before the loop must not kill the guard and leave the
	// tree.
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP)

	listener, socket, unlisten, err := listen(k.spec.Folder)
	if err != nil {
		return refuse(err)
	}
	defer unlisten()
	defer listener.Close()
	out, err := newOutput(k.spec.Folder, k.spec.MaxOutput, newMasker(k.spec.Secrets), time.Now)
	if err != nil {
		return refuse(err)
	}
	t, err := newTree(k.log, k.spec.NoCgroup)
	if err != nil {
		return refuse(err)
	}
	defer t.close()
	st := state{
		PID: os.Getpid(), Start: startTime(os.Getpid()), Boot: bootID(),
		Socket: socket, Secret: newSecret(), Cgroup: t.cgroupPath(), Remove: k.spec.Remove,
	}
	// The state is written before the start: if this process is killed right after it, the next worker must find the
	// cgroup.
	if err := writeJSON(k.spec.Folder, stateFile, st); err != nil {
		return refuse(err)
	}
	began := time.Now()
	drained, err := k.start(t, out)
	if err != nil {
		k.finish(out, Exit{
			Reason: StartFailed, Code: -1, Detail: out.masker.text(err.Error()), Ended: time.Now(),
			Elsewhere: errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOEXEC),
		})
		reportStart(answer{Exit: &k.exit})
		return nil
	}
	st.Package, st.PkgStart = t.pid(), startTime(t.pid())
	k.pid = t.pid()
	if err := writeJSON(k.spec.Folder, stateFile, st); err != nil {
		k.log.Error("the state file cannot be written", logger.Err(err))
	}
	go k.serve(listener, st.Secret)
	reportStart(answer{Running: true, Package: st.Package})

	exit := k.watch(t, sigs)
	exit.Started = began
	select {
	case <-drained:
	case <-time.After(2 * time.Second):
		// The whole tree is gone, so a process outside it holds the other end of the pipe. Its output is not waited for.
	}
	k.finish(out, exit)
	return nil
}

func (k *keeper) start(t *tree, out *output) (<-chan struct{}, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, outR.Close(), outW.Close())
	}
	err = t.start(k.spec, outW, errW)
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		return nil, err
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		done := make(chan struct{})
		go func() { out.copy(Stderr, errR); close(done) }()
		out.copy(Stdout, outR)
		<-done
	}()
	return drained, nil
}

// watch ends the package when its time or a request says so, and returns once no process of the tree is left.
func (k *keeper) watch(t *tree, sigs <-chan os.Signal) Exit {
	var reason Reason
	var graceEnd Instant
	var grace time.Duration
	terminate := func(why Reason, d time.Duration) {
		k.log.Info("ending the package", slog.String(logkey.Reason, string(why)), slog.Duration(logkey.Grace, d))
		reason, grace, graceEnd = why, d, k.clock()
		t.terminate()
	}
	began := k.clock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := k.clock()
		left := k.left(now) - k.spec.KillBefore
		runTimeLeft := k.spec.RunTimeout - began.Since(now) // meaningless if there is no RunTimeout
		switch {
		case reason != "" && graceEnd.Since(now) >= grace, left <= -k.spec.KillBefore/2:
			if reason == "" {
				reason = Deadline
			}
			t.kill()
			return k.ending(t, reason)
		case left <= 0 && reason != Deadline:
			// Half of the margin is for the polite signal, the other half for the kernel to carry out the kill.
			terminate(Deadline, min(k.spec.KillBefore/2, k.spec.Grace))
			continue
		case k.spec.RunTimeout > 0 && runTimeLeft <= 0 && reason == "":
			terminate(TimedOut, k.spec.Grace)
			continue
		}
		// A timer follows one clock, which may stand still or fall behind another clock. So no timer runs for long.
		wait := time.Second
		if left > 0 {
			wait = min(wait, left)
		} else {
			wait = min(wait, left+k.spec.KillBefore/2)
		}
		if reason != "" {
			wait = min(wait, grace-graceEnd.Since(now))
		} else if k.spec.RunTimeout > 0 {
			wait = min(wait, runTimeLeft)
		}
		timer.Reset(max(wait, time.Millisecond))
		select {
		case <-timer.C:
		case <-t.exited():
			k.linger(t)
			t.kill()
			if reason == "" {
				reason = Exited
			}
			return k.ending(t, reason)
		case op := <-k.ops:
			if op == opKill {
				t.kill()
				if reason == "" {
					reason = Killed
				}
				return k.ending(t, reason)
			}
			if reason == "" {
				terminate(Stopped, k.spec.Grace)
			}
		case s := <-sigs:
			k.log.Info("signal received", slog.String(logkey.Signal, s.String()))
			if reason == "" {
				terminate(Stopped, k.spec.Grace)
			}
		}
	}
}

// linger gives the package's remaining processes a bounded time to end by themselves: the last program of a pipeline
// often ends a moment after the shell that started it.
func (k *keeper) linger(t *tree) {
	for began := k.clock(); t.alive(); time.Sleep(10 * time.Millisecond) {
		now := k.clock()
		if began.Since(now) >= k.spec.Linger || k.left(now) <= k.spec.KillBefore {
			return
		}
	}
}

func (k *keeper) ending(t *tree, reason Reason) Exit {
	code, sig := t.result()
	return Exit{Reason: reason, Code: code, Signal: sig, Ended: time.Now()}
}

func (k *keeper) left(now Instant) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease.Left(now)
}

func (k *keeper) finish(out *output, e Exit) {
	removeAll(k.spec.Remove)
	if err := out.close(); err != nil {
		k.log.Error("the output file cannot be completed", logger.Err(err))
	}
	k.mu.Lock()
	k.exit = e
	k.mu.Unlock()
	if err := writeExit(k.spec.Folder, e); err != nil {
		// Without an exit file the next process finds the folder without a guard and calls the package lost, which is true.
		k.log.Error("the exit file cannot be written", logger.Err(err))
	}
	close(k.ended)
	k.answerWaiters()
}

func removeAll(paths []string) {
	for _, p := range paths {
		os.Remove(p)
	}
}
