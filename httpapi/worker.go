package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// exchangeSlack is what an exchange may take beyond its hold: a proof, a command, and waiting for an expiry's outcome.
const exchangeSlack = 20 * time.Second

// agentID reads an AgentId in any case, with or without braces.
func agentID(field, s string) (string, error) {
	v, err := sqltype.ParseText(sqltype.UniqueIdentifier, s)
	if err != nil {
		return "", &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: field + ": " + err.Error()}
	}
	return v.(string), nil
}

func (a *API) register(w http.ResponseWriter, r *request) error {
	var in wire.Register
	if err := r.decode(&in); err != nil {
		return err
	}
	id, err := agentID("agent_id", in.AgentID)
	if err != nil {
		return err
	}
	limits := a.cfg.Settings().Limits
	cmd := &command.RegisterWorker{
		ID: id, CertName: r.caller.Name, Instance: in.Incarnation, MachineID: in.MachineID, BootID: in.BootID,
		Version:     in.Version,
		MachineName: in.MachineName, UserAccount: in.UserAccount, DisplayName: in.DisplayName, Description: in.Description,
		MaxTaskCount: in.MaxTaskCount, LeaseMs: in.LeaseMs, TaskHeartbeatMs: in.TaskHeartbeatMs,
		AgentHeartbeatMs: in.AgentHeartbeatMs,
		ToleranceMs:      in.ErrorToleranceMs, Bitness: in.Bitness, Running: refsIn(in.Running), Ended: reports(in.Ended),
		MostAgentIDs: limits.AgentIDs, MostNeverEnabled: limits.NeverEnabled, TaskCountLimit: limits.TaskCount,
	}
	for _, e := range in.Extensions {
		cmd.Extensions = append(cmd.Extensions, strings.ToLower(e))
	}
	reg, err := a.cfg.Workers.Register(r.Context(), cmd, r.received)
	if err != nil {
		return err
	}
	out := wire.RegisterAnswer{
		Enabled: reg.Enabled, Masters: filled(a.cfg.Cluster.Masters()), Adopted: []wire.Adopted{},
		Settled: refsOut(reg.Settled), Fenced: refsOut(reg.Fenced),
	}
	for _, g := range reg.Adopted {
		out.Adopted = append(out.Adopted, wire.Adopted{TaskID: g.TaskID, Attempt: g.Attempt,
			GiveUpAfterMs: g.GiveUpAfter.Milliseconds()})
	}
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "worker registered", slog.String("worker", id),
		slog.String("name", r.caller.Name),
		slog.String("machine", in.MachineName), slog.Int("adopted", len(out.Adopted)), slog.Int("fenced", len(out.Fenced)))
	return answer(w, http.StatusOK, out)
}

// exchange is one poll. The hold counts from when the first master got it, so that a poll which is passed on again
// after a change of leader still ends when its worker expects it to.
func (a *API) exchange(w http.ResponseWriter, r *request) error {
	var in wire.Exchange
	if err := r.decode(&in); err != nil {
		return err
	}
	id, err := r.worker()
	if err != nil {
		return err
	}
	wait := max(0, time.Duration(in.WaitMs)*time.Millisecond-r.elapsed-time.Since(r.received))
	if wait > 0 {
		w.WriteHeader(http.StatusProcessing) // it may be held: whoever waits shall know at once that somebody is there
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), wait+exchangeSlack, service.ErrTimeout)
	defer cancel()
	held, release := a.cfg.Proposer.Hold(ctx)
	defer release()
	held, end := context.WithCancelCause(held)
	defer end(nil)
	defer context.AfterFunc(a.stopping, func() { end(command.ErrStopping) })()

	got, err := a.cfg.Workers.Exchange(held, command.Poll{
		Worker: id, CertName: r.caller.Name, Instance: in.Incarnation, Sequence: in.Sequence, Wait: wait, Slots: in.Slots,
		Running: refsIn(in.Running), Ended: reports(in.Ended), Received: r.received,
	})
	var no *command.Rejection
	if err != nil && held.Err() != nil && !errors.As(err, &no) {
		cause := context.Cause(held)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case errors.Is(cause, command.ErrStopping):
			return a.emptyExchange(w, id)
		}
		// The state tells the next leader what this exchange did, if anything: it can be repeated as it is.
		return fmt.Errorf("%w: %w", command.ErrUnknownOutcome, cause)
	}
	if err != nil {
		return err
	}
	out := wire.ExchangeAnswer{
		Grants: []wire.Grant{}, Stop: refsOut(got.Stop), Renewed: refsOut(got.Renewed), Settled: refsOut(got.Settled),
		Fenced: refsOut(got.Fenced), Masters: filled(a.cfg.Cluster.Masters()), Enabled: got.Enabled,
	}
	for i := range got.Grants {
		g, err := a.open(&got.Grants[i])
		if err != nil {
			// A grant that cannot be opened must not hold back what the worker's other attempts depend on; it stays the
			// worker's in the state and is delivered again with each exchange until its key is there or its term is over.
			a.log.LogAttrs(r.Context(), slog.LevelError, "grant not delivered",
				slog.Int64("execution", got.Grants[i].ExecutionID), slog.Any("error", err))
			continue
		}
		out.Grants = append(out.Grants, g)
	}
	if a.stopping.Err() != nil {
		w.Header().Set("Connection", "close")
	}
	return answer(w, http.StatusOK, out)
}

