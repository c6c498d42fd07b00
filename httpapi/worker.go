package httpapi

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

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
	cmd := &command.RegisterWorker{
		ID: id, CertName: r.caller.Name, Incarnation: in.Incarnation, MachineID: in.MachineID, BootID: in.BootID,
		Version:     in.Version,
		MachineName: in.MachineName, UserAccount: in.UserAccount, DisplayName: in.DisplayName, Description: in.Description,
		MaxTaskCount: in.MaxTaskCount, LeaseMs: in.LeaseMs, TaskHeartbeatMs: in.TaskHeartbeatMs,
		AgentHeartbeatMs: in.AgentHeartbeatMs,
		ToleranceMs:      in.ErrorToleranceMs, Bitness: in.Bitness, Running: refsIn(in.Running), Ended: reports(in.Ended),
	}
	for _, e := range in.Extensions {
		cmd.Extensions = append(cmd.Extensions, strings.ToLower(e))
	}
	reg, err := a.service.Register(r.Context(), cmd, r.received)
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
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "worker registered", slog.String(logkey.Worker, id),
		slog.String(logkey.Name, r.caller.Name), slog.String(logkey.Machine, in.MachineName),
		slog.Int(logkey.Adopted, len(out.Adopted)), slog.Int(logkey.Fenced, len(out.Fenced)))
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
	got, err := a.service.Exchange(r.Context(), command.Poll{
		Worker: id, CertName: r.caller.Name, Incarnation: in.Incarnation, Sequence: in.Sequence, Wait: wait, Slots: in.Slots,
		Running: refsIn(in.Running), Ended: reports(in.Ended), Received: r.received,
	})
	if err != nil {
		return err
	}
	return a.exchanged(w, &got)
}

// exchanged answers a poll. A master that is about to stop ends the connection with it.
func (a *API) exchanged(w http.ResponseWriter, got *service.Exchanged) error {
	out := wire.ExchangeAnswer{
		Grants: []wire.Grant{}, Stop: refsOut(got.Stop), Renewed: refsOut(got.Renewed), Settled: refsOut(got.Settled),
		Fenced: refsOut(got.Fenced), Masters: filled(a.cfg.Cluster.Masters()), Enabled: got.Enabled,
	}
	for i := range got.Grants {
		out.Grants = append(out.Grants, grantOut(&got.Grants[i]))
	}
	if a.stopping.Err() != nil {
		w.Header().Set("Connection", "close")
	}
	return answer(w, http.StatusOK, out)
}

// stoppedExchange answers a poll that this master passed on and the leader still holds, when this one stops.
func (a *API) stoppedExchange(w http.ResponseWriter, r *request) error {
	id, err := r.worker()
	if err != nil {
		return err
	}
	w.Header().Set("Connection", "close")
	got := a.service.Stopped(id)
	return a.exchanged(w, &got)
}

// grantOut is a grant as its worker is given it: here alone its secrets are revealed.
func grantOut(g *service.Grant) wire.Grant {
	out := wire.Grant{
		TaskID: g.TaskID, Attempt: g.Attempt, ExecutionID: g.ExecutionID, Folder: g.Folder, Project: g.Project,
		Package: g.Package, ProjectID: g.ProjectID, VersionLSN: g.VersionLSN, ProjectBlob: g.ProjectBlob,
		Use32Bit: g.Use32Bit, ProjectPassword: g.Password.Reveal(), GiveUpAfterMs: g.GiveUpAfter.Milliseconds(),
		Parameters: []wire.Parameter{}, Options: []wire.Parameter{},
	}
	value := func(p *command.GrantParameter, opened sqltype.Secret[string]) wire.Parameter {
		text := p.Value.Text
		if p.Value.Sealed != nil {
			text = opened.Reveal()
		}
		return wire.Parameter{
			ObjectType: p.ObjectType, Name: p.Name, Type: p.Value.Type, Value: text, Sensitive: p.Sensitive,
		}
	}
	for i := range g.Parameters {
		out.Parameters = append(out.Parameters, value(&g.Parameters[i], g.Opened[i]))
	}
	for i := range g.Options {
		out.Options = append(out.Options, value(&g.Options[i], g.Opened[len(g.Parameters)+i]))
	}
	return out
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
	parts := make([]service.Part, len(in.Items))
	for i, item := range in.Items {
		parts[i] = service.Part{TaskID: item.TaskID, Attempt: item.Attempt, FirstSeq: item.FirstSeq,
			Messages: make([]service.Message, len(item.Messages))}
		for j, m := range item.Messages {
			parts[i].Messages[j] = service.Message{Time: m.Time.UnixNano(), Type: m.Type, SourceType: m.SourceType, Text: m.Text}
		}
	}
	got, err := a.service.Messages(r.Context(), r.caller, id, parts)
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
