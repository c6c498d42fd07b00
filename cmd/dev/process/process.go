package process

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Command is a program to start.
type Command struct {
	Name string // in errors
	Path string
	Args []string // without the program's own name
	Dir  string   // "": that of this process
	Env  []string // the whole environment
	// Stderr is a file, not a pipe: the child must be able to say its last words after this process is gone.
	Stderr *os.File
}

// Process is a child, running or ended. It is safe for concurrent use.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
	err   error // written before done is closed
}

// Start starts a program that calls [Obey].
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Stderr = c.Dir, c.Stderr
	cmd.Env = append(append([]string(nil), c.Env...), variable+"=1")
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{cmd: cmd, stdin: stdin, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the number that the system gave the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// EndsWithin waits for the end of the process, at most for d.
func (p *Process) EndsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// Err is nil after exit code 0. It is for after Done.
func (p *Process) Err() error { return p.err }

// ExitCode is -1 when a signal ended the process. It is for after Done.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Stop asks for an orderly end, as a first SIGTERM does.
func (p *Process) Stop() { p.say(wordStop) }

// Hurry asks the process to end what it runs and then itself, as a second SIGTERM does.
func (p *Process) Hurry() { p.say(wordHurry) }

// say does not wait: a process that is stopped or gone reads nothing, and one word fits into any pipe.
func (p *Process) say(word string) { _, _ = io.WriteString(p.stdin, word+"\n") }

// Signal sends a signal. That the process has ended is no error.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends the process at once, without a word: SIGKILL.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }
