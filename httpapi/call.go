package httpapi

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/wire"
)

// call is one procedure call, whatever door it came through.
type call struct {
	procedure *procedure.Procedure
	raw       procedure.Raw
	caller    command.Caller
	key       string // request key, "" for none
	chosen    bool   // the caller chose the key
	waits     func() // told when the call begins to wait for an execution's end
}

// called is what a call returned.
type called struct {
	returnValue int64
	outputs     map[string]any
	sets        []registry.ResultSet
	index       uint64
}

// mostPlans is how often a call is planned when the project changes under it.
const mostPlans = 5

// call makes a procedure call on the leader. It is the only way from a door to a procedure: rules of request keys that
// were written twice would differ some day.
//
// With a key, an answer that the state has kept wins: it is looked for before the plan is made and again when the plan
// refuses, since the first try of the same call may have been applied in between. Refusals of a plan are not kept.
func (a *API) call(ctx context.Context, c *call) (called, error) {
	p := c.procedure
	if err := p.Authorize(c.caller); err != nil {
		return called{}, err
	}
	args, err := p.Bind(c.raw)
	if err != nil {
		return called{}, err
	}
	limit := a.cfg.Timeout
	if carriesFile(p) {
		limit *= 10
	}
	timed, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	if err := a.cfg.Proposer.Read(timed); err != nil {
		return called{}, err
	}
	view := a.cfg.State.View()
	var mac []byte
	if c.key != "" {
		if mac, err = requestMAC(view.KeySecret(), p, c.raw); err != nil {
			return called{}, err
		}
		if got, ok, err := a.kept(ctx, c, args, mac, view); ok || err != nil {
			return got, err
		}
	}
	var plan procedure.Plan
	var result command.Result
	out := called{}
	for try := 1; ; try++ {
		plan, err = p.Plan(timed, &procedure.Call{
			Args: args, Caller: c.caller, Now: a.cfg.Now(), View: view, Blobs: a.cfg.Blobs, Seal: a.cfg.Seal, Open: a.cfg.Open,
			NewGUID: a.cfg.NewGUID, Config: a.cfg.Settings(),
		})
		if err != nil {
			if c.key != "" {
				if got, ok, kept := a.kept(ctx, c, args, mac, a.cfg.State.View()); ok || kept != nil {
					return got, kept
				}
			}
			return called{}, err
		}
		out.sets, out.index = plan.Sets, view.Index()
		if plan.Command == nil {
			return out, nil
		}
		env, err := command.Wrap(plan.Command)
		if err != nil {
			return called{}, err
		}
		env.Caller = c.caller
		if c.key != "" {
			env.Key = command.Key{Text: c.key, Chosen: c.chosen, Request: mac}
		}
		if result, out.index, err = a.cfg.Proposer.Propose(timed, env); err != nil {
			return called{}, err
		}
		// A project that was deployed again between plan and command: plan again. The state keeps no key for this.
		if result.Rejection == nil || result.Rejection.Code != command.CodeVersionChanged || try == mostPlans {
			break
		}
		view = a.cfg.State.View()
	}
	if result.Rejection != nil {
		return called{}, result.Rejection
	}
	if plan.Outputs != nil {
		out.outputs, out.returnValue = plan.Outputs(result)
	}
	if plan.Wait != 0 {
		if err := a.waitEnd(ctx, plan.Wait, c.waits); err != nil {
			return called{}, err
		}
	}
	return out, nil
}

// kept looks for the answer that the state keeps for a call's key.
func (a *API) kept(ctx context.Context, c *call, args procedure.Args, mac []byte, view *catalog.Reader) (called, bool, error) {
	got, ok := view.Answer(c.caller, c.key)
	if !ok {
		return called{}, false, nil
	}
	if !hmac.Equal(got.Request, mac) {
		return called{}, false, fmt.Errorf("%w: %s %q was sent with other arguments before; a new call needs a new key", errKeyReused, wire.HeaderKey, c.key)
	}
	if got.Result.Rejection != nil {
		return called{}, false, got.Result.Rejection
	}
	out := called{index: view.Index()}
	out.outputs, out.returnValue = outputsOf(c.procedure, got.Result)
	// The first try may be waiting still, or its leader be gone: this one takes the wait over.
	if id, ok := args["execution_id"].(int64); ok && c.procedure.Name == "start_execution" {
		if e, ok := view.Execution(id); ok && catalog.Synchronized(e) {
			if err := a.waitEnd(ctx, id, c.waits); err != nil {
				return called{}, false, err
			}
		}
	}
	return out, true, nil
}

