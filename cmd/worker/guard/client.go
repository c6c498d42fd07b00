package guard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Guard is the handle of one guarded package. Its methods may be called from several goroutines.
type Guard struct {
	folder string
	st     state
	cmd    *exec.Cmd // nil for an adopted guard, which is no child of this process
	reap   sync.Once
}

const (
	startTimeout = 20 * time.Second
	killTimeout  = 15 * time.Second
	adoptTimeout = 5 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Start runs a package under a new guard process. It returns when the package runs, or fails after 20 s. Nothing else
// breaks it off: the package may already run, and a leaving worker must leave it to its guard. If the package could not
// be started, the error is a *StartError and the folder has an exit file. After any other error nothing runs, and there
// may be no exit file.
func Start(spec Spec) (*Guard, error) {
	if spec.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("guard: own executable: %w", err)
		}
		spec.Executable = exe
	}
	folder, err := filepath.Abs(spec.Folder)
	if err != nil {
		return nil, fmt.Errorf("guard: task folder: %w", err)
	}
	spec.Folder = folder
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("guard: spec: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(spec.Folder, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("guard: log file: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(spec.Executable, Verb, spec.Folder)
	cmd.Stdout, cmd.Stderr = w, log
	cmd.SysProcAttr = detached()
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("guard: start %s: %w", spec.Executable, err)
	}
	g := &Guard{folder: spec.Folder, cmd: cmd}
	abandon := func(err error) (*Guard, error) {
		cmd.Process.Kill()
		g.collect()
		if _, serr := Sweep(spec.Folder); serr != nil {
			err = errors.Join(err, serr)
		}
		return nil, err
	}
	limit := time.AfterFunc(startTimeout, func() { cmd.Process.Kill() })
	defer limit.Stop()
	if _, err := stdin.Write(data); err != nil {
		return abandon(fmt.Errorf("%w: it did not read its spec (%w), see %s", ErrNoAnswer, err, logFile))
	}
	stdin.Close()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		return abandon(fmt.Errorf("%w: it ended while it started, or hung for %v (%w), see %s",
			ErrNoAnswer, startTimeout, err, logFile))
	}
	var a answer
	if err := json.Unmarshal(bytes.TrimSpace(line), &a); err != nil {
		return abandon(fmt.Errorf("%w: %w", ErrNoAnswer, err))
	}
	switch {
	case a.Exit != nil:
		g.collect()
		return nil, &StartError{Exit: *a.Exit}
	case a.Error != "":
		g.collect()
		return nil, errors.New(a.Error)
	}
	if g.st, err = readState(spec.Folder); err != nil {
		return abandon(err)
	}
	return g, nil
}

// Adopt returns the guard of a task folder that an earlier worker process left. If the guard has ended, Adopt kills
// what may be left of the tree and returns ErrGone; ReadExit then says how the package ended.
func Adopt(folder string) (*Guard, error) {
	deadline := time.Now().Add(adoptTimeout)
	for {
		gone, err := Sweep(folder)
		if err != nil {
			return nil, err
		}
		if gone {
			return nil, fmt.Errorf("%w: %s", ErrGone, folder)
		}
		// A guard holds the folder. A new one may not have written its state yet.
		st, err := readState(folder)
		if err == nil {
			if _, err = call(st, request{Op: opStatus}); err == nil {
				return &Guard{folder: folder, st: st}, nil
			}
		}
		if time.Now().After(deadline) {
			g := &Guard{folder: folder, st: st}
			if kerr := g.Kill(); kerr != nil {
				return nil, errors.Join(err, kerr)
			}
			return nil, fmt.Errorf("%w: it did not answer and was killed: %s", ErrGone, folder)
		}
		time.Sleep(pollEvery)
	}
}

