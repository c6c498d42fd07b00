package testcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster"
	"scaleout/cmd/dev/process"
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
	gone    atomic.Bool // removed or left: it is not started again at the end
	disk    gate

	starting sync.Mutex // the test and the supervisor may both start the master

	mu      sync.Mutex
	master  *master.Master
	cancel  context.CancelFunc
	done    <-chan struct{} // closed when it has ended
	err     error
	child   *process.Process
	code    int  // exit code that the master asked for
	stalled bool // the test stalled its disk
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

// start starts the master and, as a supervisor would, starts it again if it ends because the machine's own disk
// stalled: a busy machine must not fail a test. After a stall that the test caused, the master stays down.
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
		exitStalled := nd.code == cluster.ExitStalled
		if nd.child != nil {
			exitStalled = nd.child.ExitCode() == cluster.ExitStalled
		}
		again := exitStalled && nd.done == done && !nd.stalled
		nd.mu.Unlock()
		if again && !nd.c.ending.Load() {
			nd.c.log.LogAttrs(context.Background(), slog.LevelWarn,
				"a master ended because this machine's disk stalled; it is started again", slog.Int("n", nd.i))
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
		nd.child, nd.done = ch, ch.Done()
		nd.mu.Unlock()
		return nil
	}
	listener, err := listen(nd.address)
	if err != nil {
		return err
	}
	cfg.Listener = listener
	cfg.Dial = nd.c.net.dialer(nd.i)
	cfg.Store = store.Options{WrapLog: func(l store.LogStore) store.LogStore { return &faultyLog{l, &nd.disk} }}
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

// listen opens a port that its previous owner may still be leaving.
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

// stop ends the master in good order and waits for its end.
func (nd *node) stop() {
	nd.mu.Lock()
	cancel, done, ch := nd.cancel, nd.done, nd.child
	nd.mu.Unlock()
	switch {
	case done == nil:
		return
	case ch != nil:
		ch.Stop()
	default:
		cancel()
	}
	nd.await(done, time.Minute, "stop")
}

func (nd *node) await(done <-chan struct{}, limit time.Duration, what string) {
	nd.c.tb.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		_ = pprof.Lookup("goroutine").WriteTo(nd.c.logFile, 1)
		nd.c.tb.Errorf("%s of %s did not end within %v; the log has all goroutines", what, nd.name, limit)
	}
}

// Kill ends a master at once: SIGKILL, or a simulated power cut in process.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	nd := c.node(i)
	nd.mu.Lock()
	m, ch, done := nd.master, nd.child, nd.done
	nd.mu.Unlock()
	if ch != nil {
		ch.Kill()
	} else {
		c.net.closeConnections(i)
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

// Move gives an ended master a new address for its next start.
func (c *Cluster) Move(i int) {
	c.tb.Helper()
	nd := c.node(i)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(c.tb))
	c.mu.Lock()
	nd.address, nd.gossip = address, freePort(c.tb)
	c.mu.Unlock()
	c.net.place(address, i)
}

// Wipe removes the data directory of an ended master, which starts as a new node then.
func (c *Cluster) Wipe(i int) {
	c.tb.Helper()
	c.must(os.RemoveAll(c.node(i).data))
}

// Forget makes the end of the test leave an ended master down.
func (c *Cluster) Forget(i int) { c.node(i).gone.Store(true) }

// Pause suspends a master's process with SIGSTOP; processes only. Heal resumes it.
func (c *Cluster) Pause(i int) {
	c.tb.Helper()
	c.pause(c.node(i).child)
}

// pause returns when the process stands: the signal is only on its way when the call that sends it returns, and on a
// busy machine the other threads answer calls until one of them has been given time to take it.
func (c *Cluster) pause(p *process.Process) {
	c.tb.Helper()
	p.Signal(pauseSignal)
	c.Eventually("the process stands", 20*time.Second, func() bool { return stands(p.PID()) })
}

// Resume resumes a paused master.
func (c *Cluster) Resume(i int) { c.node(i).child.Signal(resumeSignal) }

// Stall makes every write to a master's log block until Heal; in process only.
func (c *Cluster) Stall(i int) {
	leaks.stall()
	nd := c.node(i)
	nd.mu.Lock()
	nd.stalled = true
	nd.mu.Unlock()
	nd.disk.close()
}

// Running reports whether a master has been started and has not ended.
func (c *Cluster) Running(i int) bool { return c.node(i).running() }

// Wait waits until a master has ended by itself and returns the exit code that it asked for and Run's error.
func (c *Cluster) Wait(i int) (code int, err error) {
	c.tb.Helper()
	nd := c.node(i)
	nd.await(nd.done, time.Minute, "end")
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.child != nil {
		return nd.child.ExitCode(), nil // its log says why
	}
	return nd.code, nd.err
}

// Master returns the running master of this process, and nil for a child process.
func (c *Cluster) Master(i int) *master.Master {
	nd := c.node(i)
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.master
}

// Data returns a master's data directory.
func (c *Cluster) Data(i int) string { return c.node(i).data }

// Certificates returns a master's certificate folder.
func (c *Cluster) Certificates(i int) string { return c.node(i).certs }

// Address returns a master's "host:port".
func (c *Cluster) Address(i int) string { return c.node(i).address }

func (nd *node) heal() {
	nd.disk.open()
	nd.mu.Lock()
	ch := nd.child
	nd.mu.Unlock()
	if ch != nil {
		ch.Signal(resumeSignal)
	}
}

// gate is what a test did to a master's disk: closed, it blocks every write; full, it fails them.
type gate struct {
	full        atomic.Bool
	entriesFull atomic.Bool // there is room for a term or a vote only
	mu          sync.Mutex
	wait        chan struct{} // nil: open
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
	g.entriesFull.Store(false)
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

// faultyLog is a log whose writes block or fail as its gate says.
type faultyLog struct {
	store.LogStore
	gate *gate
}

func (s *faultyLog) StoreLog(l *raft.Log) error {
	s.gate.pass()
	if err := s.entryError(); err != nil {
		return err
	}
	return s.LogStore.StoreLog(l)
}

func (s *faultyLog) StoreLogs(l []*raft.Log) error {
	s.gate.pass()
	if err := s.entryError(); err != nil {
		return err
	}
	return s.LogStore.StoreLogs(l)
}

func (s *faultyLog) Set(k, v []byte) error {
	s.gate.pass()
	if err := s.writeError(); err != nil {
		return err
	}
	return ignoreFrozen(s.LogStore.Set(k, v))
}

func (s *faultyLog) SetUint64(k []byte, v uint64) error {
	s.gate.pass()
	if err := s.writeError(); err != nil {
		return err
	}
	return ignoreFrozen(s.LogStore.SetUint64(k, v))
}

func (s *faultyLog) DeleteRange(min, max uint64) error {
	s.gate.pass()
	return s.LogStore.DeleteRange(min, max)
}

// ignoreFrozen hides from Raft that its disk is frozen. Raft panics if it cannot save a term or a vote, and the panic
// would end the whole test process. The simulated power cut also closes the connections, so nobody learns of the vote.
func ignoreFrozen(err error) error {
	if errors.Is(err, store.ErrFrozen) {
		return nil
	}
	return err
}
