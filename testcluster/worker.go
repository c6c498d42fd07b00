package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scaleout/cluster/pki"
	"scaleout/cmd/dev/process"
	"scaleout/cmd/worker"
	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/client"
)

// WorkerConfig configures a worker of a test. The zero values suit most tests; the lease is as short as the masters
// allow.
type WorkerConfig struct {
	Name         string
	Masters      []string // default: all
	Process      bool     // a child process: Kill is SIGKILL and Pause SIGSTOP
	MaxTaskCount int
	Lease        time.Duration
	Tolerance    time.Duration
	Heartbeat    time.Duration
	MachineID    string
	AgentID      string
	Data         string // default: a new folder; a clone gets another worker's
	Disabled     bool   // the worker is registered and not enabled
	Runners      map[string][]string
	Cuttable     bool // a process whose connections to the masters can be cut

	Relay        string // address; set for a cuttable worker
	Certificates string // folder; default: newly issued
}

func (w WorkerConfig) settings(masters worker.Masters, log *slog.Logger) worker.Config {
	return worker.Config{
		Masters: masters, DataDirectory: w.Data, AgentID: w.AgentID, DisplayName: w.Name, MaxTaskCount: w.MaxTaskCount,
		LeaseInterval: w.Lease, TaskHeartbeat: w.Heartbeat, AgentHeartbeat: 2 * time.Second, ErrorTolerance: w.Tolerance,
		Version: "test", MachineID: w.MachineID, Logger: log, StopGrace: time.Second, FlushTimeout: 10 * time.Second,
		Runners: w.Runners,
	}
}

// Worker is a worker of a test cluster.
type Worker struct {
	c         *Cluster
	cfg       WorkerConfig
	partition *oneWayPartition
	relay     *relay // nil unless cuttable

	mu     sync.Mutex
	worker *worker.Worker
	child  *process.Process
	cancel context.CancelFunc
	done   <-chan struct{}
	asked  bool // the process was asked to drain
	err    error
}

// Worker starts a worker, enables it and waits until the masters know it.
func (c *Cluster) Worker(cfg WorkerConfig) *Worker {
	c.tb.Helper()
	c.mu.Lock()
	n := len(c.workers) + 1
	c.mu.Unlock()
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("worker-%d", n)
	}
	if cfg.MaxTaskCount == 0 {
		cfg.MaxTaskCount = 4
	}
	set(&cfg.Lease, 9*time.Second)
	set(&cfg.Tolerance, 9*time.Second)
	set(&cfg.Heartbeat, 200*time.Millisecond)
	if cfg.MachineID == "" {
		cfg.MachineID = "machine-of-" + cfg.Name
	}
	if len(cfg.Masters) == 0 {
		cfg.Masters = c.Masters()
	}
	if cfg.Data == "" {
		cfg.Data = filepath.Join(c.dir, cfg.Name)
	}
	if cfg.Certificates == "" {
		cfg.Certificates = c.issue(pki.RoleWorker, cfg.Name)
	}
	w := &Worker{c: c, cfg: cfg, partition: &oneWayPartition{conns: map[*partitionedConn]bool{}}}
	if cfg.Cuttable {
		var err error
		w.relay, err = newRelay()
		c.must(err)
		w.cfg.Relay = w.relay.listener.Addr().String()
	}
	c.mu.Lock()
	c.workers = append(c.workers, w)
	if w.relay != nil {
		c.closers = append(c.closers, w.relay.close)
	}
	c.mu.Unlock()
	c.must(w.start())
	if !cfg.Disabled {
		id := w.ID()
		_, err := c.Admin().Call(c.tb.Context(), "enable_worker_agent", map[string]any{"WorkerAgentId": id})
		c.must(err)
	}
	return w
}

