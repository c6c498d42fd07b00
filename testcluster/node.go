package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster"
	"scaleout/cmd/master"
	"scaleout/store"
)

// node is one master of a cluster, in this process or as a child.
type node struct {
	c       *Cluster
	i       int
	name    string
	data    string
	certs   string
	address string // "host:port"
	gossip  int
	gone    atomic.Bool // removed or left: it does not come back at the end
	stall   gate

	starting sync.Mutex // the test and the supervisor may both want it started

	mu     sync.Mutex
	master *master.Master
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error
	child  *child
	code   int  // exit code that the master asked for
	harmed bool // the test stalled its disk
}

func (nd *node) running() bool {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.done == nil {
		return false
	}
	select {
	case <-nd.done:
		return false
	default:
		return true
	}
}

// start starts the master and, as a supervisor would, starts it again when its disk was really too slow for it: a busy
// machine is none of the test's business. After a stall that the test made it stays down.
func (nd *node) start() error {
	nd.starting.Lock()
	defer nd.starting.Unlock()
	if nd.running() {
		return nil
	}
	if err := nd.launch(); err != nil {
		return err
	}
	nd.mu.Lock()
	done := nd.done
	nd.mu.Unlock()
	nd.c.supervisors.Go(func() {
		<-done
		nd.mu.Lock()
		stalled := nd.code == cluster.ExitStalled
		if nd.child != nil {
			stalled = nd.child.cmd.ProcessState.ExitCode() == cluster.ExitStalled
		}
		again := stalled && nd.done == done && !nd.harmed
		nd.mu.Unlock()
		if again && !nd.c.ending.Load() {
			nd.c.log.Warn("a master ended because this machine's disk stalled; it is started again", "n", nd.i)
			if err := nd.start(); err != nil {
				nd.c.tb.Errorf("%s does not come back: %v", nd.name, err)
			}
		}
	})
	return nil
}

func (nd *node) launch() error {
	cfg := nd.c.config(nd)
	if nd.c.processes {
		_, port, err := net.SplitHostPort(nd.address)
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(port, &cfg.Port); err != nil {
			return err
		}
		child := plain(cfg)
		child.SlowDisk = nd.c.slowDisk
		ch, err := startChild(nd.c, nd.name, childConfig{Master: child})
		if err != nil {
			return err
		}
		nd.mu.Lock()
		nd.child, nd.done = ch, ch.done
		nd.mu.Unlock()
		return nil
	}
	listener, err := listen(nd.address)
	if err != nil {
		return err
	}
	cfg.Listener = listener
	cfg.Dial = nd.c.net.dialer(nd.i)
	cfg.Store = store.Options{WrapLog: func(l store.LogStore) store.LogStore { return &stalling{l, &nd.stall} }}
	cfg.Exit = func(code int) {
		nd.mu.Lock()
		nd.code = code
		m := nd.master
		nd.mu.Unlock()
		m.Crash()
	}
	m, err := master.New(cfg)
	if err != nil {
		listener.Close()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	nd.mu.Lock()
	nd.master, nd.cancel, nd.done, nd.code = m, cancel, done, 0
	nd.mu.Unlock()
	go func() {
		defer close(done)
		err := m.Run(ctx)
		nd.mu.Lock()
		nd.err = err
		nd.mu.Unlock()
	}()
	return nil
}

// listen takes a port that its last owner has just left.
func listen(address string) (net.Listener, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		l, err := net.Listen("tcp", address)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// stop ends the master in good order and waits.
func (nd *node) stop() {
	nd.mu.Lock()
	cancel, done, ch := nd.cancel, nd.done, nd.child
	nd.mu.Unlock()
	switch {
	case done == nil:
		return
	case ch != nil:
		ch.signal(syscall.SIGTERM)
	default:
		cancel()
	}
	nd.await(done, time.Minute, "stop")
}

func (nd *node) await(done chan struct{}, limit time.Duration, what string) {
	nd.c.tb.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		_ = pprof.Lookup("goroutine").WriteTo(nd.c.logFile, 1)
		nd.c.tb.Errorf("%s of %s did not end within %v; the log has all goroutines", what, nd.name, limit)
	}
}

// Kill ends a master without a word: SIGKILL, or in process a power cut.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	nd := c.node(i)
	nd.mu.Lock()
	m, ch, done := nd.master, nd.child, nd.done
	nd.mu.Unlock()
	if ch != nil {
		ch.signal(os.Kill)
	} else {
		c.net.sever(i)
		m.Crash()
	}
	nd.await(done, 30*time.Second, "kill")
}

