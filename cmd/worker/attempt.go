package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/runner"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/wire"
)

// attempt is one attempt that this worker holds: being made ready, running, or ending.
type attempt struct {
	key     spool.Key
	info    taskInfo
	folder  string
	grant   wire.Grant   // of a new one; an adopted one has none
	project *project     // the reference that keeps it in the cache
	guard   *guard.Guard // nil until it runs; set and read by its own goroutine once that runs
	begun   guard.Lease  // what the guard was started with; zero when it was adopted

	changed chan struct{} // one of the fields below changed
	// Under Worker.mu: what the masters want of it.
	giveUp time.Duration
	lease  guard.Lease
	stop   bool
	fenced bool

	lines runner.Classifier
}

func newAttempt(info taskInfo, folder string) *attempt {
	return &attempt{key: info.key(), info: info, folder: folder, changed: make(chan struct{}, 1)}
}

// wishes is a copy of what the masters want.
type wishes struct {
	lease        guard.Lease
	stop, fenced bool
}

func (w *Worker) wishes(a *attempt) wishes {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wishes{a.lease, a.stop, a.fenced}
}

// launch runs an attempt in its own goroutine, from wherever it stands to its end.
func (w *Worker) launch(life context.Context, a *attempt) {
	w.tasks.Add(1)
	go func() {
		defer w.tasks.Done()
		if a.guard == nil {
			exit, ok := w.begin(life, a)
			if !ok && exit.Reason == "" {
				w.log.Warn("what was started is left to the next process", "task_id", a.key.TaskID, "attempt", a.key.Attempt)
				return
			}
			if !ok {
				w.end(a, exit)
				return
			}
		}
		exit, err := w.watch(life, a)
		if err != nil {
			// Only a lost life comes here: Run ends, the guard goes on.
			w.log.Warn("the package runs on under its guard", "task_id", a.key.TaskID, "attempt", a.key.Attempt, "err", err)
			return
		}
		w.end(a, exit)
	}()
}

