package dev

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"scaleout/cluster"
	"scaleout/cmd/dev/process"
)

// child is one master or worker, alive or dead.
type child struct {
	name     string
	process  *process.Process
	expected bool // its end was asked for; Cluster.mu guards it
}

// How long an orderly end may take.
const (
	drainTime = 10 * time.Second // of packages that run, when all is stopped
	killTime  = 15 * time.Second // of a worker that kills its packages
	stopTime  = 15 * time.Second // of a master
)

// start starts one master or worker; an earlier process of that name must have ended.
func (c *Cluster) start(name string) error {
	noun := "worker"
	if c.isMaster(name) {
		noun = "master"
	}
	var env []string
	for _, kv := range os.Environ() {
		// Settings come from the file alone: a variable would give every child the same port.
		if !strings.HasPrefix(strings.ToUpper(kv), "SCALEOUT_") {
			env = append(env, kv)
		}
	}
	stderr, err := os.Create(c.stderr(name))
	if err != nil {
		return err
	}
	defer stderr.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopping
	}
	p, err := process.Start(process.Command{
		Name: name, Path: c.executable, Args: []string{noun, "start", "--config", c.settings(name)},
		Dir: c.home(name), Env: env, Stderr: stderr,
	})
	if err != nil {
		return err
	}
	ch := &child{name: name, process: p}
	c.children[name] = ch
	c.watching.Go(func() { c.watch(ch) })
	return nil
}

// watch waits for a child's end, and says so when nobody asked for it.
func (c *Cluster) watch(ch *child) {
	<-ch.process.Done()
	c.mu.Lock()
	expected := !c.ready || ch.expected || c.stopping
	c.mu.Unlock()
	pid := ch.process.PID()
	switch {
	case expected:
	case c.isMaster(ch.name) && ch.process.ExitCode() == cluster.ExitStalled:
		// What systemd does, too: the master ended itself because this machine's disk is slow, and another start may help.
		c.say("%s (pid %d) gave up on a disk that stalls; it is started again", ch.name, pid)
		if _, err := c.restart(c.ctx, ch.name); err != nil && !errors.Is(err, errStopping) {
			c.say("%s could not be started again: %v", ch.name, err)
		}
	default:
		c.say("%s (pid %d) has ended: %s. 'scaleout dev restart %s --data %s' starts it again",
			ch.name, pid, c.outcome(ch), ch.name, c.Dir)
	}
}

// outcome says how a child ended, with its last words.
func (c *Cluster) outcome(ch *child) string {
	text := "exit code 0"
	if err := ch.process.Err(); err != nil {
		text = err.Error()
	}
	raw, err := os.ReadFile(c.stderr(ch.name))
	if words := strings.TrimSpace(string(raw[max(0, len(raw)-2000):])); err == nil && words != "" {
		text += ": " + words
	}
	return text
}

func (c *Cluster) child(name string) *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.children[name]
}

// pid is 0 for a child that was never started.
func (c *Cluster) pid(name string) int {
	if ch := c.child(name); ch != nil {
		return ch.process.PID()
	}
	return 0
}

// expectEnd notes that the end of a child is asked for, and reports whether it lives.
func (c *Cluster) expectEnd(ch *child) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.expected = true
	return !ch.process.Ended()
}

// end brings one child to its end: asked, then hurried, then killed.
func (c *Cluster) end(ch *child) {
	if !c.expectEnd(ch) {
		return
	}
	ch.process.Stop()
	if c.isMaster(ch.name) {
		if ch.process.EndsWithin(stopTime) {
			return
		}
	} else {
		if ch.process.EndsWithin(drainTime) {
			return
		}
		c.say("%s has not finished; what it runs is ended now", ch.name)
		ch.process.Hurry()
		if ch.process.EndsWithin(killTime) {
			return
		}
	}
	c.say("%s does not stop and is killed; see %s", ch.name, c.Logs())
	ch.process.Kill()
	<-ch.process.Done()
}

// endedError says that a child that should become ready has ended.
func (c *Cluster) endedError(ch *child) error {
	return fmt.Errorf("%s has ended: %s", ch.name, c.outcome(ch))
}
