package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"scaleout/fsm/sqltype"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// enterProcedure finds out which procedure is called, who may call it and how much its arguments may hold: whoever may
// not call it sends this master no body, and no forwarding master reads one for it.
func (a *API) enterProcedure(r *request) error {
	name, err := r.name("procedure")
	if err != nil {
		return err
	}
	if r.called, err = a.service.Procedure(r.caller, name); err != nil {
		return err
	}
	if !r.called.CarriesFile() {
		r.limit = callBody
	}
	return nil
}

// procedure is the route of all procedures.
func (a *API) procedure(w http.ResponseWriter, r *request) error {
	raw, err := r.arguments()
	if err != nil {
		return err
	}
	got, err := a.service.Call(r.Context(), &service.Call{
		Procedure: r.called, Raw: raw, Caller: r.caller, Key: r.Header.Get(wire.HeaderKey),
		Chosen: r.Header.Get(wire.HeaderKeyOrigin) != wire.KeyOriginLibrary,
		Waits:  func() { w.WriteHeader(http.StatusProcessing) },
	})
	if err != nil {
		return err
	}
	b, err := encode(&got, r.called)
	if err != nil {
		return err
	}
	w.Header().Set(wire.HeaderIndex, strconv.FormatUint(got.Index, 10))
	return answerRaw(w, http.StatusOK, b)
}

// arguments reads a flat object of arguments; no body at all means none. Any of them may be secret.
func (r *request) arguments() (raw sqltype.Secret[map[string]json.RawMessage], err error) {
	if len(r.body) == 0 {
		return raw, nil
	}
	members, err := wire.Members(r.body)
	if err != nil {
		return raw, err
	}
	return sqltype.NewSecret(members), nil
}

// encode writes the answer in the types of the procedure's parameters.
func encode(c *service.Answer, p service.Procedure) ([]byte, error) {
	b := append([]byte(`{"return_value":`), strconv.FormatInt(c.ReturnValue, 10)...)
	b = append(b, `,"output":{`...)
	first := true
	parameters := p.Parameters()
	for i := range parameters {
		par := &parameters[i]
		v, ok := c.Outputs[par.Name]
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
			return nil, fmt.Errorf("output %s of %s: %w", par.Name, p.Name(), err)
		}
	}
	b = append(b, `},"result_sets":[`...)
	for i := range c.Sets {
		if i > 0 {
			b = append(b, ',')
		}
		set, err := json.Marshal(c.Sets[i])
		if err != nil {
			return nil, fmt.Errorf("result set %d of %s: %w", i, p.Name(), err)
		}
		b = append(b, set...)
	}
	return append(b, "]}\n"...), nil
}
