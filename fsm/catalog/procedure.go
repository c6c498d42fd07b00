package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"scaleout/fsm/command"
)

// Procedures returns every procedure, by name. The slice and what it points to must not be changed.
func Procedures() []*Procedure { return procedures().list }

// ProcedureNamed returns the procedure of that name, in any case and without "catalog.".
func ProcedureNamed(name string) (*Procedure, bool) {
	p, ok := procedures().byName[strings.ToLower(name)]
	return p, ok
}

// FindProcedure is ProcedureNamed with a refusal ("procedure_not_found") that helps.
func FindProcedure(name string) (*Procedure, error) {
	if p, ok := ProcedureNamed(name); ok {
		return p, nil
	}
	names := make([]string, len(Procedures()))
	for i, p := range Procedures() {
		names[i] = p.Name
	}
	return nil, refusal(CodeProcedureNotFound, "there is no procedure %s%s", clip(name), hint(name, names))
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
	return authorize("call "+p.Name, p.Permission, c)
}

func authorize(what string, p Permission, c command.Caller) error {
	if p.Allows(c) {
		return nil
	}
	if c.Kind != "user" {
		return refusal(CodePermissionDenied, "%s is for users; the certificate of %s is a %s's", what, clip(c.Name), c.Kind)
	}
	roles := p.Roles
	if !slices.Contains(roles, command.RoleAdmin) {
		roles = append([]string{command.RoleAdmin}, roles...)
	}
	return refusal(CodePermissionDenied, "to %s takes the role %s; %s has %s",
		what, strings.Join(roles, " or "), clip(c.Name), roleList(c.Roles))
}

func roleList(roles []string) string {
	if len(roles) == 0 {
		return "no role"
	}
	return strings.Join(roles, ", ")
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
			return nil, refusal(CodeUnknownParameter, "%s has no parameter %s%s", p.Name, clip(name), hint(name, p.inputs()))
		}
		if first, twice := given[par.Name]; twice {
			return nil, refusal(CodeInvalidArgument, "the parameter %s is given twice, as %s and as %s", par.Name, clip(first), clip(name))
		}
		given[par.Name] = name
		v, err := Coerce(par.Type, raw[name])
		switch {
		case err != nil:
			return nil, badArgument(par, err)
		case v == nil: // below
		case par.Output:
			return nil, refusal(CodeInvalidArgument, "%s is an output of %s: leave it out", par.Name, p.Name)
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
				return nil, refusal(CodeInvalidArgument, "%s must not be NULL: it is a %s", spelled, par.Type)
			}
			return nil, refusal(CodeMissingParameter, "%s needs the parameter %s (%s): %s", p.Name, par.Name, par.Type, par.Doc)
		}
		args[par.Name] = par.Default
	}
	return args, nil
}

func badArgument(par *Parameter, err error) error {
	var bad *ValueError
	if par.Sensitive && errors.As(err, &bad) {
		return refusal(CodeInvalidArgument, "%s is not a valid %s: %s", par.Name, bad.Type, bad.Want)
	}
	return refusal(CodeInvalidArgument, "%s: %s", par.Name, err)
}

func (p *Procedure) parameter(name string) (*Parameter, bool) {
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

// Hint ends a sentence that says that there is no such name: with the one that was probably meant, else with those that
// there are.
func Hint(name string, names []string) string { return hint(name, names) }

// hint guesses what was meant, else lists what there is.
func hint(name string, names []string) string {
	bare := strings.TrimPrefix(strings.ToLower(name), "@")
	bare = strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(bare, "[", ""), "]", ""), "catalog.")
	best, distance := "", 3
	for _, n := range names {
		if d := edits(bare, strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	switch {
	case best != "" && distance == 0:
		return fmt.Sprintf("; write %s, without a prefix", best)
	case best != "":
		return fmt.Sprintf("; did you mean %s?", best)
	case len(names) == 0:
		return "; it has none"
	}
	return "; there are " + strings.Join(names, ", ")
}

// edits is the Levenshtein distance, cut off for what is obviously far apart.
func edits(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// refusal is an error for people: a code of Codes and a sentence.
func refusal(code, format string, args ...any) *command.Rejection {
	return &command.Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Readers of arguments whose parameters are not NULL after Bind.
func (a Args) text(name string) string { s, _ := a[name].(string); return s }
func (a Args) int(name string) int64   { n, _ := a[name].(int64); return n }
func (a Args) bit(name string) bool    { b, _ := a[name].(bool); return b }
