package service

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Procedure is a procedure that a caller may call. The zero Procedure is none.
type Procedure struct{ procedure *procedure.Procedure }

// Procedure finds a procedure by its name or alias, in any case, and asks whether the caller may call it: a door does
// so before it reads the arguments. Errors are *command.Rejection.
func (s *Service) Procedure(caller command.Caller, name string) (Procedure, error) {
	p, err := procedure.Find(name)
	if err != nil {
		return Procedure{}, err
	}
	if err := p.Authorize(s.cfg.State.Reader(), caller); err != nil {
		return Procedure{}, err
	}
	return Procedure{p}, nil
}

// Name is the procedure's name without its schema.
func (p Procedure) Name() string { return p.procedure.Name }

// Parameters are those that the procedure declares, in their order. Nobody may change them.
func (p Procedure) Parameters() []registry.Parameter { return p.procedure.Parameters }

// CarriesFile reports whether the procedure takes the bytes of a file.
func (p Procedure) CarriesFile() bool {
	if p.procedure == nil {
		return false
	}
	for i := range p.procedure.Parameters {
		if p.procedure.Parameters[i].Type == sqltype.VarBinaryMax {
			return true
		}
	}
	return false
}

// Call is one procedure call, whatever door it came through.
type Call struct {
	Procedure Procedure
	Raw       procedure.Raw
	Caller    command.Caller
	Key       string // request key, "" for none
	Chosen    bool   // the caller chose the key
	// Waits, if set, is called when the call begins to wait for an execution's end.
	Waits func()
}

// Answer is what a call returned.
type Answer struct {
	ReturnValue int64
	Outputs     map[string]any // by parameter
	Sets        []registry.ResultSet
	Index       uint64 // of the state that the answer is of
}

// Call makes a procedure call on the leader.
//
// The command is first tried on the state as this node has it: what the transition refuses there is not proposed. A
// command that commits proves by itself that this node leads. A refusal, and an answer without a command, are of a
// state that was read behind a proof; an answer that the state keeps for the request key is given after a proof, too.
//
// With a key, a kept answer wins: it is looked for before anything is planned, and again behind the proof of a refusal,
// since the first try of the same call may have been applied in between.
//
// Errors are *command.Rejection, wrap an outcome that package command declares, or wrap ErrTimeout.
func (s *Service) Call(ctx context.Context, c *Call) (Answer, error) {
	p := c.Procedure.procedure
	if err := p.Authorize(s.cfg.State.Reader(), c.Caller); err != nil {
		return Answer{}, err
	}
	args, err := p.Bind(c.Raw)
	if err != nil {
		return Answer{}, err
	}
	limit := s.cfg.Timeout
	if c.Procedure.CarriesFile() {
		limit *= 10
	}
	timed, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	answer, wait, err := s.call(timed, c, args)
	if err == nil && wait != 0 {
		err = s.waitEnd(ctx, wait, c.Waits)
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, command.ErrUnknownOutcome) {
			err = fmt.Errorf("%w: %w", ErrTimeout, err)
		}
		return Answer{}, err
	}
	return answer, nil
}

// call is Call without its waiting part: wait is the execution whose end is to be waited for, 0 for none.
//
// It looks at the state as it is, and again behind a proof of leadership where that look may not be the last word: a
// refusal, and an answer without a command, must be of a state that holds everything acknowledged before the call.
func (s *Service) call(ctx context.Context, c *Call, args any) (_ Answer, wait int64, _ error) {
	var failed error // of the plan: not a decision, so the same again would cost the same again
	for proved := false; ; proved = true {
		reader := s.cfg.State.Reader()
		key, err := s.key(ctx, c, &reader)
		if err != nil {
			return Answer{}, 0, err
		}
		if answer, wait, ok, err := s.kept(reader, c, args, key); ok || err != nil {
			if !proved {
				if proof := s.cfg.Proposer.Read(ctx); proof != nil {
					return Answer{}, 0, proof
				}
			}
			return answer, wait, err
		}
		if failed != nil {
			return Answer{}, 0, failed
		}
		plan, err := s.plan(ctx, c, args, reader)
		switch {
		case err == nil && plan.Command != nil:
			return s.propose(ctx, c, args, key, plan)
		case proved:
			return Answer{Sets: c.Procedure.procedure.ResultSets(plan.Rows), Index: reader.Index()}, 0, err
		case err != nil && !isRejection(err):
			if c.Key == "" {
				return Answer{}, 0, err
			}
			failed = err
		}
		if proof := s.cfg.Proposer.Read(ctx); proof != nil {
			if failed != nil {
				return Answer{}, 0, failed
			}
			return Answer{}, 0, proof
		}
	}
}