// emptyExchange answers a held poll of a master that stops: nothing happened, ask another one.
func (a *API) emptyExchange(w http.ResponseWriter, worker string) error {
	out := wire.ExchangeAnswer{
		Grants: []wire.Grant{}, Stop: []wire.AttemptRef{}, Renewed: []wire.AttemptRef{}, Settled: []wire.AttemptRef{},
		Fenced: []wire.AttemptRef{}, Masters: filled(a.cfg.Cluster.Masters()),
	}
	if row, ok := a.cfg.State.Reader().Worker(worker); ok {
		out.Enabled = row.Enabled
	}
	w.Header().Set("Connection", "close")
	return answer(w, http.StatusOK, out)
}

// stoppedExchange is emptyExchange for a poll that this master passed on and the leader still holds.
func (a *API) stoppedExchange(w http.ResponseWriter, r *request) error {
	id, err := r.worker()
	if err != nil {
		return err
	}
	return a.emptyExchange(w, id)
}

// open turns a grant into what its worker gets: here alone secrets are opened.
func (a *API) open(g *command.Grant) (wire.Grant, error) {
	out := wire.Grant{
		TaskID: g.TaskID, Attempt: g.Attempt, ExecutionID: g.ExecutionID, Folder: g.Folder, Project: g.Project,
		Package:   g.Package,
		ProjectID: g.ProjectID, VersionLSN: g.VersionLSN, ProjectBlob: g.ProjectBlob, Use32Bit: g.Use32Bit,
		GiveUpAfterMs: g.GiveUpAfter.Milliseconds(), Parameters: []wire.Parameter{}, Options: []wire.Parameter{},
	}
	var err error
	if out.ProjectPassword, err = catalog.OpenPassword(g, a.cfg.Open); err != nil {
		return wire.Grant{}, err
	}
	one := func(p *command.GrantParameter) (wire.Parameter, error) {
		text, err := catalog.OpenParameter(g, p, a.cfg.Open)
		return wire.Parameter{ObjectType: p.ObjectType, Name: p.Name, Type: p.Value.Type, Value: text,
			Sensitive: p.Sensitive}, err
	}
	for i := range g.Parameters {
		p, err := one(&g.Parameters[i])
		if err != nil {
			return wire.Grant{}, err
		}
		out.Parameters = append(out.Parameters, p)
	}
	for i := range g.Options {
		p, err := one(&g.Options[i])
		if err != nil {
			return wire.Grant{}, err
		}
		out.Options = append(out.Options, p)
	}
	return out, nil
}

func (a *API) messages(w http.ResponseWriter, r *request) error {
	var in wire.Messages
	if err := r.decode(&in); err != nil {
		return err
	}
	id, err := r.worker()
	if err != nil {
		return err
	}
	if err := a.cfg.Proposer.Read(r.Context()); err != nil {
		return err
	}
	row, ok := a.cfg.State.Reader().Worker(id)
	switch {
	case !ok:
		return command.Refuse(command.CodeWorkerNotRegistered, id)
	case row.CertName != r.caller.Name:
		return command.Refuse(command.CodeAgentIDTaken, id, row.CertName, r.caller.Name)
	}
	got, err := a.cfg.Workers.Messages(r.Context(), id, in.Items)
	if err != nil {
		return err
	}
	out := wire.MessagesAnswer{Accepted: []wire.Accepted{}}
	var refused *command.Accepted
	for i := range got {
		out.Accepted = append(out.Accepted, wire.Accepted{TaskID: got[i].TaskID, Attempt: got[i].Attempt,
			NextSeq: got[i].NextSeq})
		if got[i].Code != "" && (refused == nil || refused.Code != command.CodeGap && got[i].Code == command.CodeGap) {
			refused = &got[i]
		}
	}
	if refused != nil {
		return &itemsRefused{first: *refused, accepted: out.Accepted}
	}
	return answer(w, http.StatusOK, out)
}

// itemsRefused says that some items of messages were not taken, and what the state takes next of each.
type itemsRefused struct {
	first    command.Accepted
	accepted []wire.Accepted
}

func (e *itemsRefused) Error() string { return e.Unwrap().Error() }

func (e *itemsRefused) Unwrap() error {
	return &command.Rejection{Code: e.first.Code, Args: e.first.Args}
}

func (e *itemsRefused) extend(p *wire.Problem) {
	if e.first.Code == command.CodeGap {
		p.NextSeq = &e.first.NextSeq
	}
	p.Accepted = e.accepted
}

// worker is the AgentId in the path.
func (r *request) worker() (string, error) {
	s, err := r.name("id")
	if err != nil {
		return "", err
	}
	return agentID("worker id in the path", s)
}

func refsIn(in []wire.AttemptRef) []command.AttemptRef {
	var out []command.AttemptRef
	for _, r := range in {
		out = append(out, command.AttemptRef{TaskID: r.TaskID, Attempt: r.Attempt})
	}
	return out
}

func refsOut(in []command.AttemptRef) []wire.AttemptRef {
	out := make([]wire.AttemptRef, len(in))
	for i, r := range in {
		out[i] = wire.AttemptRef{TaskID: r.TaskID, Attempt: r.Attempt}
	}
	return out
}

func reports(in []wire.Ended) []command.Report {
	var out []command.Report
	for _, e := range in {
		out = append(out, command.Report{
			AttemptRef: command.AttemptRef{TaskID: e.TaskID, Attempt: e.Attempt},
			Outcome:    command.Outcome(e.Outcome), ExitCode: e.ExitCode, Message: e.Message, Messages: e.Messages, Code: e.Code,
		})
	}
	return out
}
