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

// Call is one procedure call, whatever door it came through.
type Call struct {
	Procedure *procedure.Procedure
	Raw       procedure.Raw
	Caller    command.Caller
	Key       string // request key, "" for none
	Chosen    bool   // the caller chose the key
	// Waits is told when the call begins to wait for an execution's end; what it returns is called when the wait is over.
	Waits func() (over func())
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
// command that commits proves by itself that this node leads; a refusal, an answer that the state has kept for the
// request key, and an answer without a command are given after a proof only, so that nobody who led once gives them.
//
// With a key, an answer that the state has kept wins: it is looked for before anything is planned, and again when the
// call is refused, since the first try of the same call may have been applied in between.
//
// Errors are *command.Rejection, wrap an outcome that package command declares, or wrap ErrTimeout.
func (s *Service) Call(ctx context.Context, c *Call) (Answer, error) {
	p := c.Procedure
	if err := p.Authorize(c.Caller); err != nil {
		return Answer{}, err
	}
	args, err := p.Bind(c.Raw)
	if err != nil {
		return Answer{}, err
	}
	limit := s.cfg.Timeout
	if CarriesFile(p) {
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
func (s *Service) call(ctx context.Context, c *Call, args any) (_ Answer, wait int64, _ error) {
	reader := s.cfg.State.View()
	key, err := c.key(reader)
	if err != nil {
		return Answer{}, 0, err
	}
	if answer, wait, ok, err := s.replay(ctx, c, args, key); ok || err != nil {
		return answer, wait, err
	}
	plan, err := c.Procedure.Plan(ctx, &procedure.Call{
		Caller: c.Caller, Reader: reader, Blobs: s.cfg.Blobs, Seal: s.cfg.Seal, Config: s.cfg.Settings(),
	}, args)
	if err == nil && plan.Command != nil {
		if no := catalog.DryRun(reader, c.Caller, plan.Command); no != nil {
			err = no
		}
	}
	switch {
	case err != nil:
		return s.refused(ctx, c, args, key, err)
	case plan.Command == nil:
		return Answer{Sets: plan.Sets, Index: reader.Index()}, 0, s.cfg.Proposer.Read(ctx)
	case plan.Before != nil:
		if err := plan.Before(ctx); err != nil {
			return s.refused(ctx, c, args, key, err)
		}
	}
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
	answer := Answer{Sets: plan.Sets, Index: index}
	answer.Outputs, answer.ReturnValue = c.Procedure.Results(result)
	return answer, c.Procedure.Waits(s.cfg.State.View(), args), nil
}

// key is the request key of a call as its command carries it; the zero Key for a call without one.
func (c *Call) key(reader *catalog.Reader) (command.Key, error) {
	if c.Key == "" {
		return command.Key{}, nil
	}
	mac, err := RequestMAC(reader.KeySecret(), c.Procedure, c.Raw)
	return command.Key{Text: c.Key, Chosen: c.Chosen, Request: mac}, err
}

// refused answers a call that the plan or the dry run refused, once this node has proved that it leads. The state may
// have moved on since: what the proved state keeps for the key wins, and a call that it would not refuse any more is
// for its caller to repeat.
func (s *Service) refused(ctx context.Context, c *Call, args any, key command.Key, why error) (Answer, int64, error) {
	var no *command.Rejection
	refusal := errors.As(why, &no)
	if !refusal && key.Text == "" {
		return Answer{}, 0, why
	}
	if err := s.cfg.Proposer.Read(ctx); err != nil {
		if refusal {
			why = err
		}
		return Answer{}, 0, why
	}
	if answer, wait, ok, err := s.kept(c, args, key); ok || err != nil {
		return answer, wait, err
	}
	return Answer{}, 0, why
}

// replay looks for the answer that the state keeps for a call's key, and proves leadership if there is one.
func (s *Service) replay(ctx context.Context, c *Call, args any,
	key command.Key) (_ Answer, wait int64, ok bool, _ error) {
	answer, wait, ok, err := s.kept(c, args, key)
	if !ok && err == nil {
		return Answer{}, 0, false, nil
	}
	if proof := s.cfg.Proposer.Read(ctx); proof != nil {
		return Answer{}, 0, false, proof
	}
	return answer, wait, ok, err
}

// kept is the answer that the state keeps for a call's key, as this node has it.
func (s *Service) kept(c *Call, args any, key command.Key) (_ Answer, wait int64, ok bool, _ error) {
	if key.Text == "" {
		return Answer{}, 0, false, nil
	}
	reader := s.cfg.State.View()
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
	answer.Outputs, answer.ReturnValue = c.Procedure.Results(got.Result)
	// The first try may be waiting still, or its leader be gone: this one takes the wait over.
	return answer, c.Procedure.Waits(reader, args), true, nil
}

// waitEnd waits until an execution has ended. When this node stops leading, or stops, the outcome is unknown: whoever
// repeats the call with its key resumes the wait.
func (s *Service) waitEnd(ctx context.Context, execution int64, waits func() func()) error {
	if waits != nil {
		defer waits()()
	}
	held, cancel := s.cfg.Proposer.Hold(ctx)
	defer cancel()
	held, end := context.WithCancelCause(held)
	defer end(nil)
	defer context.AfterFunc(s.cfg.Stopping, func() { end(command.ErrStopping) })()
	for {
		reader := s.cfg.State.View()
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

// CarriesFile reports whether a procedure takes the bytes of a file.
func CarriesFile(p *procedure.Procedure) bool {
	for i := range p.Parameters {
		if p.Parameters[i].Type == sqltype.VarBinaryMax {
			return true
		}
	}
	return false
}
