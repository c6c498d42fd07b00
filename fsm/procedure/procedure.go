package procedure

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

// All returns every procedure, by name. The slice and what it points to must not be changed.
func All() []*Procedure { return procedures().All() }

// Named returns the procedure of that name or alias, in any case and without a schema.
func Named(name string) (*Procedure, bool) { return procedures().Named(name) }

// Find is Named with a refusal ("procedure_not_found") that helps.
func Find(name string) (*Procedure, error) { return procedures().Find(name) }

var procedures = sync.OnceValue(func() *registry.Names[*Procedure] {
	return registry.NewNames(command.CodeProcedureNotFound,
		slices.Concat(projectProcedures(), executionProcedures(), workerProcedures()),
		func(p *Procedure) []string { return append([]string{p.Name}, p.Aliases...) })
})

// Authorize refuses ("permission_denied") a caller without the permission in the state that the reader reads. Plan does
// so too; a door that asks first spares itself reading the arguments.
func (p *Procedure) Authorize(r *catalog.Reader, c command.Caller) error {
	return catalog.Authorize(r, c, p.Permission, p.Name)
}

// Plan turns arguments, as Bind returned them, into a command. The permission is checked here, so that no door can
// forget it. A refusal is a *command.Rejection with one of Checks.
func (p *Procedure) Plan(ctx context.Context, call *Call, args any) (Plan, error) {
	if err := p.Authorize(call.Reader, call.Caller); err != nil {
		return Plan{}, err
	}
	plan, err := p.plan(ctx, call, args)
	if err == nil && len(plan.Rows) != len(p.Sets) {
		return Plan{}, fmt.Errorf("%s has %d result sets, its declaration %d", p.Name, len(plan.Rows), len(p.Sets))
	}
	return plan, err
}

// ResultSets are the rows of a plan with the columns that the declaration has for them.
func (p *Procedure) ResultSets(rows [][]registry.Row) []registry.ResultSet {
	sets := make([]registry.ResultSet, len(rows))
	for i := range rows {
		sets[i] = registry.ResultSet{Columns: p.Sets[i], Rows: rows[i]}
	}
	return sets
}

// Codes are all that a call can be refused with beside what every call can: an argument that does not bind, a missing
// permission, a request key, and the limits of the master.
func (p *Procedure) Codes() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.Checks, p.Raises))))
}

// Results are the outputs and the return value of a call whose command had the result: of the first call, and of one
// that is answered from a kept result. A command makes at most one id, and a procedure has at most one output, which
// is that id.
func (p *Procedure) Results(r command.Result) (outputs map[string]any, returnValue int64) {
	for i := range p.Parameters {
		if p.Parameters[i].Output {
			return map[string]any{p.Parameters[i].Name: r.Value}, 0
		}
	}
	return nil, 0
}

// Waits is the execution whose end a call waits for once its command is applied, 0 for none.
func (p *Procedure) Waits(r *catalog.Reader, args any) int64 {
	if p.waits == nil {
		return 0
	}
	return p.waits(r, args)
}