// Sweep makes sure that nothing is left of a package whose guard is dead: it kills what still lives of the tree,
// removes the files with secrets, and writes an exit file if there is none. While a living guard holds the folder,
// Sweep does nothing and returns false.
func Sweep(folder string) (gone bool, err error) {
	if _, err := ReadExit(folder); err == nil {
		return true, nil
	} else if !errors.Is(err, ErrNoExit) {
		// No guard writes an exit file that cannot be read. It is written again below.
		os.Remove(filepath.Join(folder, exitFile))
	}
	lock := flock.New(filepath.Join(folder, lockFile), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return false, fmt.Errorf("guard: lock of %s: %w", folder, err)
	}
	if !held {
		return false, nil
	}
	defer lock.Close()
	if _, err := ReadExit(folder); err == nil {
		return true, nil
	}
	// The guard writes its state before it starts anything. So nothing ran if there is no state.
	e := Exit{Reason: StartFailed, Code: -1, Elsewhere: true, Detail: "its guard process never started it"}
	st, err := readState(folder)
	if err == nil {
		e.Reason, e.Detail = Lost, "its guard process died and the package with it"
		if err := killOrphans(st, killTimeout); err != nil {
			return false, fmt.Errorf("%w: %s: %w", ErrNotGone, folder, err)
		}
		removeAll(st.Remove)
		os.Remove(st.Socket)
	} else if !errors.Is(err, fs.ErrNotExist) {
		e.Reason, e.Detail = Lost, "its guard process died and left no readable state"
	}
	e.Ended = time.Now()
	return true, writeExit(folder, e)
}

// PID returns the id of the package's own process. On Unix it is also the id of its process group and session.
func (g *Guard) PID() int { return g.st.Package }

// Extend moves the deadline. A lease that ends before the present one changes nothing. The error is ErrNoAnswer if the
// guard is gone or hangs.
func (g *Guard) Extend(l Lease) error {
	_, err := call(g.st, request{Op: opExtend, Lease: l})
	return err
}

// Stop makes the guard ask the package to end, and kill it after the grace time. It does not wait for that.
func (g *Guard) Stop() error {
	_, err := call(g.st, request{Op: opStop})
	return err
}

// Kill ends the package's whole tree at once and returns when nothing of it is left. If that takes longer than 15 s, it
// returns ErrNotGone.
func (g *Guard) Kill() error {
	defer g.collectIfGone()
	deadline := time.Now().Add(killTimeout)
	if _, err := call(g.st, request{Op: opKill}); err == nil {
		for time.Now().Before(deadline) {
			if gone, err := Sweep(g.folder); gone || err != nil {
				return err
			}
			time.Sleep(pollEvery)
		}
	}
	// The guard does not obey. Killing it ends the package's own process, and Sweep ends the rest.
	killGuard(g.st)
	for deadline = time.Now().Add(killTimeout); time.Now().Before(deadline); time.Sleep(pollEvery) {
		if gone, err := Sweep(g.folder); gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrNotGone, g.folder)
}

// Wait returns how the package ended, once nothing of it is left. The end of ctx ends only the waiting.
func (g *Guard) Wait(ctx context.Context) (Exit, error) {
	for {
		if err := g.await(ctx); err != nil {
			return Exit{}, err
		}
		// Either the package has ended or the connection broke. The folder tells which.
		if gone, err := Sweep(g.folder); err != nil {
			return Exit{}, err
		} else if gone {
			g.collectIfGone()
			return ReadExit(g.folder)
		}
		select {
		case <-ctx.Done():
			return Exit{}, ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

func (g *Guard) await(ctx context.Context) error {
	conn, err := dial(g.st, request{Op: opWait})
	if err != nil {
		return ctx.Err()
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	io.Copy(io.Discard, conn)
	return ctx.Err()
}

// collect waits for the child process, so that no zombie is left.
func (g *Guard) collect() {
	if g.cmd != nil {
		g.reap.Do(func() { g.cmd.Wait() })
	}
}

func (g *Guard) collectIfGone() {
	if _, err := ReadExit(g.folder); err == nil {
		g.collect()
	}
}