func isRejection(err error) bool {
	var no *command.Rejection
	return errors.As(err, &no)
}

// plan asks the procedure for a command, tries it on the state that the reader reads, and does what has to be done
// before it is proposed.
func (s *Service) plan(ctx context.Context, c *Call, args any, reader *catalog.Reader) (procedure.Plan, error) {
	plan, err := c.Procedure.procedure.Plan(ctx, &procedure.Call{
		Caller: c.Caller, Reader: reader, Blobs: s.cfg.Blobs, Seal: s.cfg.Seal, Config: s.cfg.Settings(),
	}, args)
	if err != nil || plan.Command == nil {
		return plan, err
	}
	if no := catalog.DryRun(reader, c.Caller, plan.Command); no != nil {
		return procedure.Plan{}, no
	}
	if plan.Before != nil {
		err = plan.Before(ctx)
	}
	return plan, err
}

func (s *Service) propose(ctx context.Context, c *Call, args any, key command.Key,
	plan procedure.Plan) (Answer, int64, error) {
	env, err := command.Wrap(plan.Command)
	if err != nil {
		return Answer{}, 0, err
	}
	env.Caller, env.Key = c.Caller, key
	result, index, err := s.cfg.Proposer.Propose(ctx, env)
	if err != nil {
		return Answer{}, 0, err
	}
	if result.Rejection != nil {
		return Answer{}, 0, result.Rejection
	}
	answer := Answer{Sets: c.Procedure.procedure.ResultSets(plan.Rows), Index: index}
	answer.Outputs, answer.ReturnValue = c.Procedure.procedure.Results(result)
	return answer, c.Procedure.procedure.Waits(s.cfg.State.Reader(), args), nil
}

// key is the request key of a call as its command carries it; the zero Key for a call without one. A state without a
// secret is one that this node has not caught up with: it proves that it leads, and reads again.
func (s *Service) key(ctx context.Context, c *Call, reader **catalog.Reader) (command.Key, error) {
	if c.Key == "" {
		return command.Key{}, nil
	}
	if len((*reader).KeySecret()) == 0 {
		if err := s.cfg.Proposer.Read(ctx); err != nil {
			return command.Key{}, err
		}
		*reader = s.cfg.State.Reader()
	}
	mac, err := requestMAC((*reader).KeySecret(), c.Procedure.procedure, c.Raw)
	return command.Key{Text: c.Key, Chosen: c.Chosen, Request: mac}, err
}

// kept is the answer that a state keeps for a call's key. What is kept stays true whoever leads.
func (s *Service) kept(
	reader *catalog.Reader, c *Call, args any, key command.Key,
) (_ Answer, wait int64, ok bool, _ error) {
	if key.Text == "" {
		return Answer{}, 0, false, nil
	}
	got, ok := reader.Answer(c.Caller, key.Text)
	switch {
	case !ok:
		return Answer{}, 0, false, nil
	case !hmac.Equal(got.Request, key.Request):
		return Answer{}, 0, false, command.Refuse(command.CodeKeyReused, key.Text)
	case got.Result.Rejection != nil:
		return Answer{}, 0, false, got.Result.Rejection
	}
	answer := Answer{Index: reader.Index()}
	answer.Outputs, answer.ReturnValue = c.Procedure.procedure.Results(got.Result)
	// The first try may be waiting still, or its leader be gone: this one takes the wait over.
	return answer, c.Procedure.procedure.Waits(reader, args), true, nil
}

// waitEnd waits until an execution has ended. When this node stops leading, or stops, the outcome is unknown: whoever
// repeats the call with its key resumes the wait.
func (s *Service) waitEnd(ctx context.Context, execution int64, waits func()) error {
	if waits != nil {
		waits()
	}
	defer leaveTurn(ctx)()
	held, cancel := s.cfg.Proposer.Hold(ctx)
	defer cancel()
	held, end := context.WithCancelCause(held)
	defer end(nil)
	defer context.AfterFunc(s.stopping, func() { end(command.ErrStopping) })()
	for {
		reader := s.cfg.State.Reader()
		e, ok := reader.Execution(execution)
		if !ok || e.Status.HasEnded() {
			return nil // what is gone has ended
		}
		select {
		case <-s.cfg.State.Changed(reader.Index()):
		case <-held.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: execution %d goes on; the same call with the same request key waits for it again: %w",
				command.ErrUnknownOutcome, execution, context.Cause(held))
		}
	}
}
