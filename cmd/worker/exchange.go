package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// Codes of answers that this loop acts on.
const (
	codeLeaseTooShort = "lease_too_short"
	codeIDTaken       = "agent_id_taken"
	codeNotRegistered = "worker_not_registered"
	codeReplaced      = "instance_replaced"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	longestHold  = 30 * time.Second

	maxEndedBytes = 256 << 10 // of reports in one exchange
)

// exchangeLoop registers and polls until the worker leaves.
func (w *Worker) exchangeLoop(life context.Context) error {
	calls := newCalls(w, life)
	defer calls.end()
	pause := firstPause
	registered, first, troubled := false, true, false
	checked := time.Now()
	for {
		w.pulse.turn()
		leaving, now := w.leaving()
		if now {
			return nil
		}
		if time.Since(checked) > w.cfg.AgentHeartbeat {
			checked = time.Now()
			w.checkRunners()
		}
		var err error
		if !registered || w.takeStale() {
			if leaving && first {
				return nil // nothing of this start is known to the masters, and what is spooled stays so
			}
			if err = w.register(life); err == nil {
				registered, first = true, false
			} else if refused(err, first) {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			} else {
				registered = false
			}
		} else {
			err = calls.exchange(troubled, leaving)
			switch client.Code(err) {
			case codeNotRegistered, codeReplaced:
				registered = false
			}
		}
		w.metrics.exchanged(err)
		if err == nil {
			w.pulse.hear()
			pause, troubled = firstPause, false
			continue
		}
		if life.Err() != nil {
			return life.Err()
		}
		troubled = true
		w.log.Warn("no good answer from the masters; packages run on under their guards", "err", err, "running", len(w.snapshot()))
		w.wait(life, pause/2+rand.N(pause), nil)
		pause = min(2*pause, longestPause)
	}
}

// refused reports whether an answer to a registration will stay the same. At the first one a settings error is far more
// likely than a master's passing trouble.
func refused(err error, first bool) bool {
	var e *client.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case codeLeaseTooShort, codeIDTaken:
		return true
	case wire.CodeCertificateRequired, wire.CodeUnknownCluster, wire.CodeForbidden, wire.CodeInvalidArgument,
		wire.CodeInvalidJSON, wire.CodeUnknownField, wire.CodeNotFound:
		return first
	}
	return false
}

func (w *Worker) takeStale() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	stale := w.stale
	w.stale = false
	return stale
}

// checkRunners notices programs that came or went, so that the masters hear of it.
func (w *Worker) checkRunners() {
	have := w.runners.Extensions()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(have, w.extension) {
		w.stale = true
	}
}

// holdings is what the worker holds and what it has to report, as one picture: an attempt is in one of the two.
func (w *Worker) holdings() ([]wire.AttemptRef, []wire.Ended) {
	w.mu.Lock()
	defer w.mu.Unlock()
	running, ended := []wire.AttemptRef{}, []wire.Ended{}
	reported, bytes := map[spool.Key]bool{}, 0
	for _, r := range w.spool.Reports() {
		reported[r.Key] = true
		// What does not fit is held a little longer.
		if bytes += 100 + len(r.Message); bytes > maxEndedBytes && len(ended) > 0 || len(ended) == wire.MaxAttempts {
			running = append(running, refOf(r.Key))
			continue
		}
		ended = append(ended, wire.Ended{
			TaskID: r.TaskID, Attempt: r.Attempt, Outcome: r.Outcome, ExitCode: r.ExitCode, Message: r.Message, Messages: r.Messages, Code: r.Code,
		})
	}
	for k := range w.attempts {
		if !reported[k] {
			running = append(running, refOf(k))
		}
	}
	return running, ended
}

// sentAt is the moment of sending on the guard's clocks. Before was read together with beforeTime; what passed since on
// a clock that may have stood still is at most what really passed, so the lease begins no later than it did.
func sentAt(before guard.Instant, beforeTime, sent time.Time) guard.Instant {
	d := max(0, sent.Sub(beforeTime))
	return guard.Instant{Mono: before.Mono + d, Boot: before.Boot + d, Wall: before.Wall + int64(d)}
}

