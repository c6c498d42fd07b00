package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/logger"
	"scaleout/cmd/worker/runner"
	"scaleout/cmd/worker/spool"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

// attempt is one attempt that this worker holds: in preparation, running, or ending.
type attempt struct {
	key     spool.Key
	info    taskInfo
	folder  string
	grant   wire.Grant   // zero for an adopted attempt
	project *project     // the reference that keeps the project in the cache
	guard   *guard.Guard // nil until the package runs; only the attempt's goroutine uses it once that goroutine runs
	started guard.Lease  // the lease that the guard was started with; zero for an adopted attempt

	changed chan struct{} // one of the fields below changed
	// Guarded by Worker.mu: what the masters want.
	giveUp time.Duration
	lease  guard.Lease
	stop   bool
	fenced bool

	classifier runner.Classifier
}

func newAttempt(info taskInfo, folder string) *attempt {
	return &attempt{key: info.key(), info: info, folder: folder, changed: make(chan struct{}, 1)}
}

// instructions is a copy of what the masters want of an attempt.
type instructions struct {
	lease        guard.Lease
	stop, fenced bool
}

func (w *Worker) instructionsFor(a *attempt) instructions {
	w.mu.Lock()
	defer w.mu.Unlock()
	return instructions{a.lease, a.stop, a.fenced}
}

// launch takes an attempt, new or adopted, to its end in a goroutine of its own.
func (w *Worker) launch(workerCtx context.Context, a *attempt) {
	w.tasks.Add(1)
	go func() {
		defer w.tasks.Done()
		if a.guard == nil {
			exit, ok := w.startPackage(workerCtx, a)
			if !ok && exit.Reason == "" {
				ofAttempt(w.log, a.info).Warn("the outcome of the start is unknown; the next worker process finds it out")
				return
			}
			if !ok {
				w.finish(a, exit)
				return
			}
		}
		exit, err := w.supervise(workerCtx, a)
		if err != nil {
			// workerCtx has ended, and no other error comes here: Run returns and the guard goes on.
			ofAttempt(w.log, a.info).Warn("the package runs on under its guard", logger.Err(err))
			return
		}
		w.finish(a, exit)
	}()
}

