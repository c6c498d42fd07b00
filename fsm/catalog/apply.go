package catalog

import (
	"errors"
	"fmt"
	"sync"

	"scaleout/fsm/command"
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
	if a, ok := s.keys.lookup(r.meta.KeyTime, newest, env.Caller, env.Key.Text); ok {
		if a.Same(env.Key.Request) {
			return a.Result
		}
		return reject(command.CodeKeyReused, env.Key.Text)
	}
	if no := s.keys.admit(r, env.Caller, env.Key.Chosen); no != nil {
		return command.Result{Rejection: no}
	}
	result := s.transition(env.Caller, cmd)
	if no := result.Rejection; no != nil && command.Family(no.Code) == command.FamilyLimitReached {
		return result // it is tried again under the same key when there is room
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

// transition is what commands of one kind do to the state. One of the two is set: decide for a command that is applied
// whole or not at all, apply for a list of items, each of which sees what those before it did.
type transition struct {
	decide func(*Reader, *edit, command.Command) command.Result
	apply  func(*State, command.Caller, command.Command) command.Result
}

func whole[C command.Command](f func(*Reader, *edit, C) command.Result) transition {
	return transition{decide: func(r *Reader, e *edit, c command.Command) command.Result { return f(r, e, c.(C)) }}
}

func list[C command.Command](f func(*State, command.Caller, C) command.Result) transition {
	return transition{apply: func(s *State, caller command.Caller, c command.Command) command.Result {
		return f(s, caller, c.(C))
	}}
}

func nothing(*Reader, *edit, command.Command) command.Result { return command.Result{} }

// transitions is what each kind of command does. It is made by a function, since transitions themselves refer to it.
var transitions = sync.OnceValue(func() map[command.Kind]transition {
	return map[command.Kind]transition{
		command.KindNoop:                  {decide: nothing},
		command.KindEnableScaleout:        {decide: nothing},
		command.KindInitCluster:           whole(initCluster),
		command.KindRaiseLevel:            whole(raiseLevel),
		command.KindBeat:                  whole(beat),
		command.KindCreateFolder:          whole(createFolder),
		command.KindDeleteFolder:          whole(deleteFolder),
		command.KindDeployProject:         whole(deployProject),
		command.KindDeleteProject:         whole(deleteProject),
		command.KindCreateExecution:       whole(createExecution),
		command.KindSetExecutionParameter: whole(setExecutionParameter),
		command.KindAddExecutionWorker:    whole(addExecutionWorker),
		command.KindStartExecution:        whole(startExecution),
		command.KindStopOperation:         whole(stopOperation),
		command.KindRegisterWorker:        list(registerWorker),
		command.KindEnableWorker:          whole(enableWorker),
		command.KindSetWorkerProperty:     whole(setWorkerProperty),
		command.KindDeleteWorker:          whole(deleteWorker),
		command.KindExchange:              list(exchange),
		command.KindExpire:                list(expireAll),
		command.KindFailQueued:            list(failAllQueued),
		command.KindAppendMessages:        list(appendMessages),
		command.KindMergeSegments:         whole(mergeSegments),
		command.KindCleanup:               list(cleanup),
		command.KindAnnounce:              whole(announce),
	}
})

// transition runs the command's transition: it reads, decides, and writes what it decided.
func (s *State) transition(caller command.Caller, cmd command.Command) command.Result {
	t := transitions()[cmd.Kind()] // a test asks for every kind
	if t.apply != nil {
		return t.apply(s, caller, cmd)
	}
	return decide(s, caller, cmd, t.decide)
}

// DryRun runs the transition of a command on what the reader reads, and throws away what it decided: nil means that the
// state as it is would not refuse the command. It is for commands that are applied whole; of the items of a list it
// says nothing. Any goroutine may call it.
func DryRun(r *Reader, caller command.Caller, cmd command.Command) *command.Rejection {
	t := transitions()[cmd.Kind()]
	if t.decide == nil {
		return nil
	}
	return t.decide(r, &edit{meta: *r.meta, caller: caller}, cmd).Rejection
}

func expireAll(s *State, caller command.Caller, c *command.Expire) command.Result {
	return command.Result{Items: items(s, caller, c.Items, expire)}
}

func failAllQueued(s *State, caller command.Caller, c *command.FailQueued) command.Result {
	return command.Result{Items: items(s, caller, c.Items, failQueued)}
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
func items[C any](s *State, caller command.Caller, list []C,
	f func(*Reader, *edit, C) command.ItemResult) []command.ItemResult {
	results := make([]command.ItemResult, len(list))
	for i, c := range list {
		e := s.edit(caller)
		if results[i] = f(s.working(), e, c); results[i].Code == "" {
			s.write(e)
		}
	}
	return results
}

func reject(code string, args ...any) command.Result {
	return command.Result{Rejection: command.Refuse(code, args...)}
}

func refuse(code string, args ...any) command.ItemResult {
	return command.ItemResult{Code: code, Args: command.Arguments(args...)}
}
