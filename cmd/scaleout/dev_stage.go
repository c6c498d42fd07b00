package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"scaleout/cluster"
	"scaleout/httpapi/client"
)

// stage is a running dev cluster: this process's children.
type stage struct {
	layout
	exe    string
	out    io.Writer
	lock   *flock.Flock
	client *client.Client

	saying  sync.Mutex
	changes sync.Mutex // one restart at a time

	mu       sync.Mutex
	children map[string]*child
	up       bool // it was ready once: before that, who waits for it says what is wrong
	stopping bool
}

// child is one process of the cluster, alive or dead.
type child struct {
	name     string
	cmd      *exec.Cmd
	leash    io.WriteCloser
	begun    time.Time
	done     chan struct{} // closed when it has ended; err is set then
	err      error
	expected bool // its end was asked for; stage.mu guards it
}

// How long an orderly end may take.
const (
	drainTime = 10 * time.Second // of packages that run, when all is stopped
	killTime  = 15 * time.Second // of a worker that kills its packages
	stopTime  = 15 * time.Second // of a master
	readyTime = 90 * time.Second
)

var errStopping = errors.New("dev is stopping")

func (s *stage) say(format string, args ...any) {
	s.saying.Lock()
	defer s.saying.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// start starts one master or worker; an earlier process of that name must have ended.
func (s *stage) start(name string) error {
	noun := "worker"
	if s.isMaster(name) {
		noun = "master"
	}
	c := &child{name: name, begun: time.Now(), done: make(chan struct{})}
	c.cmd = exec.Command(s.exe, noun, "start", "--config", s.settings(name))
	c.cmd.Dir = s.home(name)
	for _, kv := range os.Environ() {
		// Settings come from the file alone: a variable would give every child the same port.
		if !strings.HasPrefix(strings.ToUpper(kv), "SCALEOUT_") {
			c.cmd.Env = append(c.cmd.Env, kv)
		}
	}
	c.cmd.Env = append(c.cmd.Env, leashVariable+"=1")
	ownGroup(c.cmd)
	// A file, not a pipe: the child must be able to say its last words after this process is gone.
	stderr, err := os.Create(s.stderr(name))
	if err != nil {
		return err
	}
	defer stderr.Close()
	c.cmd.Stderr = stderr
	if c.leash, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errStopping
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.children[name] = c
	go s.watch(c)
	return nil
}

func (s *stage) stderr(name string) string { return filepath.Join(s.logs(), name+".stderr") }

// watch notes the child's end, and says so when nobody asked for it.
func (s *stage) watch(c *child) {
	err := c.cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.err = err
	close(c.done)
	if !s.up || c.expected || s.stopping {
		return
	}
	if s.isMaster(c.name) && c.cmd.ProcessState.ExitCode() == cluster.ExitStalled {
		// What systemd does, too: it ended itself because this machine's disk is slow, and another start may help.
		s.say("%s (pid %d) gave up on a disk that stalls; it is started again", c.name, c.cmd.Process.Pid)
		go func() {
			if _, err := s.restart(context.Background(), c.name); err != nil {
				s.say("%s could not be started again: %v", c.name, err)
			}
		}()
		return
	}
	s.say("%s (pid %d) has ended: %s. 'scaleout dev restart %s --data %s' starts it again", c.name, c.cmd.Process.Pid, s.fate(c), c.name, s.dir)
}

// fate says how a child ended, with its last words.
func (s *stage) fate(c *child) string {
	text := "exit code 0"
	if c.err != nil {
		text = c.err.Error()
	}
	raw, err := os.ReadFile(s.stderr(c.name))
	if words := strings.TrimSpace(string(raw[max(0, len(raw)-2000):])); err == nil && words != "" {
		text += ": " + words
	}
	return text
}

func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) tell(word string) { _, _ = io.WriteString(c.leash, word+"\n") }

// ended waits for the child's end, at most so long.
func (c *child) ended(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

func (s *stage) child(name string) *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.children[name]
}

func (s *stage) pid(name string) int {
	if c := s.child(name); c != nil && c.cmd.Process != nil {
		return c.cmd.Process.Pid
	}
	return 0
}