// Stop ends a master in good order, as SIGTERM does.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	c.node(i).stop()
}

// Restart starts a master that has ended, on the same address and directory.
func (c *Cluster) Restart(i int) {
	c.tb.Helper()
	c.must(c.node(i).start())
}

// Move gives a master that has ended a new address for its next start.
func (c *Cluster) Move(i int) {
	c.tb.Helper()
	nd := c.node(i)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(c.tb))
	c.mu.Lock()
	nd.address, nd.gossip = address, freePort(c.tb)
	c.mu.Unlock()
	c.net.place(address, i)
}

// Wipe empties the directory of a master that has ended: it is a new node then.
func (c *Cluster) Wipe(i int) {
	c.tb.Helper()
	c.must(os.RemoveAll(c.node(i).data))
}

// Forget leaves a master that has ended dead when the test ends.
func (c *Cluster) Forget(i int) { c.node(i).gone.Store(true) }

// Pause stops a master's process where it stands; processes only. Heal lets it run again.
func (c *Cluster) Pause(i int) {
	c.tb.Helper()
	c.node(i).child.signal(pauseSignal)
}

// Resume lets a paused master run.
func (c *Cluster) Resume(i int) { c.node(i).child.signal(resumeSignal) }

// Stall makes every write of a master's log block until Heal; in process only.
func (c *Cluster) Stall(i int) {
	leaks.stall()
	nd := c.node(i)
	nd.mu.Lock()
	nd.harmed = true
	nd.mu.Unlock()
	nd.stall.close()
}

// Running says whether a master has been started and has not ended.
func (c *Cluster) Running(i int) bool { return c.node(i).running() }

// Wait waits until a master has ended by itself and returns the exit code that it asked for and Run's error.
func (c *Cluster) Wait(i int) (code int, err error) {
	c.tb.Helper()
	nd := c.node(i)
	nd.await(nd.done, time.Minute, "end")
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.child != nil {
		return nd.child.cmd.ProcessState.ExitCode(), nil // why is in its log
	}
	return nd.code, nd.err
}

// Master is the running master of this process; nil for a child process.
func (c *Cluster) Master(i int) *master.Master {
	nd := c.node(i)
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.master
}

// Data is a master's data directory.
func (c *Cluster) Data(i int) string { return c.node(i).data }

// Certificates is a master's certificate folder.
func (c *Cluster) Certificates(i int) string { return c.node(i).certs }

// Address is a master's "host:port".
func (c *Cluster) Address(i int) string { return c.node(i).address }

func (nd *node) heal() {
	nd.stall.open()
	nd.mu.Lock()
	ch := nd.child
	nd.mu.Unlock()
	if ch != nil {
		ch.signal(resumeSignal)
	}
}

// gate holds whoever passes while it is closed.
type gate struct {
	full  atomic.Bool
	tight atomic.Bool
	mu    sync.Mutex
	wait  chan struct{} // nil: open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wait == nil {
		g.wait = make(chan struct{})
	}
}

func (g *gate) open() {
	g.full.Store(false)
	g.tight.Store(false)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wait != nil {
		close(g.wait)
		g.wait = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	wait := g.wait
	g.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

// stalling is a disk whose writes hang while the gate is closed.
type stalling struct {
	store.LogStore
	gate *gate
}

func (s *stalling) StoreLog(l *raft.Log) error {
	s.gate.pass()
	if err := s.tighten(); err != nil {
		return err
	}
	return s.LogStore.StoreLog(l)
}

func (s *stalling) StoreLogs(l []*raft.Log) error {
	s.gate.pass()
	if err := s.tighten(); err != nil {
		return err
	}
	return s.LogStore.StoreLogs(l)
}

func (s *stalling) Set(k, v []byte) error {
	s.gate.pass()
	if err := s.fill(); err != nil {
		return err
	}
	return unlessDead(s.LogStore.Set(k, v))
}

func (s *stalling) SetUint64(k []byte, v uint64) error {
	s.gate.pass()
	if err := s.fill(); err != nil {
		return err
	}
	return unlessDead(s.LogStore.SetUint64(k, v))
}

func (s *stalling) DeleteRange(min, max uint64) error {
	s.gate.pass()
	return s.LogStore.DeleteRange(min, max)
}

// unlessDead hides from Raft that its disk is frozen: it panics when it cannot save a term or a vote, and would take the
// test's whole process along. The power is cut, so that nobody learns of the vote.
func unlessDead(err error) error {
	if errors.Is(err, store.ErrFrozen) {
		return nil
	}
	return err
}