// begin makes a granted attempt run. Not ok: it never ran, and the exit says why; an exit without a reason means that life
// ended before that was sure, so nothing may be said of it.
func (w *Worker) begin(life context.Context, a *attempt) (guard.Exit, bool) {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	ready, listening := make(chan struct{}), make(chan struct{})
	go func() { // a stop, a fence or a kill ends a download too
		defer close(listening)
		for {
			select {
			case <-ready:
				return
			case <-w.died:
				cancel(errors.New("the worker was told to end at once"))
				return
			case <-a.changed:
				if want := w.wishes(a); want.stop || want.fenced {
					cancel(errors.New("it was stopped"))
				}
			}
		}
	}()
	secrets := secretsOf(a.grant)
	err := w.startGuard(ctx, a)
	close(ready)
	<-listening
	if err == nil {
		w.log.Info("started", "task_id", a.key.TaskID, "attempt", a.key.Attempt, "execution_id", a.info.ExecutionID,
			"package", a.info.Package, "pid", a.guard.PID())
		poke(a.changed) // what came meanwhile is for the guard
		return guard.Exit{}, true
	}
	var failed *guard.StartError
	if errors.As(err, &failed) {
		return failed.Exit, false
	}
	// Where the start was broken off, the package may have run for a moment; that it does not any more is made sure
	// before a word of it is said.
	for {
		gone, serr := guard.Sweep(a.folder)
		if gone {
			break
		}
		w.log.Error("what was started cannot be ended", "task_id", a.key.TaskID, "attempt", a.key.Attempt, "err", serr)
		w.wait(life, time.Second, nil)
		if life.Err() != nil {
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

// startGuard makes the attempt ready, which ctx may end, and starts it, which nothing breaks off: a package that may have
// begun to run is stopped, or left to its guard, like any other.
func (w *Worker) startGuard(ctx context.Context, a *attempt) error {
	secrets, size := secretsOf(a.grant), 0
	for _, s := range secrets {
		size += len(s)
	}
	if size > maxSecrets {
		return fmt.Errorf("%w: its sensitive values have %d bytes together; at most %d can be kept out of what it writes", runner.ErrPackage, size, maxSecrets)
	}
	project, err := w.projects.acquire(ctx, a.info.ProjectBlob)
	if err != nil {
		return err
	}
	a.project = project
	if project.name != a.info.ProjectBlob { // for the next worker process, which must not remove it
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
	a.begun = w.wishes(a).lease
	a.guard, err = guard.Start(guard.Spec{
		Executable: w.cfg.GuardExecutable, Folder: a.folder,
		Command: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Remove: cmd.Remove, Secrets: secrets,
		Lease: a.begun, KillBefore: guardMargin, Grace: w.cfg.StopGrace, RunTimeout: a.info.runTimeout(),
	})
	a.grant = wire.Grant{} // its secrets are not needed any more
	if err != nil {
		removeAll(cmd.Remove)
	}
	return err
}

// maxSecrets bounds what the guard needs to find them: some 25 bytes of memory for each.
const maxSecrets = 2 << 20

// secretsOf are the values that must not stand in what is recorded of an attempt.
func secretsOf(g wire.Grant) []string {
	var out []string
	for _, list := range [][]wire.Parameter{g.Parameters, g.Options} {
		for _, p := range list {
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
	pumpEvery = 100 * time.Millisecond
	pumpMost  = time.Second // when nothing is said
)

// watch carries the masters' wishes to the guard, and the package's words to the spool, until the package has ended.
func (w *Worker) watch(life context.Context, a *attempt) (guard.Exit, error) {
	type ending struct {
		exit guard.Exit
		err  error
	}
	ended := make(chan ending, 1)
	go func() {
		exit, err := a.guard.Wait(life)
		ended <- ending{exit, err}
	}()
	done := wishes{lease: a.begun}
	died := w.died
	every := pumpEvery
	pump := time.NewTimer(0)
	defer pump.Stop()
	for {
		select {
		case e := <-ended:
			return e.exit, e.err
		case <-a.changed:
			done = w.apply(a, done)
		case <-died:
			died = nil
			w.endNow(a)
		case <-pump.C:
			if n, err := w.pump(a); err != nil {
				w.log.Error("output of a package", "task_id", a.key.TaskID, "attempt", a.key.Attempt, "err", err)
				every = pumpMost
			} else if every = min(2*every, pumpMost); n > 0 {
				every = pumpEvery
			}
			pump.Reset(every)
		}
	}
}

// apply tells the guard what is new since done.
func (w *Worker) apply(a *attempt, done wishes) wishes {
	want := w.wishes(a)
	log := w.log.With("task_id", a.key.TaskID, "attempt", a.key.Attempt)
	if want.fenced {
		if !done.fenced {
			log.Warn("the masters gave this attempt up; its package is ended")
			w.endNow(a)
		}
		return want
	}
	if !worthwhile(done.lease, want.lease) {
		want.lease = done.lease
	} else if err := a.guard.Extend(want.lease); err != nil {
		want.lease = done.lease
		if _, rerr := guard.ReadExit(a.folder); rerr != nil {
			// It hangs, or it died: it ends at the deadline that it knows, or has ended.
			log.Warn("the guard does not take a new deadline", "err", err)
		}
	}
	if want.stop && !done.stop {
		log.Info("stopping")
		a.info.Stopped = true
		if err := errors.Join(a.info.write(a.folder), a.guard.Stop()); err != nil {
			log.Warn("stop", "err", err)
		}
	}
	return want
}

// worthwhile reports whether a renewal moves the deadline by enough to bother a guard. Polls can follow each other
// closely while others come and go.
func worthwhile(have, renewed guard.Lease) bool {
	return renewed.For > 0 && (have.For != renewed.For || have.From.Since(renewed.From) > have.For/20)
}

func (w *Worker) endNow(a *attempt) {
	if err := a.guard.Kill(); err != nil {
		w.log.Error("a package does not end", "task_id", a.key.TaskID, "attempt", a.key.Attempt, "err", err)
	}
}

// pump moves output from the task folder into the spool and returns how many lines it moved.
func (w *Worker) pump(a *attempt) (int, error) {
	mark, _ := w.spool.Mark(a.key)
	lines, next, err := guard.ReadOutput(a.folder, mark)
	if err != nil || next == mark {
		return 0, err
	}
	if err := w.spool.AppendMessages(a.key, w.messages(a, lines), next); err != nil {
		return 0, err
	}
	poke(w.mail)
	return len(lines), nil
}

// Message source types, as the product numbers them.
const (
	sourceExternal = 20 // the process that runs the package: what the worker and the guard say about it
	sourcePackage  = 30 // the package: its output
)

func (w *Worker) messages(a *attempt, lines []guard.Line) []spool.Message {
	list := make([]spool.Message, 0, len(lines))
	for _, l := range lines {
		kind, source := runner.TypeWarning, sourceExternal
		if l.Stream != guard.Notice {
			kind, source = a.lines.Type(a.info.Package, l.Stream == guard.Stderr, l.Text), sourcePackage
		}
		list = append(list, spool.Message{Time: l.Time, Type: kind, SourceType: source, Text: l.Text})
	}
	return list
}

// end stores what remains to be said of an attempt, and lets go of it.
func (w *Worker) end(a *attempt, exit guard.Exit) {
	want := w.wishes(a)
	log := w.log.With("task_id", a.key.TaskID, "attempt", a.key.Attempt, "execution_id", a.info.ExecutionID)
	var errs []error
	for {
		n, err := w.pump(a)
		if errors.Is(err, spool.ErrClosed) {
			break // an earlier process came this far
		}
		if err != nil || n == 0 {
			errs = append(errs, err)
			break
		}
	}
	outcome, code, text := w.verdict(a, exit, want.stop)
	if want.fenced {
		text = "it was ended: the masters had given this attempt up"
	}
	closing := w.lastWords(a)
	if outcome != wire.OutcomeSucceeded || want.fenced {
		kind := runner.TypeError
		if outcome == wire.OutcomeCanceled {
			kind = runner.TypeInformation
		}
		closing = append(closing, spool.Message{Time: exit.Ended, Type: kind, SourceType: sourceExternal, Text: text})
	}
	total, err := w.spool.Close(a.key, closing)
	errs = append(errs, err)
	if !want.fenced {
		errs = append(errs, w.spool.AddReport(spool.Report{Key: a.key, Outcome: outcome, ExitCode: code, Message: text, Messages: total, Code: endCode(exit)}))
	}
	if err := errors.Join(errs...); err != nil {
		// The folder stays unfinished: the next process tries again. The report itself is on its way.
		log.Error("what is left of an attempt cannot be stored", "err", err)
	} else {
		a.info.Done = true
		if err := a.info.write(a.folder); err != nil {
			log.Error("task folder", "err", err)
		}
	}
	if outcome == wire.OutcomeSucceeded {
		os.RemoveAll(filepath.Join(a.folder, scratchDir))
	}
	if a.project != nil {
		w.projects.release(a.project)
	}
	w.metrics.ended(outcome)
	log.Info("ended", "outcome", outcome, "exit_code", code, "detail", text, "fenced", want.fenced)
	w.mu.Lock()
	delete(w.attempts, a.key)
	if exit.Elsewhere {
		w.stale = true // what this machine can run may have changed
	}
	tidy := time.Since(w.pruned) > time.Minute
	if tidy {
		w.pruned = time.Now()
	}
	w.mu.Unlock()
	poke(w.mail)
	w.nudge()
	if tidy {
		prune(w.cfg.TasksRootFolder, w.cfg.KeepTasks, w.cfg.KeepFor, w.log)
	}
}

// endCode is the code of a bound of the execution that ended an attempt; "" when none did.
func endCode(exit guard.Exit) string {
	if exit.Reason == guard.TimedOut {
		return wire.EndedRunTimeout
	}
	return ""
}

// verdict turns an exit into the report's outcome, exit code and sentence.
func (w *Worker) verdict(a *attempt, exit guard.Exit, stopped bool) (outcome string, code int, text string) {
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
		return failed, exit.Code, fmt.Sprintf("it was ended, since it ran longer than %v (%s)", a.info.runTimeout(), optionRunTimeout)
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
	outcome, text = runner.Verdict(a.info.Package, exit.Code, stopped)
	return outcome, exit.Code, text
}

const lastLines = 20

// lastWords are the last lines of an output whose messages were cut off by the limit: they say how it ended.
func (w *Worker) lastWords(a *attempt) []spool.Message {
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
