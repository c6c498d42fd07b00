package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/logger"
	"scaleout/cmd/worker/spool"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	longestHold  = 30 * time.Second

	maxEndedBytes = 256 << 10 // of the reports in one exchange
)

// exchangeLoop registers and polls until the worker leaves.
func (w *Worker) exchangeLoop(workerCtx context.Context) error {
	calls := newExchangeCalls(workerCtx, w)
	defer calls.end()
	pause := firstPause
	registered, neverRegistered, troubled := false, true, false
	checked := time.Now()
	for {
		w.heartbeat.beginTurn()
		leaving, now := w.leaving()
		if now {
			return nil
		}
		if time.Since(checked) > w.cfg.AgentHeartbeat {
			checked = time.Now()
			w.checkRunners()
		}
		var err error
		if !registered || w.takeOutdated() {
			if leaving && neverRegistered {
				return nil // the masters know nothing of this process yet, and the spool keeps what it has
			}
			if err = w.register(workerCtx); err == nil {
				registered, neverRegistered = true, false
			} else if refused(err, neverRegistered) {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			} else {
				registered = false
			}
		} else {
			err = calls.exchange(troubled, leaving)
			switch client.Code(err) {
			case wire.CodeWorkerNotRegistered, wire.CodeInstanceReplaced:
				registered = false
			}
		}
		w.metrics.exchanged(err)
		if err == nil {
			w.heartbeat.answered()
			pause, troubled = firstPause, false
			continue
		}
		if workerCtx.Err() != nil {
			return workerCtx.Err()
		}
		troubled = true
		w.log.Warn("no good answer from the masters; packages run on under their guards",
			logger.Err(err), slog.Int(logkey.Running, len(w.heldAttempts())))
		pauseFor(workerCtx, pause/2+rand.N(pause), nil)
		pause = min(2*pause, longestPause)
	}
}

// refused reports whether the masters would give every further registration the same answer. At the first registration
// of a process, an error in its settings is far more likely than a passing fault of a master.
func refused(err error, first bool) bool {
	var e *client.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case wire.CodeLeaseTooShort, wire.CodeAgentIDTaken:
		return true
	case wire.CodeCertificateRequired, wire.CodeUnknownCluster, wire.CodeForbidden, wire.CodeInvalidArgument,
		wire.CodeInvalidJSON, wire.CodeUnknownField, wire.CodeNotFound:
		return first
	}
	return false
}

// takeOutdated reports whether the registration is outdated, and resets that.
func (w *Worker) takeOutdated() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	outdated := w.outdated
	w.outdated = false
	return outdated
}

// checkRunners marks the registration as outdated if programs have been installed or removed since.
func (w *Worker) checkRunners() {
	extensions := w.runners.Extensions()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(extensions, w.extensions) {
		w.outdated = true
	}
}

// runningAndEnded returns the attempts that the worker holds and the reports that it has, as of one moment: each
// attempt is in exactly one of the two.
func (w *Worker) runningAndEnded() ([]wire.AttemptRef, []wire.Ended) {
	w.mu.Lock()
	defer w.mu.Unlock()
	running, ended := []wire.AttemptRef{}, []wire.Ended{}
	reported, bytes := map[spool.Key]bool{}, 0
	for _, r := range w.spool.Reports() {
		reported[r.Key] = true
		// A report that does not fit counts as running until a later exchange carries it.
		bytes += 100 + len(r.Message)
		if bytes > maxEndedBytes && len(ended) > 0 || len(ended) == wire.MaxAttempts {
			running = append(running, refOf(r.Key))
			continue
		}
		ended = append(ended, wire.Ended{
			TaskID: r.TaskID, Attempt: r.Attempt, Outcome: r.Outcome, ExitCode: r.ExitCode, Message: r.Message,
			Messages: r.Messages, Code: r.Code,
		})
	}
	for k := range w.attempts {
		if !reported[k] {
			running = append(running, refOf(k))
		}
	}
	return running, ended
}

