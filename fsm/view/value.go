package view

import (
	"context"
	"iter"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// valueBits is how many low bits of execution_parameter_id number the parameters of one execution: the id is made of
// the execution and the place, so that it need not be stored.
const valueBits = 16

func valuesView() *View {
	return &View{
		Name: "execution_parameter_values", Permission: catalog.Readers, Key: []string{"execution_parameter_id"},
		Rising: []string{"execution_id"},
		Doc:    "The values that an execution's parameters and server options have.",
		Columns: []registry.Column{
			{Name: "execution_parameter_id", Type: sqltype.BigInt, Doc: "the value"},
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution"},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: of the project, 30: of the package, 50: a server option"},
			{Name: "parameter_data_type", Type: sqltype.NVarChar(128), Doc: "Int32, String, …"},
			{Name: "parameter_name", Type: sqltype.Sysname, Doc: "the parameter"},
			{Name: "parameter_value", Type: sqltype.Variant, Nullable: true, Doc: "its value; NULL when sensitive"},
			{Name: "sensitive", Type: sqltype.Bit, Doc: "whether its value is secret"},
			{Name: "required", Type: sqltype.Bit, Doc: "whether the execution cannot start without a value"},
			{Name: "value_set", Type: sqltype.Bit, Doc: "whether it has a value"},
			{Name: "runtime_override", Type: sqltype.Bit, Doc: "whether the value was set for this execution"},
		},
		Walks: always,
		Rows:  valueRows,
	}
}

func valueRows(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
	return func(yield func(registry.Row, error) bool) {
		executions := *q
		executions.After = nil
		if q.After != nil {
			last, _ := q.After[0].(int64)
			executions.After = registry.Row{last >> valueBits}
		}
		for e := range someExecutions(&executions, "execution_id") {
			if !sees(q, e.ID, e.Caller) {
				last := e.ID << valueBits
				if !q.Descending {
					last |= 1<<valueBits - 1
				}
				if !yield(registry.Row{last}, errHidden) {
					return
				}
				continue
			}
			rows := executionValues(q.View, e)
			if q.Descending {
				slices.Reverse(rows)
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// executionValues are the server options, then the project's parameters, then the package's. Of an execution whose
// version is gone, only what was set on it is known.
func executionValues(view *catalog.Reader, e *catalog.Execution) []registry.Row {
	var rows []registry.Row
	add := func(objectType int, name, typ string, value *command.Value, sensitive, required bool) {
		_, set := catalog.ValueOf(e, objectType, name)
		rows = append(rows, registry.Row{e.ID<<valueBits | int64(len(rows)+1), e.ID, int64(objectType), typ, name,
			catalog.Variant(value),
			sensitive, required, value != nil, set})
	}
	for i := range catalog.Options() {
		o := &catalog.Options()[i]
		add(catalog.ObjectExecution, o.Name, o.Type, o.Value(e), false, false)
	}
	version, ok := view.Version(e.Version)
	if !ok {
		for i := range e.Values {
			if v := &e.Values[i]; v.ObjectType != catalog.ObjectExecution {
				add(v.ObjectType, v.Name, v.Value.Type, &v.Value, v.Value.Sealed != nil, false)
			}
		}
		return rows
	}
	declared := func(objectType int, list []command.Parameter) {
		for i := range list {
			p := &list[i]
			value, set := catalog.ValueOf(e, objectType, p.Name)
			if !set && !p.Required { // the design default of a required one is never used
				value = p.Default
			}
			add(objectType, p.Name, p.Type, value, p.Sensitive, p.Required)
		}
	}
	declared(catalog.ObjectProject, version.Manifest.Parameters)
	if pkg, ok := catalog.PackageNamed(version, e.Package); ok {
		declared(catalog.ObjectPackage, pkg.Parameters)
	}
	return rows
}
