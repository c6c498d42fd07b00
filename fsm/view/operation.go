package view

import (
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// operation is an operation of either kind: one of its fields is set.
type operation struct {
	execution *catalog.Execution
	other     *catalog.Operation
}

func operationsView() *View {
	return declare(declaration[operation]{
		Name: "operations", Permission: command.MayReadOperations, Key: []string{"operation_id"},
		Rising: []string{"created_time"},
		Doc:    "What was done in the catalog: executions, deploys and changes of its settings.",
		Columns: []column[operation]{
			{Name: "operation_id", Type: sqltype.BigInt, Doc: "the operation",
				Get: func(o operation) any { return o.id() }},
			{Name: "operation_type", Type: sqltype.SmallInt,
				Doc: "101 deploy_project, 200 execution",
				Get: either(func(execution) any { return int64(catalog.OperationExecution) },
					func(p *catalog.Operation) any { return int64(p.Type) })},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when it was created",
				Get: either(func(e execution) any { return shownTime(e.Created) }, operationCreated)},
			{Name: "object_type", Type: sqltype.SmallInt, Nullable: true, Doc: "20: a project",
				Get: either(func(execution) any { return int64(catalog.ObjectProject) }, func(p *catalog.Operation) any {
					if p.ObjectType == 0 {
						return nil
					}
					return int64(p.ObjectType)
				})},
			{Name: "object_id", Type: sqltype.BigInt, Nullable: true, Doc: "the project",
				Get: either(func(e execution) any { return e.ProjectID }, func(p *catalog.Operation) any {
					if p.ObjectType == 0 {
						return nil
					}
					return p.ObjectID
				})},
			{Name: "object_name", Type: sqltype.NVarChar(260), Nullable: true, Doc: "its name; NULL for an execution",
				Get: either(nil, func(p *catalog.Operation) any { return orNull(p.ObjectName) })},
			{Name: "status", Type: sqltype.Int, Doc: "as in executions",
				Get: either(func(e execution) any { return int64(e.Status) },
					func(p *catalog.Operation) any { return int64(p.Status) })},
			{Name: "start_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it began",
				Get: either(func(e execution) any { return timeOrNull(e.Started) }, operationCreated)},
			{Name: "end_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended",
				Get: either(func(e execution) any { return timeOrNull(e.Ended) },
					func(p *catalog.Operation) any { return timeOrNull(p.Ended) })},
			{Name: "caller_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "caller_name", Type: sqltype.NVarChar(128), Doc: "who asked for it",
				Get: func(o operation) any { return o.caller() }},
			{Name: "process_id", Type: sqltype.Int, Null: "the process of an execution runs on a worker"},
			{Name: "stopped_by_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "stopped_by_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "who stopped it",
				Get: either(func(e execution) any { return orNull(e.StoppedBy) }, nil)},
			{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true,
				Doc: "InstanceName of the master that created it",
				Get: either(func(e execution) any { return orNull(e.Server) }, nil)},
			{Name: "machine_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "machine of the last attempt",
				Get: either(lastMachine, nil)},
		},
		Visible: seesOperation,
		Paths: []path[operation]{
			{On: "status", Cost: liveRows, Ordered: true, Takes: isLive, In: func(q *Query, s []any) iter.Seq[operation] {
				return operations(q, executionsInStatus(q, s))
			}},
			{On: "status", Cost: historyRows, Takes: isUnsuccessful, In: func(q *Query, s []any) iter.Seq[operation] {
				return operations(q, unsuccessfulExecutions(q, s))
			}},
			{On: "object_id", Cost: historyRows, Ordered: true, Takes: integer, In: func(q *Query, s []any) iter.Seq[operation] {
				return operations(q, executionsOfProjects(q, s))
			}},
			{On: "operation_id", Cost: oneRow, Ordered: true, In: operationsWithIDs, From: operationsFrom},
		},
	})
}

// either is a getter for both kinds; a kind without one has NULL.
func either(ofExecution func(execution) any, ofOther func(*catalog.Operation) any) func(operation) any {
	return func(o operation) any {
		switch {
		case o.execution != nil && ofExecution != nil:
			return ofExecution(o.execution)
		case o.other != nil && ofOther != nil:
			return ofOther(o.other)
		}
		return nil
	}
}

func operationCreated(p *catalog.Operation) any { return shownTime(p.Created) }

func (o operation) id() int64 {
	if o.execution != nil {
		return o.execution.ID
	}
	return o.other.ID
}

func (o operation) caller() string {
	if o.execution != nil {
		return o.execution.Caller
	}
	return o.other.Caller
}

func (o operation) notes(r *catalog.Reader) []catalog.Note {
	if o.execution != nil {
		return o.execution.ShownNotes(r)
	}
	return o.other.Notes
}

// Paths of operations. Executions and other operations share one sequence of ids.

func operationWithID(r *catalog.Reader) func(id int64) (operation, bool) {
	return func(id int64) (operation, bool) {
		if e, ok := r.Execution(id); ok {
			return operation{execution: e}, true
		}
		o, ok := r.Operation(id)
		return operation{other: o}, ok
	}
}

func operationsWithIDs(q *Query, ids []any) iter.Seq[operation] {
	return found(q, ids, operationWithID(q.Reader))
}

func operationsFrom(q *Query, at any) iter.Seq[operation] {
	return operations(q, executionsFrom(q, at))
}

// operations are the executions together with all other operations, without the kind that the predicates on
// operation_type leave out. The others are few beside executions, so they are not looked for along an index.
func operations(q *Query, executions iter.Seq[execution]) iter.Seq[operation] {
	others := q.Reader.Operations(q.Descending)
	if kind, ok := q.only("operation_type"); ok && kind == catalog.OperationExecution {
		others = empty[*catalog.Operation]
	} else if ok {
		executions = empty[execution]
	}
	return merge(q, mapped(executions, func(e execution) operation { return operation{execution: e} }),
		mapped(others, func(o *catalog.Operation) operation { return operation{other: o} }), operation.id)
}

func mapped[T, U any](seq iter.Seq[T], to func(T) U) iter.Seq[U] {
	return func(yield func(U) bool) {
		for v := range seq {
			if !yield(to(v)) {
				return
			}
		}
	}
}

// completeness is that of the operation that the query names, nil if it names none that its caller may see.
func completeness(q *Query) *catalog.Completeness {
	id, ok := q.only("operation_id")
	if !ok {
		return nil
	}
	switch o, ok := operationWithID(q.Reader)(id); {
	case !ok || !seesOperation(q, o):
		return nil
	case o.execution != nil:
		return o.execution.Completeness()
	}
	return &catalog.Completeness{Complete: true, Ended: true} // other operations end in the command that makes them
}