// startPackage starts the package of a granted attempt. If ok is false, the package never ran and exit.Reason says why.
// An empty Reason means that workerCtx ended first: the outcome is unknown and must not be reported.
func (w *Worker) startPackage(workerCtx context.Context, a *attempt) (exit guard.Exit, ok bool) {
	ctx, cancel := context.WithCancelCause(workerCtx)
	defer cancel(nil)
	started, listenerEnded := make(chan struct{}), make(chan struct{})
	go func() { // a stop, a fence or a kill also ends a download
		defer close(listenerEnded)
		for {
			select {
			case <-started:
				return
			case <-w.killAsked:
				cancel(errors.New("the worker was told to end at once"))
				return
			case <-a.changed:
				if want := w.instructionsFor(a); want.stop || want.fenced {
					cancel(errors.New("it was stopped"))
				}
			}
		}
	}()
	secrets := secretsOf(a.grant)
	err := w.startGuard(ctx, a)
	close(started)
	<-listenerEnded
	if err == nil {
		ofAttempt(w.log, a.info).Info("started", slog.String(logkey.Package, a.info.Package),
			slog.Int(logkey.PID, a.guard.PID()))
		notify(a.changed) // instructions that came during the start are still to be applied
		return guard.Exit{}, true
	}
	var failed *guard.StartError
	if errors.As(err, &failed) {
		return failed.Exit, false
	}
	// The package may have run for a moment if the start was broken off. The attempt must not be reported before it is
	// certain that nothing of the package runs any more.
	for {
		gone, serr := guard.Sweep(a.folder)
		if gone {
			break
		}
		ofAttempt(w.log, a.info).Error("the processes of a failed start cannot be ended", logger.Err(serr))
		pauseFor(workerCtx, time.Second, nil)
		if workerCtx.Err() != nil {
			return guard.Exit{}, false
		}
	}
	if exit, rerr := guard.ReadExit(a.folder); rerr == nil && exit.Reason != guard.StartFailed {
		return exit, false
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return guard.Exit{
		Reason: guard.StartFailed, Code: -1, Detail: guard.Mask(err.Error(), secrets), Ended: time.Now(),
		Elsewhere: !errors.Is(err, runner.ErrPackage) && !errors.Is(err, errProject),
	}, false
}

// startGuard prepares the attempt and starts its guard. The end of ctx breaks off the preparation and not the start: a
// package that may already run is stopped, or left to its guard, like any other.
func (w *Worker) startGuard(ctx context.Context, a *attempt) error {
	secrets, size := secretsOf(a.grant), 0
	for _, s := range secrets {
		size += len(s)
	}
	if size > maxSecrets {
		return fmt.Errorf("%w: its sensitive values have %d bytes together; at most %d can be kept out of what it writes",
			runner.ErrPackage, size, maxSecrets)
	}
	project, err := w.projects.acquire(ctx, a.info.ProjectBlob)
	if err != nil {
		return err
	}
	a.project = project
	if project.name != a.info.ProjectBlob { // the next worker process must not remove this copy
		a.info.ProjectCopy = project.name
		if err := a.info.write(a.folder); err != nil {
			return err
		}
	}
	cmd, err := w.runners.Prepare(runner.Task{
		Grant: a.grant, ProjectFile: project.File, ProjectDir: project.Dir, Folder: a.folder,
	})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		removeAll(cmd.Remove)
		return err
	}
	a.started = w.instructionsFor(a).lease
	a.guard, err = guard.Start(guard.Spec{
		Executable: w.cfg.GuardExecutable, Folder: a.folder,
		Command: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Remove: cmd.Remove, Secrets: secrets,
		Lease: a.started, KillBefore: guardMargin, Grace: w.cfg.StopGrace, RunTimeout: a.info.runTimeout(),
	})
	a.grant = wire.Grant{} // the secrets in it are not needed any more
	if err != nil {
		removeAll(cmd.Remove)
	}
	return err
}

// maxSecrets bounds the bytes of an attempt's secrets. The guard's masker takes some 25 bytes of memory for each of
// them.
const maxSecrets = 2 << 20

// secretsOf returns the values that must not appear in anything that is recorded of an attempt.
func secretsOf(g wire.Grant) []string {
	var out []string
	for _, parameters := range [][]wire.Parameter{g.Parameters, g.Options} {
		for _, p := range parameters {
			if p.Sensitive && len(p.Value) >= guard.MinSecret {
				out = append(out, p.Value)
			}
		}
	}
	return out
}

func removeAll(paths []string) {
	for _, path := range paths {
		os.Remove(path)
	}
}

const (
	outputPause    = 100 * time.Millisecond
	maxOutputPause = time.Second // while the package writes nothing
)

// supervise carries the masters' instructions to the guard and the package's output to the spool until the package
// ends.
func (w *Worker) supervise(workerCtx context.Context, a *attempt) (guard.Exit, error) {
	type result struct {
		exit guard.Exit
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		exit, err := a.guard.Wait(workerCtx)
		ended <- result{exit, err}
	}()
	applied := instructions{lease: a.started}
	killAsked := w.killAsked
	pause := outputPause
	output := time.NewTimer(0)
	defer output.Stop()
	for {
		select {
		case e := <-ended:
			return e.exit, e.err
		case <-a.changed:
			applied = w.instruct(a, applied)
		case <-killAsked:
			killAsked = nil
			w.killPackage(a)
		case <-output.C:
			if n, err := w.moveOutput(a); err != nil {
				ofAttempt(w.log, a.info).Error("the output of a package cannot be recorded", logger.Err(err))
				pause = maxOutputPause
			} else if pause = min(2*pause, maxOutputPause); n > 0 {
				pause = outputPause
			}
			output.Reset(pause)
		}
	}
}