// expect marks the end of a child as asked for, and tells whether it lives.
func (s *stage) expect(c *child) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.expected = true
	return c.alive()
}

// end brings one child to its end: asked, then urged, then killed.
func (s *stage) end(c *child) {
	if !s.expect(c) {
		return
	}
	c.tell(leashStop)
	if s.isMaster(c.name) {
		if c.ended(stopTime) {
			return
		}
	} else {
		if c.ended(drainTime) {
			return
		}
		s.say("%s has not finished; what it runs is ended now", c.name)
		c.tell(leashKill)
		if c.ended(killTime) {
			return
		}
	}
	s.say("%s does not stop and is killed; see %s", c.name, s.logs())
	_ = c.cmd.Process.Kill()
	<-c.done
}

// stop ends the workers, then the masters one after the other, so that each can hand over to one that stays.
func (s *stage) stop() error {
	s.changes.Lock() // a restart under way ends first
	defer s.changes.Unlock()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	for i := range s.Workers {
		if c := s.child(s.workerName(i)); c != nil {
			wg.Go(func() { s.end(c) })
		}
	}
	wg.Wait()
	for i := range s.Masters {
		if c := s.child(s.masterName(s.Masters - 1 - i)); c != nil {
			s.end(c)
		}
	}
	return s.lock.Close()
}

// ready waits until every master is ready and every worker is online and enabled.
func (s *stage) ready(ctx context.Context, begun time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("the cluster is not ready after %v; see the logs in %s", readyTime, s.logs()))
	defer cancel()
	for i := range s.Masters {
		if err := s.masterReady(ctx, i); err != nil {
			return err
		}
	}
	for i := range s.Workers {
		if err := s.workerReady(ctx, s.workerName(i), begun); err != nil {
			return err
		}
	}
	return nil
}

// until asks again and again; a process that has ended will not become ready.
func (s *stage) until(ctx context.Context, name string, ok func() bool) error {
	for !ok() {
		if c := s.child(name); c != nil && !c.alive() {
			return fmt.Errorf("%s has ended: %s", name, s.fate(c))
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) masterReady(ctx context.Context, i int) error {
	at, err := s.client.At(s.address(i))
	if err != nil {
		return err
	}
	return s.until(ctx, s.masterName(i), func() bool {
		call, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		got, err := at.Ready(call)
		return err == nil && got.Ready
	})
}

// workerReady enables the worker; it counts once a master has heard from its present process.
func (s *stage) workerReady(ctx context.Context, name string, begun time.Time) error {
	id, err := s.agentID(name)
	if err != nil {
		return err
	}
	var refused error
	err = s.until(ctx, name, func() bool {
		page, err := s.client.View(ctx, "worker_agents", client.Query{Equal: map[string]any{"WorkerAgentId": id}})
		if err != nil || len(page.Rows) == 0 {
			return false
		}
		heard, _ := page.Rows[0].Time("LastOnlineTime")
		if heard.Before(begun) {
			return false
		}
		if !page.Rows[0].Bool("IsEnabled") {
			_, refused = s.client.Call(ctx, "enable_worker_agent", map[string]any{"WorkerAgentId": id})
			return false
		}
		return true
	})
	if err != nil && refused != nil {
		return fmt.Errorf("enable %s: %w", name, refused)
	}
	return err
}

// restart ends a child if it lives, starts it anew, waits until it is ready and publishes the new process id.
func (s *stage) restart(ctx context.Context, name string) (string, error) {
	at := slices.Index(s.names(), name)
	if at < 0 {
		return "", fmt.Errorf("there is no %q here; there are %s", name, strings.Join(s.names(), ", "))
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if c := s.child(name); c != nil {
		s.end(c)
	}
	begun := time.Now()
	if err := s.start(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("%s is not ready after %v; see the logs in %s", name, readyTime, s.logs()))
	defer cancel()
	var err error
	if at < s.Masters {
		err = s.masterReady(ctx, at)
	} else {
		err = s.workerReady(ctx, name, begun)
	}
	if err != nil {
		return "", err
	}
	if err := s.publish(); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s runs again (pid %d)", name, s.pid(name))
	s.say("%s", text)
	return text, nil
}
