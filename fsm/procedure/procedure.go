package procedure

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Procedures returns every procedure, by name. The slice and what it points to must not be changed.
func All() []*Procedure { return procedures().list }

// ProcedureNamed returns the procedure of that name, in any case and without "catalog.".
func Named(name string) (*Procedure, bool) {
	p, ok := procedures().byName[strings.ToLower(name)]
	return p, ok
}

// FindProcedure is ProcedureNamed with a refusal ("procedure_not_found") that helps.
func Find(name string) (*Procedure, error) {
	if p, ok := Named(name); ok {
		return p, nil
	}
	names := make([]string, len(All()))
	for i, p := range All() {
		names[i] = p.Name
	}
	return nil, command.Refuse(command.CodeProcedureNotFound, "there is no procedure %s%s", sqltype.Quote(name), command.Hint(name, names))
}

type procedureTable struct {
	list   []*Procedure
	byName map[string]*Procedure
}

var procedures = sync.OnceValue(func() procedureTable {
	t := procedureTable{list: slices.Concat(projectProcedures(), executionProcedures(), workerProcedures())}
	slices.SortFunc(t.list, func(a, b *Procedure) int { return strings.Compare(a.Name, b.Name) })
	t.byName = make(map[string]*Procedure, len(t.list))
	for _, p := range t.list {
		t.byName[strings.ToLower(p.Name)] = p
		p.Plan = guarded(p, p.Plan)
	}
	return t
})

// guarded puts the permission check before every plan, so that no door can forget it.
func guarded(p *Procedure, plan func(context.Context, *Call) (Plan, error)) func(context.Context, *Call) (Plan, error) {
	return func(ctx context.Context, call *Call) (Plan, error) {
		if err := p.Authorize(call.Caller); err != nil {
			return Plan{}, err
		}
		return plan(ctx, call)
	}
}

// Authorize refuses ("permission_denied") a caller without the permission. Plan does so too; a door that asks first
// spares itself reading the arguments.
func (p *Procedure) Authorize(c command.Caller) error {
	return catalog.Authorize("call "+p.Name, p.Permission, c)
}

// Bind reads arguments: names in any case and without "@", every value typed by Coerce, defaults filled in, and NULL
// for an optional parameter meaning its default. Refusals name the parameter and what would be right; a sensitive
// value is never shown.
func (p *Procedure) Bind(raw Raw) (Args, error) {
	given := make(map[string]string, len(raw)) // parameter → the caller's spelling
	names := make([]string, 0, len(raw))
	for name := range raw {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same request gets the same refusal
	args := make(Args, len(p.Parameters))
	for _, name := range names {
		par, ok := p.parameter(name)
		if !ok {
			return nil, command.Refuse(command.CodeUnknownParameter, "%s has no parameter %s%s", p.Name, sqltype.Quote(name), command.Hint(name, p.inputs()))
		}
		if first, twice := given[par.Name]; twice {
			return nil, command.Refuse(command.CodeInvalidArgument, "the parameter %s is given twice, as %s and as %s", par.Name, sqltype.Quote(first), sqltype.Quote(name))
		}
		given[par.Name] = name
		v, err := sqltype.Coerce(par.Type, raw[name])
		switch {
		case err != nil:
			return nil, badArgument(par, err)
		case v == nil: // below
		case par.Output:
			return nil, command.Refuse(command.CodeInvalidArgument, "%s is an output of %s: leave it out", par.Name, p.Name)
		default:
			args[par.Name] = v
		}
	}
	for i := range p.Parameters {
		par := &p.Parameters[i]
		if _, ok := args[par.Name]; ok || par.Output {
			continue
		}
		if par.Required {
			if spelled, ok := given[par.Name]; ok {
				return nil, command.Refuse(command.CodeInvalidArgument, "%s must not be NULL: it is a %s", spelled, par.Type)
			}
			return nil, command.Refuse(command.CodeMissingParameter, "%s needs the parameter %s (%s): %s", p.Name, par.Name, par.Type, par.Doc)
		}
		args[par.Name] = par.Default
	}
	return args, nil
}

func badArgument(par *registry.Parameter, err error) error {
	var bad *sqltype.ValueError
	if par.Sensitive && errors.As(err, &bad) {
		return command.Refuse(command.CodeInvalidArgument, "%s is not a valid %s: %s", par.Name, bad.Type, bad.Want)
	}
	return command.Refuse(command.CodeInvalidArgument, "%s: %s", par.Name, err)
}

func (p *Procedure) parameter(name string) (*registry.Parameter, bool) {
	for i := range p.Parameters {
		if strings.EqualFold(p.Parameters[i].Name, name) {
			return &p.Parameters[i], true
		}
	}
	return nil, false
}

func (p *Procedure) inputs() []string {
	var names []string
	for _, par := range p.Parameters {
		if !par.Output {
			names = append(names, par.Name)
		}
	}
	return names
}

// Readers of arguments whose parameters are not NULL after Bind.
func (a Args) text(name string) string { s, _ := a[name].(string); return s }
func (a Args) int(name string) int64   { n, _ := a[name].(int64); return n }
func (a Args) bit(name string) bool    { b, _ := a[name].(bool); return b }
