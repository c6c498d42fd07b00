package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"scaleout/cluster/pki"
	"scaleout/fsm/registry"
	"scaleout/httpapi/client"
	"scaleout/store/file"
)

// Config is what a cluster is started with.
type Config struct {
	Layout
	// WorkerSettings are settings of every worker, where its file does not say otherwise.
	WorkerSettings map[string]any
	// Connect makes a client of the masters with the certificate of the person who uses the cluster.
	Connect func(files pki.Files, masters []string) (*client.Client, error)
	// Say is told what a person should know. It may be called by several goroutines at once.
	Say func(text string)
}

// Cluster is a running cluster: this process's children. It is safe for concurrent use.
type Cluster struct {
	Config
	executable string
	lock       *flock.Flock
	client     *client.Client
	control    *control

	ctx      context.Context // ends when Stop begins
	cancel   context.CancelCauseFunc
	watching sync.WaitGroup // a goroutine for each child that was started
	changes  sync.Mutex     // one restart at a time

	mu       sync.Mutex
	children map[string]*child
	ready    bool // it was ready once; until then Start's error tells what is wrong
	stopping bool
}

var errStopping = errors.New("dev is stopping")

// Start brings a cluster up and waits until every master is ready and every worker is enabled.
func Start(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	c := &Cluster{Config: cfg, children: map[string]*child{}}
	if err := os.MkdirAll(c.Logs(), 0o750); err != nil {
		return nil, err
	}
	c.lock = flock.New(filepath.Join(c.Dir, "dev.lock"), flock.SetPermissions(0o600))
	held, err := c.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", c.Dir, err)
	}
	if !held {
		return nil, fmt.Errorf("another dev runs on %s; give this one a --data of its own", c.Dir)
	}
	file.RemoveLeftovers(c.Dir, 0)
	if err := c.portsFree(); err != nil {
		return nil, errors.Join(err, c.lock.Unlock())
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if c.executable, err = os.Executable(); err != nil {
		return nil, err
	}
	for _, f := range []string{c.listFile(), c.Env(), c.controlFile()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if err := c.prepare(time.Now()); err != nil {
		return nil, err
	}
	if c.client, err = c.NewClient(); err != nil {
		return nil, err
	}
	begun := time.Now()
	for _, name := range c.Names() {
		if err := c.start(name); err != nil {
			return nil, err
		}
	}
	if err := c.allReady(ctx, begun); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
	verbs := map[string]verb{verbRestart: c.restart, verbStatus: c.status}
	if c.control, err = openControl(c.ctx, c.controlFile(), verbs); err != nil {
		return nil, err
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	return c, c.publish()
}

// Client talks to all masters as the person who uses the cluster.
func (c *Cluster) Client() *client.Client { return c.client }

// NewClient is one more client like that.
func (c *Cluster) NewClient() (*client.Client, error) { return c.Connect(c.userFiles(), c.addresses()) }

func (c *Cluster) say(format string, args ...any) { c.Say(fmt.Sprintf(format, args...)) }

// Stop ends the workers, then the masters one after the other, so that each can hand over to one that stays.
func (c *Cluster) Stop() error {
	c.cancel(errStopping) // a restart does not wait any longer until its child is ready
	c.changes.Lock()
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	var workers sync.WaitGroup
	for i := range c.Workers {
		if ch := c.child(c.workerName(i)); ch != nil {
			workers.Go(func() { c.end(ch) })
		}
	}
	workers.Wait()
	for i := range c.Masters {
		if ch := c.child(c.masterName(c.Masters - 1 - i)); ch != nil {
			c.end(ch)
		}
	}
	c.changes.Unlock()
	c.watching.Wait()
	if c.control != nil {
		c.control.close()
	}
	return c.lock.Close()
}

// Kill kills a child with SIGKILL, as a power cut would, and reports whether it was alive. It is not started again.
func (c *Cluster) Kill(name string) bool {
	ch := c.child(name)
	if ch == nil || !c.expectEnd(ch) {
		return false
	}
	ch.process.Kill()
	return true
}

// restart ends a child if it lives, starts it anew, waits until it is ready and publishes the new process id.
func (c *Cluster) restart(ctx context.Context, name string) (string, error) {
	at := slices.Index(c.Names(), name)
	if at < 0 {
		return "", fmt.Errorf("there is no %q here%s", name, registry.Hint(name, c.Names()))
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	if ch := c.child(name); ch != nil {
		c.end(ch)
	}
	begun := time.Now()
	if err := c.start(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime,
		fmt.Errorf("%s is not ready after %v; see the logs in %s", name, readyTime, c.Logs()))
	defer cancel()
	var err error
	if at < c.Masters {
		err = c.masterReady(ctx, at)
	} else {
		err = c.workerReady(ctx, name, begun)
	}
	if err != nil {
		return "", err
	}
	if err := c.publish(); err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s runs again (pid %d)", name, c.pid(name))
	c.say("%s", text)
	return text, nil
}

// status lists the children as JSON.
func (c *Cluster) status(context.Context, string) (string, error) {
	list := []Child{}
	for i, name := range c.Names() {
		entry := Child{Name: name, PID: c.pid(name), State: StateEnded, Log: filepath.Join(c.Logs(), name+".log")}
		if i < c.Masters {
			entry.Address = c.address(i)
		}
		if ch := c.child(name); ch != nil && !ch.process.Ended() {
			entry.State = StateRunning
		}
		list = append(list, entry)
	}
	raw, err := json.Marshal(list)
	return string(raw), err
}
