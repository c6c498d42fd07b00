package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
)

// Workers is the leader's side of the workers. Its errors are those of Proposer or *command.Rejection.
type Workers interface {
	// Register records a worker's process. Received is when this master received the call.
	Register(ctx context.Context, cmd *command.RegisterWorker, received time.Time) (command.Registration, error)
	// Exchange answers one poll; it may hold it for p.Wait. It checks that p.CertName is the worker's.
	Exchange(ctx context.Context, p command.Poll) (command.Answer, error)
	// Messages returns once the messages are committed, one answer for each part, in order.
	Messages(ctx context.Context, worker string, parts []Part) ([]command.Accepted, error)
}

// Part is consecutive messages of one attempt, as they are kept: a door makes them of what it was sent, and nothing
// copies them on their way into a segment.
type Part = segment.Part

// Message is one message of a package.
type Message = segment.Message

// exchangeSlack is what an exchange may take beyond its hold: a proof, a command, and waiting for an expiry's outcome.
const exchangeSlack = 20 * time.Second

// Register records a worker's process, within the limits of this master's settings.
func (s *Service) Register(
	ctx context.Context, cmd *command.RegisterWorker, received time.Time,
) (command.Registration, error) {
	limits := s.cfg.Settings().Limits
	cmd.MostAgentIDs, cmd.MostNeverEnabled, cmd.TaskCountLimit = limits.AgentIDs, limits.NeverEnabled, limits.TaskCount
	return s.cfg.Workers.Register(ctx, cmd, received)
}

// Grant is an attempt that a worker is given, with its secrets opened.
type Grant struct {
	*command.Grant
	Password sqltype.Secret[string] // the project's; the zero Secret if it has none
	// Opened are the values of Parameters, then of Options, that were sealed; the zero Secret where none was.
	Opened []sqltype.Secret[string]
}

// Exchanged is the answer to a poll. Grants are those of the answer whose secrets could be opened.
type Exchanged struct {
	command.Answer
	Grants []Grant
}

// Exchange is one poll of a worker. It ends within its hold and a little more, and with an empty answer once this node
// is about to stop: nothing happened, and the worker asks another master. When this node stops leading meanwhile, the
// outcome is unknown, and the exchange can be repeated as it is: the state tells the next leader what it did.
func (s *Service) Exchange(ctx context.Context, p command.Poll) (Exchanged, error) {
	timed, cancel := context.WithTimeoutCause(ctx, p.Wait+exchangeSlack, ErrTimeout)
	defer cancel()
	held, release := s.cfg.Proposer.Hold(timed)
	defer release()
	held, end := context.WithCancelCause(held)
	defer end(nil)
	defer context.AfterFunc(s.stopping, func() { end(command.ErrStopping) })()

	answer, err := s.cfg.Workers.Exchange(held, p)
	if err != nil && held.Err() != nil && !isRejection(err) {
		cause := context.Cause(held)
		switch {
		case timed.Err() != nil:
			return Exchanged{}, fmt.Errorf("%w: %w", context.Cause(timed), err)
		case errors.Is(cause, command.ErrStopping):
			return s.Stopped(p.Worker), nil
		}
		return Exchanged{}, fmt.Errorf("%w: %w", command.ErrUnknownOutcome, cause)
	}
	if err != nil {
		return Exchanged{}, err
	}
	out := Exchanged{Answer: answer}
	for i := range answer.Grants {
		g, err := s.open(&answer.Grants[i])
		if err != nil {
			// A grant that cannot be opened must not hold back what the worker's other attempts depend on; it stays the
			// worker's in the state, and is delivered with each exchange until its key is there or its lease is over.
			s.log.LogAttrs(ctx, slog.LevelError, "grant not delivered",
				slog.Int64(logkey.ExecutionID, answer.Grants[i].ExecutionID), slog.Any(logkey.Err, err))
			continue
		}
		out.Grants = append(out.Grants, g)
	}
	return out, nil
}

// Stopped is the answer to a poll at a master that is about to stop: empty.
func (s *Service) Stopped(worker string) Exchanged {
	row, ok := s.cfg.State.Reader().Worker(worker)
	return Exchanged{Answer: command.Answer{Enabled: ok && row.Enabled}}
}

// open opens a grant's secrets: here alone this is done.
func (s *Service) open(g *command.Grant) (Grant, error) {
	out := Grant{Grant: g}
	var err error
	if out.Password, err = catalog.OpenPassword(g, s.cfg.Open); err != nil {
		return Grant{}, err
	}
	out.Opened = make([]sqltype.Secret[string], 0, len(g.Parameters)+len(g.Options))
	for _, list := range [...][]command.GrantParameter{g.Parameters, g.Options} {
		for i := range list {
			var text sqltype.Secret[string]
			if list[i].Value.Sealed != nil {
				if text, err = catalog.OpenParameter(g, &list[i], s.cfg.Open); err != nil {
					return Grant{}, err
				}
			}
			out.Opened = append(out.Opened, text)
		}
	}
	return out, nil
}

// Messages takes messages of a worker's attempts: from the certificate that the worker is bound to, behind a proof of
// leadership. It returns once they are committed, with an answer for each part, in order.
func (s *Service) Messages(
	ctx context.Context, caller command.Caller, worker string, parts []Part,
) ([]command.Accepted, error) {
	if err := s.cfg.Proposer.Read(ctx); err != nil {
		return nil, err
	}
	row, ok := s.cfg.State.Reader().Worker(worker)
	switch {
	case !ok:
		return nil, command.Refuse(command.CodeWorkerNotRegistered, worker)
	case !row.BoundTo(caller.Name):
		return nil, command.Refuse(command.CodeAgentIDTaken, worker, row.CertName, caller.Name)
	}
	return s.cfg.Workers.Messages(ctx, worker, parts)
}
