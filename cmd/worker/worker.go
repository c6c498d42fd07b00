package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/runner"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/wire"
	"scaleout/store/file"
)

// Worker is one Scale Out Worker.
type Worker struct {
	cfg      Config
	log      *slog.Logger
	id       string
	instance string
	machine  string
	boot     string
	locks    []*flock.Flock
	spool    *spool.Spool
	projects *projects
	runners  *runner.Set
	metrics  *metrics

	wake  chan struct{} // something changed that the masters should hear of now
	mail  chan struct{} // there are messages to send
	start sync.Once
	kill  sync.Once
	died  chan struct{} // closed by Kill
	leave sync.Once
	left  chan struct{} // closed by Leave
	pulse pulse

	tasks sync.WaitGroup // the attempts' goroutines

	alone bool // of the mail loop: send one attempt's messages at a time

	mu        sync.Mutex
	attempts  map[spool.Key]*attempt
	extension []string // as registered
	stale     bool     // what was registered is not true any more
	draining  bool
	enabled   *bool     // as the masters said last
	giveUp    time.Time // when a draining worker without attempts stops trying to report
	pruned    time.Time
}

// New opens the worker's data directory, for this process alone, and starts nothing. A worker that is not run is
// closed with Close.
func New(cfg Config) (*Worker, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.DataDirectory, cfg.TasksRootFolder} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
	}
	data, err := lockFolder(cfg.DataDirectory, "DataDirectory")
	if err != nil {
		return nil, err
	}
	// Whoever starts takes over what runs in the task folders: they must be nobody else's.
	tasks, err := lockFolder(cfg.TasksRootFolder, "TasksRootFolder")
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	w := &Worker{
		cfg: cfg, log: cfg.Logger, locks: []*flock.Flock{tasks, data}, instance: uuid.NewString(), machine: cfg.MachineID, boot: cfg.BootID,
		wake: make(chan struct{}, 1), mail: make(chan struct{}, 1), died: make(chan struct{}), left: make(chan struct{}),
		attempts: map[spool.Key]*attempt{},
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *Worker) open() (err error) {
	file.RemoveLeftovers(w.cfg.DataDirectory, 0, agentFile)
	if w.id, err = agentID(w.cfg); err != nil {
		return err
	}
	if w.machine == "" {
		if w.machine = machineID(); w.machine == "" {
			w.machine = "host " + hostname()
		}
	}
	if w.boot == "" {
		if w.boot = bootID(); w.boot == "" {
			w.boot = "unknown"
		}
	}
	if w.cfg.DisplayName == "" {
		w.cfg.DisplayName = hostname()
	}
	if w.runners, err = runner.New(runner.Config{Runners: w.cfg.Runners}); err != nil {
		return err
	}
	for _, m := range w.runners.Missing() {
		w.log.Warn("a configured runner is not on this machine", "runner", m)
	}
	if w.spool, err = spool.Open(filepath.Join(w.cfg.DataDirectory, "spool"), spool.Limits{}); err != nil {
		return err
	}
	w.projects, err = openProjects(filepath.Join(w.cfg.DataDirectory, "projects"), w.cfg.CacheBytes, w.cfg.Masters.GetBlob, w.log)
	if err != nil {
		return err
	}
	w.metrics, err = newMetrics(w)
	return err
}

// ID is the worker's AgentId.
func (w *Worker) ID() string { return w.id }

// Close releases the data directory of a worker that is not run. Run does it itself.
func (w *Worker) Close() error {
	var err error
	if w.metrics != nil {
		w.metrics.unregister()
	}
	if w.spool != nil {
		err = w.spool.Shut()
	}
	for _, l := range w.locks {
		err = errors.Join(err, l.Close())
	}
	return err
}

func lockFolder(dir, setting string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "worker.lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("worker: lock of %s: %w", dir, err)
	}
	if !held {
		return nil, fmt.Errorf("%w: %s; each worker needs a %s of its own", ErrInUse, dir, setting)
	}
	return lock, nil
}

// Run adopts what an earlier process left, registers, and works until ctx ends; then it drains: it asks for nothing
// new, lets what runs end, hands over the reports and messages (bounded by FlushTimeout; the rest is kept for the next
// start) and returns nil. It may be called once. ErrRefused when the masters will never take this worker as it is: what
// it adopted then runs on under its guards.
func (w *Worker) Run(ctx context.Context) error {
	err := errors.New("worker: Run was called before")
	w.start.Do(func() { err = w.run(ctx) })
	return err
}

// Kill ends every package that runs, with all its processes, and makes Run end soon. It may be called at any time.
func (w *Worker) Kill() {
	w.kill.Do(func() { close(w.died) })
	w.nudge()
}

