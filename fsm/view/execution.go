package view

import (
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func executionViews() []*View {
	return []*View{executionsView(), operationsView(), valuesView(), tasksView()}
}

func executionsView() *View {
	return &View{
		Name: "executions", Permission: catalog.Readers, Key: []string{"execution_id"}, Rising: []string{"created_time"},
		Doc: "The executions of packages.",
		Columns: []registry.Column{
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution; also its operation's id"},
			{Name: "folder_name", Type: sqltype.Sysname, Doc: "the folder when it was created"},
			{Name: "project_name", Type: sqltype.Sysname, Doc: "the project when it was created"},
			{Name: "package_name", Type: sqltype.NVarChar(260), Doc: "the package that it begins with"},
			{Name: "reference_id", Type: sqltype.BigInt, Nullable: true, Doc: "its environment reference"},
			{Name: "reference_type", Type: sqltype.Char1, Nullable: true, Doc: "R: relative, A: absolute"},
			{Name: "environment_folder_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "of the environment reference"},
			{Name: "environment_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "of the environment reference"},
			{Name: "project_lsn", Type: sqltype.BigInt, Doc: "the project's version"},
			{Name: "executed_as_sid", Type: sqltype.VarBinary(85), Nullable: true,
				Doc: "always NULL: identities are certificates"},
			{Name: "executed_as_name", Type: sqltype.NVarChar(128), Doc: "who created it"},
			{Name: "use32bitruntime", Type: sqltype.Bit, Doc: "whether it needs a 32-bit runtime"},
			{Name: "operation_type", Type: sqltype.SmallInt, Doc: "200: an execution"},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when it was created"},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: a project"},
			{Name: "object_id", Type: sqltype.BigInt, Doc: "the project"},
			{Name: "status", Type: sqltype.Int,
				Doc: "1 created, 2 running, 3 canceled, 4 failed, 5 pending, 6 ended unexpectedly, 7 succeeded, 8 stopping, " +
					"9 completed"},
			{Name: "start_time", Type: sqltype.DateTimeOffset, Nullable: true,
				Doc: "when its first attempt was granted to a worker"},
			{Name: "end_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended"},
			{Name: "caller_sid", Type: sqltype.VarBinary(85), Nullable: true, Doc: "always NULL: identities are certificates"},
			{Name: "caller_name", Type: sqltype.NVarChar(128), Doc: "who created it"},
			{Name: "process_id", Type: sqltype.Int, Nullable: true, Doc: "always NULL: the process is on the worker"},
			{Name: "stopped_by_sid", Type: sqltype.VarBinary(85), Nullable: true,
				Doc: "always NULL: identities are certificates"},
			{Name: "stopped_by_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "who stopped it"},
			{Name: "dump_id", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "always NULL: there are no dumps"},
			{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true,
				Doc: "InstanceName of the master that created it"},
			{Name: "machine_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "machine of its last attempt"},
			{Name: "worker_agent_id", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "worker of its last attempt"},
			{Name: "total_physical_memory_kb", Type: sqltype.BigInt, Nullable: true, Doc: "always NULL"},
			{Name: "available_physical_memory_kb", Type: sqltype.BigInt, Nullable: true, Doc: "always NULL"},
			{Name: "total_page_file_kb", Type: sqltype.BigInt, Nullable: true, Doc: "always NULL"},
			{Name: "available_page_file_kb", Type: sqltype.BigInt, Nullable: true, Doc: "always NULL"},
			{Name: "cpu_count", Type: sqltype.Int, Nullable: true, Doc: "always NULL"},
			{Name: "executed_count", Type: sqltype.Int, Doc: "how often it was granted to a worker"},
		},
		Walks: walksExecutions,
		Rows: visibleRowsOf(func(q *Query) iter.Seq[*catalog.Execution] { return someExecutions(q, "execution_id") },
			func(q *Query, e *catalog.Execution) (registry.Row, error) {
				if !sees(q, e.ID, e.Caller) {
					return registry.Row{e.ID}, errHidden
				}
				machine, worker := lastWorker(e)
				var reference any
				if e.ReferenceID != nil {
					reference = *e.ReferenceID
				}
				return registry.Row{e.ID, e.Folder, e.Project, e.Package, reference, nil, nil, nil, e.Version, nil, e.Caller,
					e.Use32Bit,
					int64(catalog.OperationExecution), timeOrNull(e.Created), int64(catalog.ObjectProject), e.ProjectID,
					int64(e.Status),
					timeOrNull(e.Started), timeOrNull(e.Ended), nil, e.Caller, nil, nil, orNull(e.StoppedBy), nil,
					orNull(e.Server), machine, worker, nil, nil, nil, nil, nil, int64(e.Used())}, nil
			}),
	}
}

// lastWorker is machine and worker of the last attempt; NULL before the first.
func lastWorker(e *catalog.Execution) (machine, worker any) {
	if len(e.Attempts) == 0 {
		return nil, nil
	}
	last := &e.Attempts[len(e.Attempts)-1]
	return orNull(last.Machine), guidOrNull(last.Worker)
}

// unsuccessful reports whether the state keeps a list of its own for the ended status.
func unsuccessful(s catalog.Status) bool {
	return s == catalog.Canceled || s == catalog.Failed || s == catalog.EndedUnexpectedly
}

// walksExecutions is Walks of a view over executions: in the order of ids, unless the filter on status leads to a list
// that has another one.
func walksExecutions(q *Query) bool {
	s, ok := equalInt(q, "status")
	return !ok || !unsuccessful(catalog.Status(s))
}

// someExecutions uses the best index for the filter; id is the name of the view's column that holds the execution.
func someExecutions(q *Query, id string) iter.Seq[*catalog.Execution] {
	if n, ok := equalInt(q, id); ok {
		return one(q.View.Execution(n))
	}
	if n, ok := equalInt(q, "status"); ok {
		switch s := catalog.Status(n); {
		case unsuccessful(s):
			return q.View.Unsuccessful(q.Descending)
		case s == catalog.Created || s == catalog.Pending || s == catalog.Running || s == catalog.Stopping:
			return walked(q.View.InStatus(s), q)
		}
	}
	if project, ok := equalInt(q, "object_id"); ok {
		return q.View.ExecutionsOf(project, q.Descending)
	}
	if q.After != nil {
		if from, ok := q.After[0].(int64); ok {
			return q.View.ExecutionsFrom(from, q.Descending)
		}
	}
	return q.View.Executions(q.Descending)
}

func operationsView() *View {
	return &View{
		Name: "operations", Permission: catalog.Readers, Key: []string{"operation_id"}, Rising: []string{"created_time"},
		Doc: "What was done in the catalog: executions, deploys and changes of its settings.",
		Columns: []registry.Column{
			{Name: "operation_id", Type: sqltype.BigInt, Doc: "the operation"},
			{Name: "operation_type", Type: sqltype.SmallInt, Doc: "101 deploy_project, 200 execution, 1000 configure_catalog"},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when it was created"},
			{Name: "object_type", Type: sqltype.SmallInt, Nullable: true, Doc: "20: a project"},
			{Name: "object_id", Type: sqltype.BigInt, Nullable: true, Doc: "the project"},
			{Name: "object_name", Type: sqltype.NVarChar(260), Nullable: true, Doc: "its name; NULL for an execution"},
			{Name: "status", Type: sqltype.Int, Doc: "as in executions"},
			{Name: "start_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it began"},
			{Name: "end_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended"},
			{Name: "caller_sid", Type: sqltype.VarBinary(85), Nullable: true, Doc: "always NULL: identities are certificates"},
			{Name: "caller_name", Type: sqltype.NVarChar(128), Doc: "who asked for it"},
			{Name: "process_id", Type: sqltype.Int, Nullable: true, Doc: "always NULL"},
			{Name: "stopped_by_sid", Type: sqltype.VarBinary(85), Nullable: true,
				Doc: "always NULL: identities are certificates"},
			{Name: "stopped_by_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "who stopped it"},
			{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true,
				Doc: "InstanceName of the master that created it"},
			{Name: "machine_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "machine of the last attempt"},
		},
		Walks: walksExecutions,
		Rows: visibleRowsOf(someOperations, func(q *Query, o operation) (registry.Row, error) {
			if !sees(q, o.id(), o.caller()) {
				return registry.Row{o.id()}, errHidden
			}
			return o.row(), nil
		}),
	}
}

// operation is an operation of either kind: one of its fields is set.
type operation struct {
	execution *catalog.Execution
	other     *catalog.Operation
}

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

func (o operation) row() registry.Row {
	if e := o.execution; e != nil {
		machine, _ := lastWorker(e)
		return registry.Row{e.ID, int64(catalog.OperationExecution), timeOrNull(e.Created), int64(catalog.ObjectProject),
			e.ProjectID, nil, int64(e.Status),
			timeOrNull(e.Started), timeOrNull(e.Ended), nil, e.Caller, nil, nil, orNull(e.StoppedBy), orNull(e.Server), machine}
	}
	p := o.other
	var objectType, objectID any
	if p.ObjectType != 0 {
		objectType, objectID = int64(p.ObjectType), p.ObjectID
	}
	return registry.Row{p.ID, int64(p.Type), timeOrNull(p.Created), objectType, objectID, orNull(p.ObjectName),
		int64(p.Status),
		timeOrNull(p.Created), timeOrNull(p.Ended), nil, p.Caller, nil, nil, nil, nil, nil}
}

// someOperations merges executions and other operations, which share one sequence of ids.
func someOperations(q *Query) iter.Seq[operation] {
	executions, others := someExecutions(q, "operation_id"), q.View.Operations(q.Descending)
	if id, ok := equalInt(q, "operation_id"); ok {
		others = one(q.View.Operation(id))
	}
	if kind, ok := equalInt(q, "operation_type"); ok && kind == catalog.OperationExecution {
		others = empty[*catalog.Operation]
	} else if ok {
		executions = empty[*catalog.Execution]
	}
	return func(yield func(operation) bool) {
		next, stop := iter.Pull(others)
		defer stop()
		other, more := next()
		for e := range executions {
			for more && (other.ID < e.ID) != q.Descending {
				if !yield(operation{other: other}) {
					return
				}
				other, more = next()
			}
			if !yield(operation{execution: e}) {
				return
			}
		}
		for more {
			if !yield(operation{other: other}) {
				return
			}
			other, more = next()
		}
	}
}
