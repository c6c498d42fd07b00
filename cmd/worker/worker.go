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
	"scaleout/cmd/worker/logger"
	"scaleout/cmd/worker/runner"
	"scaleout/cmd/worker/spool"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
	"scaleout/store/file"
)

// Worker is one Scale Out Worker.
type Worker struct {
	cfg         Config
	log         logger.Logger
	id          string
	incarnation string // names this process; the protocol calls it "instance"
	machine     string
	boot        string
	locks       []*flock.Flock
	spool       *spool.Spool
	projects    *projects
	runners     *runner.Set
	metrics     *metrics
	heartbeat   heartbeat

	exchangeNow chan struct{} // something changed that the masters should learn at once
	outbox      chan struct{} // there are messages to send
	start       sync.Once
	kill        sync.Once
	killAsked   chan struct{} // closed by Kill
	leave       sync.Once
	leaveAsked  chan struct{} // closed by Leave

	tasks sync.WaitGroup // the goroutines of the attempts

	oneItem bool // used by the outbox loop alone: send the messages of one attempt at a time

	mu         sync.Mutex
	attempts   map[spool.Key]*attempt
	extensions []string // as registered
	outdated   bool     // the registration does not describe this machine any more
	draining   bool
	enabled    *bool     // as the masters said last; nil: they have not said yet
	flushUntil time.Time // when a leaving worker without attempts gives up reporting; zero: not set yet
	pruned     time.Time
}

// New opens the worker's data directory for this process alone. It starts nothing. The caller closes a worker that it
// does not run.
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
	// A starting worker adopts everything that runs in the task folders, so no other worker may use them.
	tasks, err := lockFolder(cfg.TasksRootFolder, "TasksRootFolder")
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	w := &Worker{
		cfg: cfg, log: logger.New(cfg.Logger), locks: []*flock.Flock{tasks, data},
		incarnation: uuid.NewString(), machine: cfg.MachineID, boot: cfg.BootID,
		exchangeNow: make(chan struct{}, 1), outbox: make(chan struct{}, 1),
		killAsked: make(chan struct{}), leaveAsked: make(chan struct{}),
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
		w.log.Warn("a configured runner is not on this machine", slog.String(logkey.Runner, m))
	}
	if w.spool, err = spool.Open(filepath.Join(w.cfg.DataDirectory, "spool"), spool.Limits{}); err != nil {
		return err
	}
	cache := filepath.Join(w.cfg.DataDirectory, "projects")
	if w.projects, err = openProjects(cache, w.cfg.CacheBytes, w.cfg.Masters.GetBlob, w.log); err != nil {
		return err
	}
	w.metrics, err = newMetrics(w)
	return err
}

// ID returns the worker's AgentId.
func (w *Worker) ID() string { return w.id }