// instruct passes on the instructions that have changed since the applied ones, and returns what is applied now.
func (w *Worker) instruct(a *attempt, applied instructions) instructions {
	want := w.instructionsFor(a)
	log := ofAttempt(w.log, a.info)
	if want.fenced {
		if !applied.fenced {
			log.Warn("the masters gave this attempt up; its package is ended")
			w.killPackage(a)
		}
		return want
	}
	if !worthExtending(applied.lease, want.lease) {
		want.lease = applied.lease
	} else if err := a.guard.Extend(want.lease); err != nil {
		want.lease = applied.lease
		if _, rerr := guard.ReadExit(a.folder); rerr != nil {
			// The guard hangs or has died. The package ends at the deadline that the guard knows, or has ended with it.
			log.Warn("the guard does not take a new deadline", logger.Err(err))
		}
	}
	if want.stop && !applied.stop {
		log.Info("stopping")
		a.info.Stopped = true
		if err := errors.Join(a.info.write(a.folder), a.guard.Stop()); err != nil {
			log.Warn("the package cannot be stopped", logger.Err(err))
		}
	}
	return want
}

// worthExtending reports whether a renewal moves the deadline far enough for a call to the guard. Polls, and with them
// renewals, can follow each other closely while other attempts start and end.
func worthExtending(have, renewed guard.Lease) bool {
	return renewed.For > 0 && (have.For != renewed.For || have.From.Since(renewed.From) > have.For/20)
}

func (w *Worker) killPackage(a *attempt) {
	if err := a.guard.Kill(); err != nil {
		ofAttempt(w.log, a.info).Error("a package does not end", logger.Err(err))
	}
}

// moveOutput moves new output from the task folder into the spool and returns how many lines it moved.
func (w *Worker) moveOutput(a *attempt) (int, error) {
	mark, _ := w.spool.Mark(a.key)
	lines, next, err := guard.ReadOutput(a.folder, mark)
	if err != nil || next == mark {
		return 0, err
	}
	if err := w.spool.AppendMessages(a.key, w.messages(a, lines), next); err != nil {
		return 0, err
	}
	notify(w.outbox)
	return len(lines), nil
}

// Message source types, as the product numbers them.
const (
	sourceExternal = 20 // the process that runs the package: messages of the worker and the guard
	sourcePackage  = 30 // the package: its output
)

func (w *Worker) messages(a *attempt, lines []guard.Line) []spool.Message {
	messages := make([]spool.Message, 0, len(lines))
	for _, l := range lines {
		kind, source := runner.TypeWarning, sourceExternal
		if l.Stream != guard.Notice {
			kind, source = a.classifier.Type(a.info.Package, l.Stream == guard.Stderr, l.Text), sourcePackage
		}
		messages = append(messages, spool.Message{Time: l.Time, Type: kind, SourceType: source, Text: l.Text})
	}
	return messages
}