// outputsOf derives a call's outputs from a kept result alone: the plan that knew them may refuse by now. A command
// makes at most one id, and a procedure has at most one output, which is that id.
func outputsOf(p *procedure.Procedure, r command.Result) (map[string]any, int64) {
	var value int64
	if p.Name == "create_folder" { // its return value is the id too
		value = r.Value
	}
	for i := range p.Parameters {
		if p.Parameters[i].Output {
			return map[string]any{p.Parameters[i].Name: r.Value}, value
		}
	}
	return nil, value
}

// waitEnd waits until an execution has ended. When this node stops leading, or stops, the outcome is unknown: whoever
// repeats the call with its key resumes the wait.
func (a *API) waitEnd(ctx context.Context, execution int64, waits func()) error {
	if waits != nil {
		waits()
	}
	defer leaveTurn(ctx)()
	held, cancel := a.cfg.Proposer.Hold(ctx)
	defer cancel()
	held, end := context.WithCancelCause(held)
	defer end(nil)
	defer context.AfterFunc(a.stopping, func() { end(command.ErrStopping) })()
	for {
		view := a.cfg.State.View()
		e, ok := view.Execution(execution)
		if !ok || e.Status.HasEnded() {
			return nil // what is gone has ended
		}
		select {
		case <-a.cfg.State.Changed(view.Index()):
		case <-held.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: execution %d goes on; the same call with the same %s waits for it again: %w",
				command.ErrUnknownOutcome, execution, wire.HeaderKey, context.Cause(held))
		}
	}
}

func carriesFile(p *procedure.Procedure) bool {
	for i := range p.Parameters {
		if p.Parameters[i].Type == sqltype.VarBinaryMax {
			return true
		}
	}
	return false
}

// enterProcedure finds out which procedure is called, who may call it and how much its arguments may hold: whoever may
// not call it sends this master no body, and no forwarding master reads one for it.
func (a *API) enterProcedure(r *request) error {
	name, err := r.name("procedure")
	if err != nil {
		return err
	}
	if r.called, err = procedure.Find(name); err != nil {
		return err
	}
	if !carriesFile(r.called) {
		r.limit = callBody
	}
	return r.called.Authorize(r.caller)
}

// procedure is the route of all procedures.
func (a *API) procedure(w http.ResponseWriter, r *request) error {
	p := r.called
	raw, err := r.arguments()
	if err != nil {
		return err
	}
	c := &call{
		procedure: p, raw: raw, caller: r.caller, key: r.Header.Get(wire.HeaderKey),
		chosen: r.Header.Get(wire.HeaderKeyOrigin) != wire.KeyOriginLibrary,
		waits:  func() { w.WriteHeader(http.StatusProcessing) },
	}
	got, err := a.call(r.Context(), c)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, command.ErrUnknownOutcome) {
			err = fmt.Errorf("%w: %w", errTimeout, err)
		}
		return err
	}
	b, err := got.encode(p)
	if err != nil {
		return err
	}
	w.Header().Set(wire.HeaderIndex, strconv.FormatUint(got.index, 10))
	return answerRaw(w, http.StatusOK, b)
}

// arguments reads a flat object of arguments; no body at all means none.
func (r *request) arguments() (procedure.Raw, error) {
	if len(r.body) == 0 {
		return procedure.Raw{}, nil
	}
	return wire.Members(r.body)
}

// encode writes the answer in the types of the procedure's parameters.
func (c *called) encode(p *procedure.Procedure) ([]byte, error) {
	b := append([]byte(`{"return_value":`), strconv.FormatInt(c.returnValue, 10)...)
	b = append(b, `,"output":{`...)
	first := true
	for i := range p.Parameters {
		par := &p.Parameters[i]
		v, ok := c.outputs[par.Name]
		if !ok || !par.Output {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = strconv.AppendQuote(b, par.Name)
		b = append(b, ':')
		var err error
		if b, err = sqltype.AppendJSON(b, par.Type, v); err != nil {
			return nil, fmt.Errorf("output %s of %s: %w", par.Name, p.Name, err)
		}
	}
	b = append(b, `},"result_sets":[`...)
	for i := range c.sets {
		if i > 0 {
			b = append(b, ',')
		}
		set, err := json.Marshal(c.sets[i])
		if err != nil {
			return nil, fmt.Errorf("result set %d of %s: %w", i, p.Name, err)
		}
		b = append(b, set...)
	}
	return append(b, "]}\n"...), nil
}