// Close releases the data directory of a worker that is not run. Run releases it itself.
func (w *Worker) Close() error {
	var err error
	if w.metrics != nil {
		w.metrics.unregister()
	}
	if w.spool != nil {
		err = w.spool.Close()
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

// Run adopts what an earlier process left, registers, and works until ctx ends. Then it drains: it asks for nothing
// new, waits for the packages that run, hands over their reports and messages, and returns nil. FlushTimeout bounds the
// handing over; what is left is kept for the next start. Run may be called once. It returns ErrRefused when the masters
// will never take this worker as it is configured: adopted packages then run on under their guards.
func (w *Worker) Run(ctx context.Context) error {
	err := errors.New("worker: Run was called before")
	w.start.Do(func() { err = w.run(ctx) })
	return err
}

// Kill ends every running package with all its processes and makes Run end soon. It may be called at any time.
func (w *Worker) Kill() {
	w.kill.Do(func() { close(w.killAsked) })
	notify(w.exchangeNow)
}

var errStopped = errors.New("the worker has stopped")

func (w *Worker) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	unfinished, err := unfinishedFolders(w.cfg.TasksRootFolder, w.log)
	if err != nil {
		return err
	}
	// Draining goes on after ctx has ended, so the loops and the attempts have a context of their own. It ends after the
	// loops have ended.
	workerCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	end := func() { cancel(errStopped) }
	defer w.tasks.Wait()
	defer end()
	go func() {
		select {
		case <-w.leaveAsked:
			w.log.Info("leaving: running packages are left to their guards", slog.Int(logkey.Running, len(w.heldAttempts())))
			end()
		case <-workerCtx.Done():
		}
	}()
	if err := w.adopt(unfinished); err != nil {
		return err
	}
	for _, a := range w.heldAttempts() {
		w.launch(workerCtx, a)
	}
	stop := context.AfterFunc(ctx, w.drain)
	defer stop()
	var loops sync.WaitGroup
	loops.Add(1)
	go func() { defer loops.Done(); w.outboxLoop(workerCtx) }()
	err = w.exchangeLoop(workerCtx)
	if err != nil {
		end()
	}
	if isClosed(w.leaveAsked) {
		err = nil
	}
	notify(w.outbox)
	loops.Wait()
	return err
}

// adopt takes over what runs in the unfinished task folders, several at once, since one may take seconds. It fails if a
// package can neither be adopted nor ended: a registration would then tell the masters that this package has ended.
func (w *Worker) adopt(unfinished []taskFolder) error {
	var wg sync.WaitGroup
	errs := make([]error, len(unfinished))
	slots := make(chan struct{}, 16)
	for i, f := range unfinished {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			a := newAttempt(f.info, f.path)
			a.stop = f.info.Stopped
			a.project = w.projects.reference(cmp.Or(f.info.ProjectCopy, f.info.ProjectBlob))
			a.guard, errs[i] = guard.Adopt(f.path)
			if errors.Is(errs[i], guard.ErrGone) {
				errs[i] = nil
			}
			if errs[i] == nil {
				w.mu.Lock()
				w.attempts[a.key] = a
				w.mu.Unlock()
			}
			ofAttempt(w.log, a.info).Info("found an attempt of an earlier process",
				slog.Bool(logkey.Running, a.guard != nil), logger.Err(errs[i]))
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.projects.shrink() // not earlier: adopted attempts had no reference to their project copies yet
	// The registration reports the attempts that ended while no worker process was running.
	for _, a := range w.heldAttempts() {
		if a.guard == nil {
			e, err := guard.ReadExit(a.folder)
			if err != nil {
				return err
			}
			w.finish(a, e)
		}
	}
	return nil
}

func (w *Worker) heldAttempts() []*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make([]*attempt, 0, len(w.attempts))
	for _, a := range w.attempts {
		held = append(held, a)
	}
	return held
}

func (w *Worker) drain() {
	w.mu.Lock()
	w.draining = true
	n := len(w.attempts)
	w.mu.Unlock()
	w.log.Info("draining: nothing new is taken, running packages are waited for", slog.Int(logkey.Running, n))
	notify(w.exchangeNow)
}

// killFlush is how long a killed worker tries to hand over its reports and messages.
const killFlush = 2 * time.Second

// leaving reports whether the worker is leaving and holds no attempt any more, and whether it should end now.
func (w *Worker) leaving() (leaving, now bool) {
	killed := isClosed(w.killAsked)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining && !killed || len(w.attempts) > 0 {
		return false, false
	}
	// The spool is asked only now: an attempt's last messages are in it before the attempt is removed from w.attempts.
	idle, reports, messages := w.spool.Idle()
	limit := w.cfg.FlushTimeout
	if killed {
		limit = min(limit, killFlush) // whoever sends a second signal does not want to wait
	}
	if until := time.Now().Add(limit); w.flushUntil.IsZero() || until.Before(w.flushUntil) {
		w.flushUntil = until
	}
	if !idle && time.Now().After(w.flushUntil) {
		w.log.Warn("no master took everything; the rest is sent after the next start",
			slog.Int(logkey.Reports, reports), slog.Int(logkey.Messages, messages))
		return true, true
	}
	return true, idle
}

// flushTimeLeft returns how long a leaving worker still tries to hand over its reports and messages.
func (w *Worker) flushTimeLeft() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(time.Until(w.flushUntil), 0) + time.Millisecond // end after flushUntil, not at it
}

// notify wakes the receiver of c. Several notifications before the receiver looks count as one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func refOf(k spool.Key) wire.AttemptRef { return wire.AttemptRef{TaskID: k.TaskID, Attempt: k.Attempt} }
func keyOf(r wire.AttemptRef) spool.Key { return spool.Key{TaskID: r.TaskID, Attempt: r.Attempt} }