func (w *Worker) register(life context.Context) error {
	extensions := w.runners.Extensions()
	running, ended := w.holdings()
	w.mu.Lock()
	w.extension = extensions
	w.mu.Unlock()
	req := wire.Register{
		AgentID: w.id, Instance: w.instance, MachineID: w.machine, BootID: w.boot, Version: w.cfg.Version,
		MachineName: hostname(), UserAccount: userAccount(), DisplayName: w.cfg.DisplayName, Description: w.cfg.Description,
		MaxTaskCount: w.cfg.MaxTaskCount, LeaseMs: w.cfg.LeaseInterval.Milliseconds(),
		TaskHeartbeatMs: w.cfg.TaskHeartbeat.Milliseconds(), AgentHeartbeatMs: w.cfg.AgentHeartbeat.Milliseconds(),
		ErrorToleranceMs: w.cfg.ErrorTolerance.Milliseconds(),
		Extensions:       extensions, Bitness: w.runners.Bitness(), Running: running, Ended: ended,
	}
	before, beforeTime := guard.Now(), time.Now()
	a, sent, err := w.cfg.Masters.Register(life, req)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	from := sentAt(before, beforeTime, sent)
	w.log.Info("registered", "worker", w.id, "adopted", len(a.Adopted), "os", runtime.GOOS, "extensions", extensions)
	w.says(a.Enabled)
	w.masters(a.Masters)
	for _, ad := range a.Adopted {
		ms := ad.GiveUpAfterMs
		w.each([]wire.AttemptRef{{TaskID: ad.TaskID, Attempt: ad.Attempt}}, func(at *attempt) {
			at.giveUp = time.Duration(ms) * time.Millisecond
			at.lease = guard.Lease{From: from, For: at.giveUp}
		})
	}
	w.settle(a.Settled, a.Fenced)
	return nil
}

// act does what an exchange's answer says.
func (w *Worker) act(life context.Context, a wire.ExchangeAnswer, from guard.Instant) {
	w.says(a.Enabled)
	w.masters(a.Masters)
	w.settle(a.Settled, a.Fenced)
	w.each(a.Renewed, func(at *attempt) {
		// Two answers may come out of order: a renewal never takes time away.
		if at.lease.From.Since(from) > 0 {
			at.lease = guard.Lease{From: from, For: at.giveUp}
		}
	})
	w.each(a.Stop, func(at *attempt) { at.stop = true })
	for _, g := range a.Grants {
		w.take(life, g, from)
	}
}

// says logs a change of being enabled: a worker that is not gets nothing, which looks like a fault.
func (w *Worker) says(enabled bool) {
	w.mu.Lock()
	changed := w.enabled == nil || *w.enabled != enabled
	w.enabled = &enabled
	w.mu.Unlock()
	switch {
	case changed && enabled:
		w.log.Info("this worker is enabled")
	case changed:
		w.log.Warn("this worker is disabled and gets no tasks; `scaleout worker enable " + w.id + "` enables it")
	}
}

// hold is how long a poll is held: a renewal must come well within the lease for what runs.
func (w *Worker) hold(running int) time.Duration {
	if running > 0 {
		return min(w.cfg.TaskHeartbeat, w.cfg.LeaseInterval/6)
	}
	return min(longestHold, w.cfg.LeaseInterval/3)
}

func (w *Worker) masters(list []string) {
	if len(list) == 0 {
		return
	}
	if err := w.cfg.Masters.SetMasters(list); err != nil {
		w.log.Warn("the masters' list of masters is of no use", "err", err)
	}
}

// each changes attempts that are held, and tells their goroutines.
func (w *Worker) each(refs []wire.AttemptRef, change func(*attempt)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range refs {
		if a := w.attempts[keyOf(r)]; a != nil {
			change(a)
			poke(a.changed)
		}
	}
}

// settle forgets the reports that the masters have, and ends what they gave up.
func (w *Worker) settle(settled, fenced []wire.AttemptRef) {
	for _, r := range slices.Concat(settled, fenced) {
		if err := w.spool.Settled(keyOf(r)); err != nil {
			w.log.Error("spool", "err", err)
		}
	}
	w.each(fenced, func(a *attempt) { a.fenced = true })
}

// take begins a granted attempt, unless it is held or reported already, or comes too late to be begun.
func (w *Worker) take(life context.Context, g wire.Grant, from guard.Instant) {
	info := infoOf(g)
	log := w.log.With("task_id", g.TaskID, "attempt", g.Attempt, "execution_id", g.ExecutionID)
	lease := guard.Lease{From: from, For: time.Duration(g.GiveUpAfterMs) * time.Millisecond}
	if passed := from.Since(guard.Now()); passed > w.cfg.LeaseInterval/2 || passed > lease.For/2 {
		log.Warn("a grant came too late and is left to be delivered again", "passed", passed)
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
	if err := w.claim(a); err != nil {
		w.end(a, guard.Exit{Reason: guard.StartFailed, Code: -1, Elsewhere: true, Detail: err.Error(), Ended: time.Now()})
		return
	}
	w.launch(life, a)
}

// claim makes the attempt's folder. One that is there already is an attempt of the same number in another catalog, since
// this worker neither holds nor reports it: it is moved aside, and nothing of it may run on or be taken for this one's.
func (w *Worker) claim(a *attempt) error {
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
	// The first file, before anything is started in the folder.
	return a.info.write(a.folder)
}
