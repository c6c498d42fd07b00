package catalog

import (
	"errors"
	"fmt"

	"scaleout/fsm/command"
)

// ErrCannotApply is wrapped by the errors of Apply: the log holds an entry that this version does not understand, most
// likely a newer version's. This binary cannot know what the command does, and must stop.
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
	result := s.keyed(index, env, kinds[env.Kind], cmd)
	if s.changes >= commitRows {
		s.commit() // under the index of the entry before: this one is not complete
	}
	return result, nil
}

// keyed answers a repeated command from the request keys, and keeps the answer of a new one.
func (s *State) keyed(index uint64, env command.Envelope, k *kind, cmd command.Command) command.Result {
	if env.Key.Text == "" {
		return s.transition(env.Caller, k, cmd)
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
	result := s.transition(env.Caller, k, cmd)
	if no := result.Rejection; no != nil && command.Family(no.Code) == command.FamilyLimitReached {
		return result // it is tried again under the same key when there is room
	}
	waits := int64(0)
	if k.awaits != nil && result.Rejection == nil {
		if e, ok := s.working().Execution(k.awaits(cmd)); ok && Synchronized(e) {
			waits = e.ID
		}
	}
	s.keys.keep(s.working(), index, env.Caller, env.Key, waits, result)
	return result
}

// transition runs the command's transition: it reads, decides, and writes what it decided.
func (s *State) transition(caller command.Caller, k *kind, cmd command.Command) command.Result {
	if k.apply != nil {
		return k.apply(s, caller, cmd)
	}
	return decide(s, caller, cmd, k.decide)
}

// DryRun runs the transition of a command on what the reader reads, and throws away what it decided: nil means that the
// state as it is would not refuse the command. It is for commands that are applied whole; of the items of a list it
// says nothing. Any goroutine may call it.
func DryRun(r *Reader, caller command.Caller, cmd command.Command) *command.Rejection {
	k := kinds[command.KindOf(cmd)]
	if k == nil || k.decide == nil {
		return nil
	}
	return k.decide(r, &edit{meta: *r.meta, caller: caller}, cmd).Rejection
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