// leaseStart converts the time at which a call was sent to the guard's clocks. The caller read before and beforeTime
// together, before the call. Go's clock may have stood still since then, so it shows at most the time that really
// passed: the lease never begins later than the call was sent.
func leaseStart(before guard.Instant, beforeTime, sent time.Time) guard.Instant {
	d := max(0, sent.Sub(beforeTime))
	return guard.Instant{Mono: before.Mono + d, Boot: before.Boot + d, Wall: before.Wall + int64(d)}
}

func (w *Worker) register(ctx context.Context) error {
	extensions := w.runners.Extensions()
	running, ended := w.runningAndEnded()
	w.mu.Lock()
	w.extensions = extensions
	w.mu.Unlock()
	req := wire.Register{
		AgentID: w.id, Incarnation: w.incarnation, MachineID: w.machine, BootID: w.boot, Version: w.cfg.Version,
		MachineName: hostname(), UserAccount: userAccount(), DisplayName: w.cfg.DisplayName, Description: w.cfg.Description,
		MaxTaskCount: w.cfg.MaxTaskCount, LeaseMs: w.cfg.LeaseInterval.Milliseconds(),
		TaskHeartbeatMs: w.cfg.TaskHeartbeat.Milliseconds(), AgentHeartbeatMs: w.cfg.AgentHeartbeat.Milliseconds(),
		ErrorToleranceMs: w.cfg.ErrorTolerance.Milliseconds(),
		Extensions:       extensions, Bitness: w.runners.Bitness(), Running: running, Ended: ended,
	}
	before, beforeTime := guard.Now(), time.Now()
	a, sent, err := w.cfg.Masters.Register(ctx, req)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	from := leaseStart(before, beforeTime, sent)
	w.log.Info("registered", slog.String(logkey.Worker, w.id), slog.Int(logkey.Adopted, len(a.Adopted)),
		slog.String(logkey.OS, runtime.GOOS), slog.Any(logkey.Extensions, extensions))
	w.noteEnabled(a.Enabled)
	w.setMasters(a.Masters)
	for _, ad := range a.Adopted {
		ms := ad.GiveUpAfterMs
		w.updateAttempts([]wire.AttemptRef{{TaskID: ad.TaskID, Attempt: ad.Attempt}}, func(at *attempt) {
			at.giveUp = time.Duration(ms) * time.Millisecond
			at.lease = guard.Lease{From: from, For: at.giveUp}
		})
	}
	w.settle(a.Settled, a.Fenced)
	return nil
}

// apply does what the answer to an exchange says.
func (w *Worker) apply(workerCtx context.Context, a wire.ExchangeAnswer, from guard.Instant) {
	w.noteEnabled(a.Enabled)
	w.setMasters(a.Masters)
	w.settle(a.Settled, a.Fenced)
	w.updateAttempts(a.Renewed, func(at *attempt) {
		// Two answers may arrive in the wrong order: a renewal never shortens a lease.
		if at.lease.From.Since(from) > 0 {
			at.lease = guard.Lease{From: from, For: at.giveUp}
		}
	})
	w.updateAttempts(a.Stop, func(at *attempt) { at.stop = true })
	for _, g := range a.Grants {
		w.takeGrant(workerCtx, g, from)
	}
}

// noteEnabled logs when the masters enable or disable this worker: a disabled worker gets no tasks, which looks like a
// fault.
func (w *Worker) noteEnabled(enabled bool) {
	w.mu.Lock()
	changed := w.enabled == nil || *w.enabled != enabled
	w.enabled = &enabled
	w.mu.Unlock()
	switch {
	case changed && enabled:
		w.log.Info("this worker is enabled")
	case changed:
		w.log.Warn("this worker is disabled and gets no tasks; `scaleout worker enable` enables it",
			slog.String(logkey.Worker, w.id))
	}
}

// pollTime returns how long the masters shall hold a poll. While attempts run, their renewals must come well within the
// lease.
func (w *Worker) pollTime(running int) time.Duration {
	if running > 0 {
		return min(w.cfg.TaskHeartbeat, w.cfg.LeaseInterval/6)
	}
	return min(longestHold, w.cfg.LeaseInterval/3)
}