// finish stores the last messages and the report of an attempt, and removes it from the attempts that the worker holds.
func (w *Worker) finish(a *attempt, exit guard.Exit) {
	want := w.instructionsFor(a)
	log := ofAttempt(w.log, a.info)
	var errs []error
	for {
		n, err := w.moveOutput(a)
		if errors.Is(err, spool.ErrClosed) {
			break // an earlier process has already stored all output
		}
		if err != nil || n == 0 {
			errs = append(errs, err)
			break
		}
	}
	outcome, code, text := w.outcomeOf(a, exit, want.stop)
	if want.fenced {
		text = "it was ended: the masters had given this attempt up"
	}
	closing := w.lastOutput(a)
	if outcome != wire.OutcomeSucceeded || want.fenced {
		kind := runner.TypeError
		if outcome == wire.OutcomeCanceled {
			kind = runner.TypeInformation
		}
		closing = append(closing, spool.Message{Time: exit.Ended, Type: kind, SourceType: sourceExternal, Text: text})
	}
	total, err := w.spool.CloseAttempt(a.key, closing)
	errs = append(errs, err)
	if !want.fenced {
		errs = append(errs, w.spool.AddReport(spool.Report{
			Key: a.key, Outcome: outcome, ExitCode: code, Message: text, Messages: total, Code: endCode(exit),
		}))
	}
	if err := errors.Join(errs...); err != nil {
		// The folder stays unfinished, so that the next process tries again. This process offers the report all the same.
		log.Error("the end of an attempt cannot be stored", logger.Err(err))
	} else {
		a.info.Done = true
		if err := a.info.write(a.folder); err != nil {
			log.Error("the task folder cannot be marked as done", logger.Err(err))
		}
	}
	if outcome == wire.OutcomeSucceeded {
		os.RemoveAll(filepath.Join(a.folder, scratchDir))
	}
	if a.project != nil {
		w.projects.release(a.project)
	}
	w.metrics.ended(outcome)
	log.Info("ended", slog.String(logkey.Outcome, outcome), slog.Int(logkey.ExitCode, code),
		slog.String(logkey.Detail, text), slog.Bool(logkey.Fenced, want.fenced))
	w.mu.Lock()
	delete(w.attempts, a.key)
	if exit.Elsewhere {
		w.outdated = true // the programs on this machine may have changed
	}
	pruneNow := time.Since(w.pruned) > time.Minute
	if pruneNow {
		w.pruned = time.Now()
	}
	w.mu.Unlock()
	notify(w.outbox)
	notify(w.exchangeNow)
	if pruneNow {
		prune(w.cfg.TasksRootFolder, w.cfg.KeepTasks, w.cfg.KeepFor, w.log)
	}
}

// endCode returns the code of the execution's bound that ended an attempt, and "" if none did.
func endCode(exit guard.Exit) string {
	if exit.Reason == guard.TimedOut {
		return wire.EndedRunTimeout
	}
	return ""
}

// outcomeOf turns an exit into the report's outcome, exit code and message.
func (w *Worker) outcomeOf(a *attempt, exit guard.Exit, stopped bool) (outcome string, code int, text string) {
	failed := wire.OutcomeFailed
	if stopped {
		failed = wire.OutcomeCanceled
	}
	switch exit.Reason {
	case guard.StartFailed:
		switch {
		case stopped:
			return wire.OutcomeCanceled, exit.Code, "stopped before it began"
		case exit.Elsewhere:
			return wire.OutcomeReturned, exit.Code, "it was not started here: " + exit.Detail
		}
		return failed, exit.Code, "it could not be started: " + exit.Detail
	case guard.Lost:
		return failed, exit.Code, "its processes were killed: " + exit.Detail
	case guard.Deadline:
		return failed, exit.Code, "it was killed, since no master could be reached before its lease ran out"
	case guard.TimedOut:
		text = fmt.Sprintf("it was ended, since it ran longer than %v (%s)", a.info.runTimeout(), optionRunTimeout)
		return failed, exit.Code, text
	case guard.Killed:
		return failed, exit.Code, "it was killed, since the worker was told to end at once"
	}
	if exit.Signal != "" {
		text = "ended by signal " + exit.Signal
		if exit.Reason == guard.Stopped && !stopped {
			text += ", since its guard was asked to end"
		}
		return failed, exit.Code, text
	}
	outcome, text = runner.Outcome(a.info.Package, exit.Code, stopped)
	return outcome, exit.Code, text
}

const lastLines = 20

// lastOutput returns the last lines of the output if the limit has cut the messages off: they say how the package
// ended.
func (w *Worker) lastOutput(a *attempt) []spool.Message {
	if _, full := w.spool.Mark(a.key); !full {
		return nil
	}
	info, err := os.Stat(filepath.Join(a.folder, guard.OutputFile))
	if err != nil {
		return nil
	}
	const tail = 64 << 10
	lines, _, err := guard.ReadOutput(a.folder, max(0, info.Size()-tail))
	if err != nil || len(lines) == 0 {
		return nil
	}
	lines = lines[max(0, len(lines)-lastLines):]
	head := spool.Message{
		Time: lines[0].Time, Type: runner.TypeInformation, SourceType: sourceExternal,
		Text: fmt.Sprintf("The last %d lines of the output:", len(lines)),
	}
	return append([]spool.Message{head}, w.messages(a, lines)...)
}
