package catalog

import (
	"errors"
	"fmt"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// ErrCannotApply is wrapped by the errors of Apply: this binary cannot know what the command does, and must stop.
var ErrCannotApply = errors.New("this version cannot apply a log entry")

// Apply applies one command of the entry at index. The result is a function of the state and the command alone, and
// equal on every node; a rejection has changed nothing but the state's time. Changes become visible with Commit.
//
// An error, which wraps ErrCannotApply and command.ErrUnknownKind or command.ErrUndecodable, means that nothing may be
// applied to this state any more.
func (s *State) Apply(index uint64, env command.Envelope) (command.Result, error) {
	cmd, err := env.Command()
	if err != nil {
		return command.Result{}, fmt.Errorf("%w: index %d: %w", ErrCannotApply, index, err)
	}
	s.begin()
	s.events.begin(index)
	s.now.tick(env.Time)
	result := s.keyed(index, env, cmd)
	if s.changes >= commitRows {
		s.commit() // under the index of the entry before: this one is not complete
	}
	return result, nil
}

// keyed answers a repeated command from the request keys, and keeps the answer of a new one.
func (s *State) keyed(index uint64, env command.Envelope, cmd command.Command) command.Result {
	if env.Key.Text == "" {
		return s.transition(env.Caller, cmd)
	}
	r := s.working()
	if a, ok := s.keys.lookup(r.Meta.KeyTime, newest, env.Caller, env.Key.Text); ok {
		if a.Same(env.Key.Request) {
			return a.Result
		}
		return reject(command.CodeKeyReused, "the request key %s was used for another request: a key belongs to one request", sqltype.Quote(env.Key.Text))
	}
	if no := s.keys.admit(r, env.Caller, env.Key.Chosen); no != nil {
		return command.Result{Rejection: no}
	}
	result := s.transition(env.Caller, cmd)
	if no := result.Rejection; no != nil && (no.Code == command.CodeVersionChanged || no.Code == command.CodeLimitReached) {
		return result // it is tried again under the same key: at once with a new plan, or when there is room
	}
	waits := int64(0)
	if start, ok := cmd.(*command.StartExecution); ok && result.Rejection == nil {
		if e, ok := s.working().Execution(start.ExecutionID); ok && Synchronized(e) {
			waits = e.ID
		}
	}
	s.keys.keep(s.working(), index, env.Caller, env.Key, waits, result)
	return result
}

// transition runs the command's transition: it reads, decides, and writes what it decided. A list command does so for
// each item in turn, so that an item sees what those before it did.
func (s *State) transition(caller command.Caller, cmd command.Command) command.Result {
	switch c := cmd.(type) {
	case *command.Noop, *command.EnableScaleout:
		return command.Result{}
	case *command.InitCluster:
		return decide(s, caller, c, initCluster)
	case *command.RaiseLevel:
		return decide(s, caller, c, raiseLevel)
	case *command.Beat:
		return decide(s, caller, c, beat)
	case *command.CreateFolder:
		return decide(s, caller, c, createFolder)
	case *command.DeleteFolder:
		return decide(s, caller, c, deleteFolder)
	case *command.DeployProject:
		return decide(s, caller, c, deployProject)
	case *command.DeleteProject:
		return decide(s, caller, c, deleteProject)
	case *command.CreateExecution:
		return decide(s, caller, c, createExecution)
	case *command.SetExecutionParameter:
		return decide(s, caller, c, setExecutionParameter)
	case *command.AddExecutionWorker:
		return decide(s, caller, c, addExecutionWorker)
	case *command.StartExecution:
		return decide(s, caller, c, startExecution)
	case *command.StopOperation:
		return decide(s, caller, c, stopOperation)
	case *command.RegisterWorker:
		return registerWorker(s, caller, c)
	case *command.EnableWorker:
		return decide(s, caller, c, enableWorker)
	case *command.SetWorkerProperty:
		return decide(s, caller, c, setWorkerProperty)
	case *command.DeleteWorker:
		return decide(s, caller, c, deleteWorker)
	case *command.Exchange:
		return exchange(s, caller, c)
	case *command.Expire:
		return command.Result{Items: items(s, caller, c.Items, expire)}
	case *command.FailQueued:
		return command.Result{Items: items(s, caller, c.Items, failQueued)}
	case *command.AppendMessages:
		return appendMessages(s, caller, c)
	case *command.MergeSegments:
		return decide(s, caller, c, mergeSegments)
	case *command.Cleanup:
		return cleanup(s, caller, c)
	case *command.Announce:
		return decide(s, caller, c, announce)
	}
	panic(fmt.Sprintf("catalog: no transition for %s", cmd.Kind())) // a test asks for every kind
}

// decide lets f read and decide, and writes what it decided unless it rejected.
func decide[C any](s *State, caller command.Caller, c C, f func(*Reader, *edit, C) command.Result) command.Result {
	e := s.edit(caller)
	result := f(s.working(), e, c)
	if result.Rejection == nil {
		s.write(e)
	}
	return result
}

// items decides and writes item by item; each is applied or rejected on its own.
func items[C any](s *State, caller command.Caller, list []C, f func(*Reader, *edit, C) command.ItemResult) []command.ItemResult {
	results := make([]command.ItemResult, len(list))
	for i, c := range list {
		e := s.edit(caller)
		if results[i] = f(s.working(), e, c); results[i].Code == "" {
			s.write(e)
		}
	}
	return results
}

func reject(code, format string, args ...any) command.Result {
	return command.Result{Rejection: command.Refuse(code, format, args...)}
}

func refuse(code, format string, args ...any) command.ItemResult {
	return command.ItemResult{Code: code, Detail: fmt.Sprintf(format, args...)}
}