func (w *Worker) setMasters(addresses []string) {
	if len(addresses) == 0 {
		return
	}
	if err := w.cfg.Masters.SetMasters(addresses); err != nil {
		w.log.Warn("the masters sent a list of masters that cannot be used", logger.Err(err))
	}
}

// updateAttempts changes the attempts that the worker still holds and notifies their goroutines.
func (w *Worker) updateAttempts(refs []wire.AttemptRef, change func(*attempt)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range refs {
		if a := w.attempts[keyOf(r)]; a != nil {
			change(a)
			notify(a.changed)
		}
	}
}

// settle removes the reports that the masters have taken or refused, and fences the attempts that the masters gave up.
func (w *Worker) settle(settled, fenced []wire.AttemptRef) {
	for _, r := range slices.Concat(settled, fenced) {
		if err := w.spool.Settled(keyOf(r)); err != nil {
			w.log.Error("a settled report cannot be removed from the spool", slog.Int64(logkey.TaskID, r.TaskID),
				slog.Int(logkey.Attempt, r.Attempt), logger.Err(err))
		}
	}
	w.updateAttempts(fenced, func(a *attempt) { a.fenced = true })
}

// takeGrant starts a granted attempt, unless the worker holds or has reported it already, or the grant came too late.
func (w *Worker) takeGrant(workerCtx context.Context, g wire.Grant, from guard.Instant) {
	info := taskInfoOf(g)
	log := ofAttempt(w.log, info)
	lease := guard.Lease{From: from, For: time.Duration(g.GiveUpAfterMs) * time.Millisecond}
	if passed := from.Since(guard.Now()); passed > w.cfg.LeaseInterval/2 || passed > lease.For/2 {
		log.Warn("a grant came too late and is not taken; the masters deliver it again", slog.Duration(logkey.Waited, passed))
		return
	}
	a := newAttempt(info, filepath.Join(w.cfg.TasksRootFolder, info.key().String()))
	a.grant, a.lease, a.giveUp = g, lease, lease.For
	w.mu.Lock()
	known := w.attempts[a.key] != nil
	for _, r := range w.spool.Reports() {
		known = known || r.Key == a.key
	}
	if !known {
		w.attempts[a.key] = a
	}
	w.mu.Unlock()
	if known {
		log.Info("a grant was delivered again")
		return
	}
	if err := w.makeFolder(a); err != nil {
		w.finish(a, guard.Exit{
			Reason: guard.StartFailed, Code: -1, Elsewhere: true, Detail: err.Error(), Ended: time.Now(),
		})
		return
	}
	w.launch(workerCtx, a)
}

// makeFolder makes the attempt's task folder. If the folder exists, it belongs to an attempt with the same numbers in
// another catalog, since this worker neither holds nor reports such an attempt. What runs there is killed, and the
// folder is moved aside so that nothing in it is taken for the new attempt's.
func (w *Worker) makeFolder(a *attempt) error {
	if _, err := os.Stat(a.folder); err == nil {
		if g, err := guard.Adopt(a.folder); err == nil {
			if err := g.Kill(); err != nil {
				return err
			}
		} else if !errors.Is(err, guard.ErrGone) {
			return err
		}
		old, err := readInfo(a.folder)
		if old.Done = true; err == nil {
			err = old.write(a.folder)
		}
		if err == nil {
			err = os.Rename(a.folder, fmt.Sprintf("%s.%d", a.folder, time.Now().UnixNano()))
		}
		if err != nil {
			return fmt.Errorf("worker: the task folder of another attempt is in the way: %w", err)
		}
		if err := w.spool.Drop(a.key); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(a.folder, 0o700); err != nil {
		return fmt.Errorf("worker: task folder: %w", err)
	}
	// This file is written before anything is started in the folder: a folder without it is one in which nothing runs.
	return a.info.write(a.folder)
}