var errStopped = errors.New("the worker was stopped before")

func (w *Worker) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	left, err := leftovers(w.cfg.TasksRootFolder, w.log)
	if err != nil {
		return err
	}
	// The life of everything below: it ends when the loops have, which may be long after ctx.
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	end := func() { cancel(errStopped) }
	defer w.tasks.Wait()
	defer end()
	go func() {
		select {
		case <-w.left:
			w.log.Info("leaving: what runs is left to its guards", "running", len(w.snapshot()))
			end()
		case <-life.Done():
		}
	}()
	if err := w.adopt(left); err != nil {
		return err
	}
	for _, a := range w.snapshot() {
		w.launch(life, a)
	}
	stop := context.AfterFunc(ctx, w.drain)
	defer stop()
	var loops sync.WaitGroup
	loops.Add(1)
	go func() { defer loops.Done(); w.mailLoop(life) }()
	err = w.exchangeLoop(life)
	if err != nil {
		end()
	}
	if w.gone() {
		err = nil
	}
	poke(w.mail)
	loops.Wait()
	return err
}

// adopt takes over what runs in the task folders, several at once: each may take seconds. When something runs that can
// neither be adopted nor ended, the worker must not register, since it would be believed to be gone.
func (w *Worker) adopt(left []leftover) error {
	var wg sync.WaitGroup
	errs := make([]error, len(left))
	slots := make(chan struct{}, 16)
	for i, l := range left {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			a := newAttempt(l.info, l.folder)
			a.stop = l.info.Stopped
			a.project = w.projects.hold(cmp.Or(l.info.ProjectCopy, l.info.ProjectBlob))
			a.guard, errs[i] = guard.Adopt(l.folder)
			if errors.Is(errs[i], guard.ErrGone) {
				errs[i] = nil
			}
			if errs[i] == nil {
				w.mu.Lock()
				w.attempts[a.key] = a
				w.mu.Unlock()
			}
			w.log.Info("found an attempt of an earlier process", "task_id", a.key.TaskID, "attempt", a.key.Attempt,
				"execution_id", a.info.ExecutionID, "running", a.guard != nil, "err", errs[i])
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.projects.shrink() // not before: it would have removed what the adopted ones run from
	// What ended while no worker was there is reported with the registration.
	for _, a := range w.snapshot() {
		if a.guard == nil {
			e, err := guard.ReadExit(a.folder)
			if err != nil {
				return err
			}
			w.end(a, e)
		}
	}
	return nil
}

func (w *Worker) snapshot() []*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*attempt, 0, len(w.attempts))
	for _, a := range w.attempts {
		list = append(list, a)
	}
	return list
}

func (w *Worker) drain() {
	w.mu.Lock()
	w.draining = true
	n := len(w.attempts)
	w.mu.Unlock()
	w.log.Info("draining: nothing new is taken, what runs is finished", "running", n)
	w.nudge()
}

func (w *Worker) gone() bool {
	select {
	case <-w.left:
		return true
	default:
		return false
	}
}

func (w *Worker) killed() bool {
	select {
	case <-w.died:
		return true
	default:
		return false
	}
}

// killFlush is how long a killed worker tries to hand over what it has.
const killFlush = 2 * time.Second

// leaving reports whether the worker is on its way out with nothing running any more, and whether it should go now.
func (w *Worker) leaving() (leaving, now bool) {
	killed := w.killed()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining && !killed || len(w.attempts) > 0 {
		return false, false
	}
	// Asked only now: an attempt is let go of after its last words are in the spool.
	idle, reports, messages := w.spool.Idle()
	limit := w.cfg.FlushTimeout
	if killed {
		limit = min(limit, killFlush) // who sends a second signal does not want to wait
	}
	if until := time.Now().Add(limit); w.giveUp.IsZero() || until.Before(w.giveUp) {
		w.giveUp = until
	}
	if !idle && time.Now().After(w.giveUp) {
		w.log.Warn("no master took everything; the rest is sent after the next start", "reports", reports, "attempts_with_messages", messages)
		return true, true
	}
	return true, idle
}

// patience is how long a worker that leaves still tries to hand over what it has.
func (w *Worker) patience() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(time.Until(w.giveUp), 0) + time.Millisecond // past it, not at it
}

// nudge makes the exchange loop look at once, and ends a held poll.
func (w *Worker) nudge() { poke(w.wake) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func refOf(k spool.Key) wire.AttemptRef { return wire.AttemptRef{TaskID: k.TaskID, Attempt: k.Attempt} }
func keyOf(r wire.AttemptRef) spool.Key { return spool.Key{TaskID: r.TaskID, Attempt: r.Attempt} }
