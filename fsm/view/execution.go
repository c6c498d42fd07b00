package view

import (
	"iter"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

const noIdentities = "identities are certificates"

// execution is an element of the view executions.
type execution = *catalog.Execution

func executionsView() *View {
	const noMachine, noReferences = "the process runs on a worker", "there are no environments yet"
	return declare(declaration[execution]{
		Name: "executions", Permission: command.MayReadOperations, Key: []string{"execution_id"},
		Rising: []string{"created_time"},
		Doc:    "The executions of packages.",
		Columns: []column[execution]{
			{Name: "execution_id", Type: sqltype.BigInt, Doc: "the execution; also its operation's id", Get: executionID},
			{Name: "folder_name", Type: sqltype.Sysname, Doc: "the folder when it was created",
				Get: func(e execution) any { return e.Folder }},
			{Name: "project_name", Type: sqltype.Sysname, Doc: "the project when it was created",
				Get: func(e execution) any { return e.Project }},
			{Name: "package_name", Type: sqltype.NVarChar(260), Doc: "the package that it begins with",
				Get: func(e execution) any { return e.Package }},
			{Name: "reference_id", Type: sqltype.BigInt, Null: noReferences},
			{Name: "reference_type", Type: sqltype.Char1, Null: noReferences},
			{Name: "environment_folder_name", Type: sqltype.NVarChar(128), Null: noReferences},
			{Name: "environment_name", Type: sqltype.NVarChar(128), Null: noReferences},
			{Name: "project_lsn", Type: sqltype.BigInt, Doc: "the project's version",
				Get: func(e execution) any { return e.Version }},
			{Name: "executed_as_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "executed_as_name", Type: sqltype.NVarChar(128), Doc: "who created it", Get: executionCaller},
			{Name: "use32bitruntime", Type: sqltype.Bit, Doc: "whether it needs a 32-bit runtime",
				Get: func(e execution) any { return e.Use32Bit }},
			{Name: "operation_type", Type: sqltype.SmallInt, Doc: "200: an execution",
				Get: func(execution) any { return int64(catalog.OperationExecution) }},
			{Name: "created_time", Type: sqltype.DateTimeOffset, Doc: "when it was created",
				Get: func(e execution) any { return shownTime(e.Created) }},
			{Name: "object_type", Type: sqltype.SmallInt, Doc: "20: a project",
				Get: func(execution) any { return int64(catalog.ObjectProject) }},
			{Name: "object_id", Type: sqltype.BigInt, Doc: "the project",
				Get: func(e execution) any { return e.ProjectID }},
			{Name: "status", Type: sqltype.Int,
				Doc: "1 created, 2 running, 3 canceled, 4 failed, 5 pending, 6 ended unexpectedly, 7 succeeded, 8 stopping, " +
					"9 completed",
				Get: func(e execution) any { return int64(e.Status) }},
			{Name: "start_time", Type: sqltype.DateTimeOffset, Nullable: true,
				Doc: "when its first attempt was granted to a worker",
				Get: func(e execution) any { return timeOrNull(e.Started) }},
			{Name: "end_time", Type: sqltype.DateTimeOffset, Nullable: true, Doc: "when it ended",
				Get: func(e execution) any { return timeOrNull(e.Ended) }},
			{Name: "caller_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "caller_name", Type: sqltype.NVarChar(128), Doc: "who created it", Get: executionCaller},
			{Name: "process_id", Type: sqltype.Int, Null: noMachine},
			{Name: "stopped_by_sid", Type: sqltype.VarBinary(85), Null: noIdentities},
			{Name: "stopped_by_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "who stopped it",
				Get: func(e execution) any { return orNull(e.StoppedBy) }},
			{Name: "dump_id", Type: sqltype.UniqueIdentifier, Null: "there are no dumps"},
			{Name: "server_name", Type: sqltype.NVarChar(128), Nullable: true,
				Doc: "InstanceName of the master that created it", Get: func(e execution) any { return orNull(e.Server) }},
			{Name: "machine_name", Type: sqltype.NVarChar(128), Nullable: true, Doc: "machine of its last attempt",
				Get: lastMachine},
			{Name: "worker_agent_id", Type: sqltype.UniqueIdentifier, Nullable: true, Doc: "worker of its last attempt",
				Get: func(e execution) any {
					if len(e.Attempts) == 0 {
						return nil
					}
					return guidOrNull(e.Attempts[len(e.Attempts)-1].Worker)
				}},
			{Name: "total_physical_memory_kb", Type: sqltype.BigInt, Null: noMachine},
			{Name: "available_physical_memory_kb", Type: sqltype.BigInt, Null: noMachine},
			{Name: "total_page_file_kb", Type: sqltype.BigInt, Null: noMachine},
			{Name: "available_page_file_kb", Type: sqltype.BigInt, Null: noMachine},
			{Name: "cpu_count", Type: sqltype.Int, Null: noMachine},
			{Name: "executed_count", Type: sqltype.Int, Doc: "how often it was granted to a worker",
				Get: func(e execution) any { return int64(e.Used()) }},
		},
		Visible: seesExecution,
		Paths: []path[execution]{
			{On: "status", Cost: liveRows, Ordered: true, Takes: isLive, In: executionsInStatus},
			{On: "status", Cost: historyRows, Takes: isUnsuccessful, In: unsuccessfulExecutions},
			{On: "object_id", Cost: historyRows, Ordered: true, Takes: integer, In: executionsOfProjects},
			{On: "execution_id", Cost: oneRow, Ordered: true, In: executionsWithIDs, From: executionsFrom},
		},
	})
}

func executionID(e execution) any     { return e.ID }
func executionCaller(e execution) any { return e.Caller }

// lastMachine is the machine of the last attempt; NULL before the first.
func lastMachine(e execution) any {
	if len(e.Attempts) == 0 {
		return nil
	}
	return orNull(e.Attempts[len(e.Attempts)-1].Machine)
}

// Paths of executions.

// isUnsuccessful reports whether the state keeps a list of its own for the ended status.
func isUnsuccessful(status any) bool {
	n, _ := status.(int64)
	s := catalog.Status(n)
	return s == catalog.Canceled || s == catalog.Failed || s == catalog.EndedUnexpectedly
}

// isLive reports whether the state keeps a list of its own for the status, which is not an ended one.
func isLive(status any) bool {
	n, _ := status.(int64)
	s := catalog.Status(n)
	return s == catalog.Created || s == catalog.Pending || s == catalog.Running || s == catalog.Stopping
}

func executionsWithIDs(q *Query, ids []any) iter.Seq[execution] {
	return found(q, ids, q.Reader.Execution)
}

func executionsFrom(q *Query, at any) iter.Seq[execution] {
	if id, ok := at.(int64); ok {
		return q.Reader.ExecutionsFrom(id, q.Descending)
	}
	return q.Reader.Executions(q.Descending)
}

func executionsInStatus(q *Query, statuses []any) iter.Seq[execution] {
	return merged(q, statuses, func(e execution) int64 { return e.ID }, func(s int64) iter.Seq[execution] {
		return walked(q, q.Reader.InStatus(catalog.Status(s)))
	})
}

// unsuccessfulExecutions are one list for all the statuses that have it.
func unsuccessfulExecutions(q *Query, _ []any) iter.Seq[execution] {
	return q.Reader.Unsuccessful(q.Descending)
}

func executionsOfProjects(q *Query, projects []any) iter.Seq[execution] {
	return merged(q, projects, func(e execution) int64 { return e.ID }, func(id int64) iter.Seq[execution] {
		return q.Reader.ExecutionsOf(id, q.Descending)
	})
}
