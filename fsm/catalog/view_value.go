package catalog

import (
	"context"
	"iter"
	"slices"

	"scaleout/fsm/command"
)

// valueBits is how many low bits of execution_parameter_id number the parameters of one execution: the id is made of
// the execution and the place, so that it need not be stored.
const valueBits = 16

func valuesView() *View {
	return &View{
		Name: "execution_parameter_values", Permission: readers, Key: []string{"execution_parameter_id"}, Rising: []string{"execution_id"},
		Doc: "The values that an execution's parameters and server options have.",
		Columns: []Column{
			{Name: "execution_parameter_id", Type: BigInt, Doc: "the value"},
			{Name: "execution_id", Type: BigInt, Doc: "the execution"},
			{Name: "object_type", Type: SmallInt, Doc: "20: of the project, 30: of the package, 50: a server option"},
			{Name: "parameter_data_type", Type: NVarChar(128), Doc: "Int32, String, …"},
			{Name: "parameter_name", Type: Sysname, Doc: "the parameter"},
			{Name: "parameter_value", Type: SQLVariant, Nullable: true, Doc: "its value; NULL when sensitive"},
			{Name: "sensitive", Type: Bit, Doc: "whether its value is secret"},
			{Name: "required", Type: Bit, Doc: "whether the execution cannot start without a value"},
			{Name: "value_set", Type: Bit, Doc: "whether it has a value"},
			{Name: "runtime_override", Type: Bit, Doc: "whether the value was set for this execution"},
		},
		Walks: always,
		Rows:  valueRows,
	}
}

func valueRows(_ context.Context, q *Query) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		executions := *q
		executions.After = nil
		if q.After != nil {
			last, _ := q.After[0].(int64)
			executions.After = Row{last >> valueBits}
		}
		for e := range someExecutions(&executions, "execution_id") {
			if !sees(q.Caller, e.Caller) {
				last := e.ID << valueBits
				if !q.Descending {
					last |= 1<<valueBits - 1
				}
				if !yield(Row{last}, errHidden) {
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
func executionValues(view *Reader, e *Execution) []Row {
	var rows []Row
	add := func(objectType int, name, typ string, value *command.Value, sensitive, required bool) {
		_, set := setValue(e, objectType, name)
		rows = append(rows, Row{e.ID<<valueBits | int64(len(rows)+1), e.ID, int64(objectType), typ, name, variant(value),
			sensitive, required, value != nil, set})
	}
	for i := range serverOptions {
		o := &serverOptions[i]
		add(ObjectExecution, o.name, o.typ.String(), o.value(e), false, false)
	}
	version, ok := view.Version(e.Version)
	if !ok {
		for i := range e.Values {
			if v := &e.Values[i]; v.ObjectType != ObjectExecution {
				add(v.ObjectType, v.Name, v.Value.Type, &v.Value, v.Value.Sealed != nil, false)
			}
		}
		return rows
	}
	declared := func(objectType int, list []command.Parameter) {
		for i := range list {
			p := &list[i]
			value, set := setValue(e, objectType, p.Name)
			if !set && !p.Required { // the design default of a required one is never used
				value = p.Default
			}
			add(objectType, p.Name, p.Type, value, p.Sensitive, p.Required)
		}
	}
	declared(ObjectProject, version.Manifest.Parameters)
	if pkg, ok := packageNamed(version, e.Package); ok {
		declared(ObjectPackage, pkg.Parameters)
	}
	return rows
}
