package view

import (
	"iter"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// valueBits is how many low bits of execution_parameter_id number the parameters of one execution: the id is made of
// the execution and the place, so that it need not be stored.
const valueBits = 16

// value is the value of a parameter or a server option of an execution. One without a name is a gap: the place behind
// all values of an execution that is not shown.
type value struct {
	id                        int64
	execution                 *catalog.Execution
	objectType                int
	name, dataType            string
	value                     *command.Value
	sensitive, required, over bool
}

func executionParameterValuesView() *View {
	return declare(declaration[value]{
		Name: "execution_parameter_values", Permission: command.MayReadOperations, Key: []string{"execution_parameter_id"},
		Rising: []string{"execution_id"},
		Doc:    "The values that an execution's parameters and server options have.",
		Columns: []column[value]{
			{Name: "execution_parameter_id", Type: sqltype.BigInt, Doc: "the value",
				Get: func(v value) any { return v.id }},
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution",
				Get: func(v value) any { return v.execution.ID }},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: of the project, 30: of the package, 50: a server option",
				Get: func(v value) any { return int64(v.objectType) }},
			{Name: "parameter_data_type", Type: sqltype.NVarChar(128), Doc: "Int32, String, …",
				Get: func(v value) any { return v.dataType }},
			{Name: "parameter_name", Type: sqltype.Sysname, Doc: "the parameter", Get: func(v value) any { return v.name }},
			{Name: "parameter_value", Type: sqltype.Variant, Nullable: true, Doc: "its value; NULL when sensitive",
				Get: func(v value) any { return catalog.Variant(v.value) }},
			{Name: "sensitive", Type: sqltype.Bit, Doc: "whether its value is secret",
				Get: func(v value) any { return v.sensitive }},
			{Name: "required", Type: sqltype.Bit, Doc: "whether the execution cannot start without a value",
				Get: func(v value) any { return v.required }},
			{Name: "value_set", Type: sqltype.Bit, Doc: "whether it has a value",
				Get: func(v value) any { return v.value != nil }},
			{Name: "runtime_override", Type: sqltype.Bit, Doc: "whether the value was set for this execution",
				Get: func(v value) any { return v.over }},
		},
		Gap:     func(v value) bool { return v.name == "" },
		Visible: func(q *Query, v value) bool { return seesExecution(q, v.execution) },
		Paths: []path[value]{
			{On: "execution_id", Cost: oneRow, Ordered: true, In: func(q *Query, ids []any) iter.Seq[value] {
				return values(q, executionsWithIDs(q, ids))
			}},
			{On: "execution_parameter_id", Cost: oneRow, Ordered: true, In: func(q *Query, ids []any) iter.Seq[value] {
				var executions []any
				for _, id := range ids {
					if of := any(id.(int64) >> valueBits); !slices.Contains(executions, of) {
						executions = append(executions, of)
					}
				}
				return values(q, executionsWithIDs(q, executions))
			}, From: func(q *Query, at any) iter.Seq[value] {
				if id, ok := at.(int64); ok {
					at = id >> valueBits
				} else {
					at = q.bound("execution_id", q.Descending)
				}
				return values(q, executionsFrom(q, at))
			}},
		},
	})
}

// values are those of executions, and one gap for each execution of which the query's caller sees none.
func values(q *Query, executions iter.Seq[execution]) iter.Seq[value] {
	return func(yield func(value) bool) {
		for e := range executions {
			if !seesExecution(q, e) {
				gap := value{id: e.ID << valueBits, execution: e}
				if !q.Descending {
					gap.id |= 1<<valueBits - 1
				}
				if !yield(gap) {
					return
				}
				continue
			}
			list := executionValues(q.Reader, e)
			if q.Descending {
				slices.Reverse(list)
			}
			for _, v := range list {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// executionValues are the server options, then the project's parameters, then the package's. Of an execution whose
// version is gone, only what was set on it is known.
func executionValues(r *catalog.Reader, e *catalog.Execution) []value {
	var rows []value
	add := func(objectType int, name, dataType string, v *command.Value, sensitive, required, set bool) {
		rows = append(rows, value{e.ID<<valueBits | int64(len(rows)+1), e, objectType, name, dataType, v, sensitive,
			required, set})
	}
	for i := range catalog.Options() {
		o := &catalog.Options()[i]
		_, set := catalog.ValueOf(e, catalog.ObjectExecution, o.Name)
		add(catalog.ObjectExecution, o.Name, o.Type, o.Value(e), false, false, set)
	}
	version, ok := r.Version(e.Version)
	if !ok {
		for i := range e.Values {
			if v := &e.Values[i]; v.ObjectType != catalog.ObjectExecution {
				add(v.ObjectType, v.Name, v.Value.Type, &v.Value, v.Value.Sealed != nil, false, true)
			}
		}
		return rows
	}
	declared := func(objectType int, list []command.Parameter) {
		for i := range list {
			p := &list[i]
			value, set := catalog.EffectiveValue(e, objectType, p)
			add(objectType, p.Name, p.Type, value, p.Sensitive, p.Required, set)
		}
	}
	declared(catalog.ObjectProject, version.Manifest.Parameters)
	if pkg, ok := catalog.PackageNamed(version, e.Package); ok {
		declared(catalog.ObjectPackage, pkg.Parameters)
	}
	return rows
}