func (w *Worker) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.Process {
		ch, err := startChild(w.c, w.cfg.Name, childConfig{Worker: &w.cfg})
		if err != nil {
			return err
		}
		w.child, w.done, w.asked = ch, ch.Done(), false
		return nil
	}
	masters, _ := w.c.connect(w.cfg.Certificates, w.partition.dial)
	if err := masters.SetMasters(w.cfg.Masters); err != nil {
		return err
	}
	inner, err := worker.New(w.cfg.settings(masters, w.c.log.With("n", w.cfg.Name)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.worker, w.cancel, w.done = inner, cancel, done
	go func() {
		defer close(done)
		err := inner.Run(ctx)
		_ = inner.Close()
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
	}()
	return nil
}

// ID waits until the masters know the worker and returns its AgentId.
func (w *Worker) ID() string {
	w.c.tb.Helper()
	var id string
	w.c.Eventually("registration of "+w.cfg.Name, 20*time.Second, func() bool {
		byName := client.Query{Equal: map[string]any{"DisplayName": w.cfg.Name}}
		page, err := w.c.Admin().View(w.c.tb.Context(), "worker_agents", byName)
		if err != nil || len(page.Rows) == 0 {
			return false
		}
		id = page.Rows[0].Text("WorkerAgentId")
		return true
	})
	return id
}

// Name returns the worker's display name.
func (w *Worker) Name() string { return w.cfg.Name }

// Data returns the worker's data directory.
func (w *Worker) Data() string { return w.cfg.Data }

// Kill ends a worker process with SIGKILL; its guards go on. Processes only.
func (w *Worker) Kill() {
	w.c.tb.Helper()
	w.child.Kill()
	<-w.child.Done()
}

// Leave stops a worker process in good order. Its packages run on under their guards, and Leave fails the test if a
// guard is lost by it. Processes only.
func (w *Worker) Leave() {
	w.c.tb.Helper()
	began := time.Now()
	defer func() {
		folders, err := filepath.Glob(filepath.Join(w.cfg.Data, "Tasks", "*"))
		w.c.must(err)
		for _, f := range folders {
			if e, err := guard.ReadExit(f); err == nil && e.Reason == guard.Lost && e.Ended.After(began) {
				w.c.tb.Errorf("worker %s left, and that ended %s: %s", w.cfg.Name, f, e.Detail)
			}
		}
	}()
	w.child.Signal(leaveSignal)
	select {
	case <-w.child.Done():
	case <-time.After(time.Minute):
		w.c.tb.Errorf("worker %s did not leave within a minute", w.cfg.Name)
	}
}

// KillGuards kills the guards of a worker with SIGKILL, and their packages end with them. It returns how many it
// killed.
func (w *Worker) KillGuards() (killed int, err error) {
	files, err := filepath.Glob(filepath.Join(w.cfg.Data, "Tasks", "*", "guard.json"))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		ended, err := killGuard(f)
		if err != nil {
			return killed, err
		}
		if ended {
			killed++
		}
	}
	return killed, nil
}

func killGuard(file string) (bool, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // the guard has ended in the meantime
	}
	if err != nil {
		return false, err
	}
	var state struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", state.PID))
	if err == nil && !strings.Contains(string(line), filepath.Dir(file)) {
		return false, nil // the guard has ended, and its process id is another process's now
	}
	p, err := os.FindProcess(state.PID)
	if err != nil {
		return false, err
	}
	if err := p.Kill(); errors.Is(err, os.ErrProcessDone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// cutOff cuts a worker process off from the masters at these addresses, or from all masters if none is named. If oneWay
// is true, the worker's requests still arrive and only the answers are dropped. The worker must be cuttable.
func (w *Worker) cutOff(oneWay bool, addresses ...string) (heal func()) {
	return w.relay.cut(&relayCut{oneWay: oneWay, addresses: addresses})
}

// Pause suspends a worker process with SIGSTOP. Processes only.
func (w *Worker) Pause() { w.c.pause(w.child) }

// Resume resumes a paused worker process.
func (w *Worker) Resume() { w.child.Signal(resumeSignal) }

// Restart starts a worker that has ended.
func (w *Worker) Restart() {
	w.c.tb.Helper()
	w.c.must(w.start())
}

// Stop drains the worker, as SIGTERM does, and returns Run's error.
func (w *Worker) Stop() error {
	w.c.tb.Helper()
	w.signal()
	select {
	case <-w.done:
	case <-time.After(time.Minute):
		w.c.tb.Errorf("worker %s did not drain within a minute", w.cfg.Name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Worker) signal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.child != nil {
		w.child.Signal(resumeSignal)
		if w.asked {
			w.child.Hurry()
		} else {
			w.child.Stop()
		}
		w.asked = true
		return
	}
	w.cancel()
}

// Signal asks the worker to drain, as SIGTERM does. A process that gets a second signal also ends its packages.
func (w *Worker) Signal() { w.signal() }

// Drains reports whether a worker of the test has logged that it drains.
func (w *Worker) Drains() bool {
	w.c.tb.Helper()
	return w.c.Said("draining: nothing new is taken")
}

// Ended returns a channel that is closed when the worker has ended.
func (w *Worker) Ended() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// Err returns the error of a worker that has ended.
func (w *Worker) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// end stops the worker and its packages, whatever state the worker is in.
func (w *Worker) end() {
	w.mu.Lock()
	inner, ch, done := w.worker, w.child, w.done
	w.mu.Unlock()
	if done == nil {
		return
	}
	if ch != nil && ch.Ended() {
		return
	}
	w.signal()
	select {
	case <-done:
		return
	case <-time.After(5 * time.Second):
	}
	if inner != nil {
		inner.Kill()
	} else {
		ch.Hurry()
	}
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		w.c.tb.Errorf("worker %s does not end", w.cfg.Name)
		if ch != nil {
			ch.Kill()
		}
	}
}
