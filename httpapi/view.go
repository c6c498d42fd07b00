package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// Query parameters of views that are no columns.
const (
	queryColumns     = "columns"
	queryOrder       = "order"
	queryPageSize    = "page_size"
	queryPageToken   = "page_token"
	queryConsistency = "consistency"
)

var viewQuery = []queryParameter{
	{queryColumns, "columns of the rows, comma-separated; default: all", "string"},
	{queryOrder, "columns to order by, comma-separated, each with a leading - for descending; default: the view's key",
		"string"},
	{queryPageSize, "1 to 1000, default 100", "integer"},
	{queryPageToken, "next_page_token of the page before", "string"},
	{queryConsistency, "linearizable (default), or stale: read from the master asked; " + wire.HeaderStale +
		" says how stale", "string"},
}

// view is the route of all views: the leader under a proof of leadership, or any master under consistency=stale.
func (a *API) view(w http.ResponseWriter, r *request) error {
	name, err := r.name("view")
	if err != nil {
		return err
	}
	v, err := a.service.View(r.caller, name)
	if err != nil {
		return err
	}
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	if query.Stale {
		staleness := int64(-1) // no leader was ever heard
		if place := a.cfg.Member.Place(); !place.Contact.IsZero() {
			staleness = max(0, time.Since(place.Contact).Milliseconds())
		}
		w.Header().Set(wire.HeaderStale, strconv.FormatInt(staleness, 10))
	}
	page, err := a.service.Read(r.Context(), v, r.caller, query)
	if err != nil {
		return err
	}
	index := strconv.FormatUint(page.Index, 10)
	b := append([]byte(`{"index":`), index...)
	if b, err = page.AppendJSON(append(b, ',')); err != nil {
		return err
	}
	if page.NextPageToken != "" {
		b = append(b, `,"next_page_token":`...)
		b = strconv.AppendQuote(b, page.NextPageToken)
	}
	if c := page.Messages; c != nil {
		state, err := json.Marshal(wire.MessagesState(*c))
		if err != nil {
			return err
		}
		b = append(append(b, `,"messages":`...), state...)
	}
	w.Header().Set(wire.HeaderIndex, index)
	return answerRaw(w, http.StatusOK, append(b, "}\n"...))
}

// readQuery takes what a query string says. Whatever is no word of ours is a predicate on a column, which the
// service checks: column=value, which may stand several times, or column.operator=value.
func readQuery(r *request) (out service.Query, err error) {
	query := r.URL.Query()
	out.Where = map[string][]string{}
	for name, values := range query {
		switch name {
		case queryColumns, queryOrder, queryPageToken, queryPageSize, queryConsistency:
			if len(values) != 1 {
				return out, &wire.BadInput{Code: wire.CodeInvalidArgument,
					Detail: fmt.Sprintf("%.64q is given %d times; once was expected", name, len(values))}
			}
		default:
			out.Where[name] = values
		}
	}
	out.Columns, out.Order, out.PageToken = query.Get(queryColumns), query.Get(queryOrder), query.Get(queryPageToken)
	if query.Has(queryColumns) && out.Columns == "" {
		return out, &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: "columns: at least one column was expected"}
	}
	if value := query.Get(queryPageSize); query.Has(queryPageSize) {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > service.MaxPageSize {
			return out, &wire.BadInput{Code: wire.CodeInvalidArgument,
				Detail: fmt.Sprintf("page_size: %.64q; a number from 1 to %d was expected", value, service.MaxPageSize)}
		}
		out.PageSize = n
	}
	out.Stale, err = staleRead(query)
	return out, err
}

// staleRead says whether a query asks for what this master has, whoever leads.
func staleRead(query url.Values) (bool, error) {
	if !query.Has(queryConsistency) {
		return false, nil
	}
	switch value := query.Get(queryConsistency); value {
	case "stale":
		return true, nil
	case "linearizable":
		return false, nil
	default:
		return false, &wire.BadInput{Code: wire.CodeInvalidArgument,
			Detail: fmt.Sprintf("consistency: %.64q; linearizable or stale was expected", value)}
	}
}

func (a *API) listViews(w http.ResponseWriter, _ *request) error {
	out := wire.Views{Views: []wire.View{}}
	for _, v := range a.service.Views() {
		one := wire.View{Name: v.Name, Doc: v.Doc, Roles: filled(v.Roles), Columns: columnsOf(v.Columns),
			Key: filled(v.Key)}
		out.Views = append(out.Views, one)
	}
	return answer(w, http.StatusOK, out)
}

func columnsOf(columns []registry.Column) []wire.Column {
	out := make([]wire.Column, len(columns))
	for i, c := range columns {
		out[i] = wire.Column{Name: c.Name, Type: c.Type.String(), Nullable: c.Nullable, Doc: c.Doc}
	}
	return out
}

func (a *API) listProcedures(w http.ResponseWriter, _ *request) error {
	out := wire.Procedures{Procedures: []wire.Procedure{}}
	for _, p := range a.service.Procedures() {
		one := wire.Procedure{Schema: p.Schema, Name: p.Name, Aliases: filled(p.Aliases), Doc: p.Doc,
			Roles:      filled(p.Roles),
			Parameters: []wire.ProcedureParameter{}, ResultSets: [][]wire.Column{}, Codes: filled(p.Codes)}
		for _, r := range p.Returns {
			one.Returns = append(one.Returns, wire.ReturnCode(r))
		}
		for _, set := range p.Sets {
			one.ResultSets = append(one.ResultSets, columnsOf(set))
		}
		for i := range p.Parameters {
			par := &p.Parameters[i]
			def, err := sqltype.Encode(par.Type, par.Default)
			if err != nil {
				return fmt.Errorf("default of %s.%s: %w", p.Name, par.Name, err)
			}
			one.Parameters = append(one.Parameters, wire.ProcedureParameter{
				Name: par.Name, Type: par.Type.String(), Required: par.Required, Default: json.RawMessage(def),
				Output: par.Output, Sensitive: par.Sensitive, Doc: par.Doc,
			})
		}
		out.Procedures = append(out.Procedures, one)
	}
	return answer(w, http.StatusOK, out)
}

// filled turns nil into an empty list, which JSON writes as one.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
