package procedure

import (
	"context"
	"strings"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func executionProcedures() []*Procedure {
	execution := registry.Parameter{Name: "execution_id", Type: sqltype.BigInt, Required: true, Doc: "the execution, as create_execution returned it"}
	return []*Procedure{
		{
			Name: "create_execution", Permission: catalog.Executor,
			Doc: "Makes an execution of a package of a project's current version; start_execution starts it.",
			Parameters: []registry.Parameter{
				{Name: "folder_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the folder"},
				{Name: "project_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the project"},
				{Name: "package_name", Type: sqltype.NVarChar(260), Required: true, Doc: "the package with its extension; an entry point"},
				{Name: "reference_id", Type: sqltype.BigInt, Doc: "an environment reference of the project"},
				{Name: "use32bitruntime", Type: sqltype.Bit, Default: false, Doc: "whether the package needs a 32-bit runtime"},
				{Name: "runinscaleout", Type: sqltype.Bit, Doc: "NULL or 1: Scale Out, the only mode; 0 is accepted with a warning and means any worker"},
				{Name: "useanyworker", Type: sqltype.Bit, Default: true, Doc: "0: only workers named by add_execution_worker may run it"},
				{Name: "execution_id", Type: sqltype.BigInt, Output: true, Doc: "the new execution"},
			},
			Plan: planCreateExecution,
		},
		{
			Name: "add_execution_worker", Permission: catalog.Executor,
			Doc: "Lets a worker run an execution that was created with useanyworker 0; twice the same is fine.",
			Parameters: []registry.Parameter{
				execution,
				{Name: "workeragent_id", Type: sqltype.UniqueIdentifier, Required: true, Doc: "the worker; it may be disabled or offline for now"},
			},
			Plan: planAddExecutionWorker,
		},
		{
			Name: "set_execution_parameter_value", Permission: catalog.Executor,
			Doc: "Sets a parameter or a server option of an execution before its start.",
			Parameters: []registry.Parameter{
				execution,
				{Name: "object_type", Type: sqltype.SmallInt, Required: true, Doc: "20 a project parameter, 30 a package parameter, 50 a server option"},
				{Name: "parameter_name", Type: sqltype.NVarChar(128), Required: true, Doc: "the parameter; connection managers have CM. parameters"},
				// It may be the value of a sensitive parameter; which one is known only to the plan.
				{Name: "parameter_value", Type: sqltype.Variant, Required: true, Sensitive: true, Doc: "the value, of the parameter's type"},
			},
			Plan: planSetExecutionParameter,
		},
		{
			Name: "start_execution", Permission: catalog.Executor,
			Doc: "Queues an execution for the workers; with the option SYNCHRONIZED it answers when the execution has ended.",
			Parameters: []registry.Parameter{
				execution,
				{Name: "retry_count", Type: sqltype.Int, Default: int64(0), Doc: "how often a failed or lost attempt is followed by another, 0–100"},
			},
			Plan: planStartExecution,
		},
		{
			Name: "stop_operation", Permission: catalog.Executor,
			Doc: "Stops an execution: at once while it waits, else its worker ends the package.",
			Parameters: []registry.Parameter{
				{Name: "operation_id", Type: sqltype.BigInt, Required: true, Doc: "the operation; an execution's id is its operation's id"},
			},
			Plan: planStopOperation,
		},
	}
}

func planCreateExecution(_ context.Context, call *Call) (Plan, error) {
	folder, project, err := knownProject(call)
	if err != nil {
		return Plan{}, err
	}
	version, ok := call.View.Version(project.Version)
	if !ok {
		return Plan{}, command.Refuse(command.CodeProjectNotFound, "the project %s has no version that could run", sqltype.Quote(project.Name))
	}
	pkg, ok := catalog.PackageNamed(version, call.Args.text("package_name"))
	if !ok {
		return Plan{}, command.Refuse(command.CodePackageNotFound, "the project %s has no package %s%s",
			sqltype.Quote(project.Name), sqltype.Quote(call.Args.text("package_name")), command.Hint(call.Args.text("package_name"), packageNames(version)))
	}
	if !pkg.EntryPoint {
		return Plan{}, command.Refuse(command.CodeNotEntryPoint, "%s is not an entry point of %s: only another package runs it", sqltype.Quote(pkg.Name), sqltype.Quote(project.Name))
	}
	if ref, given := call.Args["reference_id"].(int64); given {
		return Plan{}, command.Refuse(command.CodeReferenceNotFound, "the project %s has no environment reference %d", sqltype.Quote(project.Name), ref)
	}
	inScaleOut, said := call.Args["runinscaleout"].(bool)
	serverMode := said && !inScaleOut
	return Plan{
		Command: &command.CreateExecution{
			MostNotStarted: call.Config.Limits.NotStarted,
			Folder:         folder.Name, Project: project.Name, Package: pkg.Name, Version: project.Version,
			Use32Bit: call.Args.bit("use32bitruntime"), ServerMode: serverMode,
			AnyWorker: serverMode || call.Args.bit("useanyworker"), Server: call.Config.Server,
		},
		Outputs: outputID("execution_id"),
	}, nil
}

func outputID(name string) func(command.Result) (map[string]any, int64) {
	return func(r command.Result) (map[string]any, int64) { return map[string]any{name: r.Value}, 0 }
}

func packageNames(v *catalog.Version) []string {
	var names []string
	for i := range v.Manifest.Packages {
		if v.Manifest.Packages[i].EntryPoint && len(names) < 20 {
			names = append(names, v.Manifest.Packages[i].Name)
		}
	}
	return names
}

// ownExecution returns the execution named by the argument; it must be the caller's own, or the caller an administrator.
func ownExecution(call *Call, argument string) (*catalog.Execution, error) {
	id := call.Args.int(argument)
	e, ok := call.View.Execution(id)
	if !ok {
		return nil, command.Refuse(command.CodeExecutionNotFound, "there is no execution %d", id)
	}
	return e, mayChange(call, e)
}

func mayChange(call *Call, e *catalog.Execution) error {
	if e.Caller == call.Caller.Name || call.Caller.Is(command.RoleAdmin) {
		return nil
	}
	return command.Refuse(command.CodePermissionDenied, "execution %d was created by %s: only its creator and %s may change it",
		e.ID, sqltype.Quote(e.Caller), command.RoleAdmin)
}

// unstarted returns an execution that can still be prepared.
func unstarted(call *Call) (*catalog.Execution, error) {
	e, err := ownExecution(call, "execution_id")
	if err != nil {
		return nil, err
	}
	if e.Status != catalog.Created {
		return nil, command.Refuse(command.CodeAlreadyStarted, "execution %d is %s: this is for executions in status %d (%s)", e.ID, e.Status, catalog.Created, catalog.Created)
	}
	return e, nil
}

func planAddExecutionWorker(_ context.Context, call *Call) (Plan, error) {
	e, err := unstarted(call)
	if err != nil {
		return Plan{}, err
	}
	switch {
	case e.ServerMode:
		return Plan{}, command.Refuse(command.CodeNotScaleOut, "execution %d was created with runinscaleout 0: it is not in Scale Out and takes no workers", e.ID)
	case e.AnyWorker:
		return Plan{}, command.Refuse(command.CodeAnyWorker, "execution %d may use any worker: create it with useanyworker 0 to choose workers", e.ID)
	}
	w, err := knownWorker(call, "workeragent_id")
	if err != nil {
		return Plan{}, err
	}
	return Plan{Command: &command.AddExecutionWorker{ExecutionID: e.ID, Worker: w.ID}}, nil
}

func planStartExecution(_ context.Context, call *Call) (Plan, error) {
	e, err := unstarted(call)
	if err != nil {
		return Plan{}, err
	}
	retries := call.Args.int("retry_count")
	if retries < 0 || retries > catalog.MaxRetryCount {
		return Plan{}, command.Refuse(command.CodeInvalidArgument, "retry_count: %d is outside 0–%d", retries, catalog.MaxRetryCount)
	}
	project, ok := call.View.ProjectByID(e.ProjectID)
	if !ok || project.Version != e.Version {
		return Plan{}, command.Refuse(command.CodeRedeployed, "the project %s was deployed again or deleted since execution %d was created: create another execution",
			sqltype.Quote(e.Project), e.ID)
	}
	version, ok := call.View.Version(e.Version)
	if !ok {
		return Plan{}, command.Refuse(command.CodeRedeployed, "the version %d of the project %s is gone: create another execution", e.Version, sqltype.Quote(e.Project))
	}
	if missing := catalog.MissingValues(version, e); len(missing) > 0 {
		return Plan{}, command.Refuse(command.CodeValueRequired, "execution %d needs values for required parameters: %s; set them with set_execution_parameter_value",
			e.ID, strings.Join(missing, ", "))
	}
	if !e.AnyWorker && len(e.Workers) == 0 {
		return Plan{}, command.Refuse(command.CodeNoWorkerSelected, "execution %d may use chosen workers only and none was added: add_execution_worker adds one", e.ID)
	}
	plan := Plan{Command: &command.StartExecution{
		ExecutionID: e.ID, RetryCount: int(retries), RetryDelayMs: call.Config.RetryDelay.Milliseconds(),
		QueueTimeoutMs: catalog.Timeout(e, catalog.OptionQueueTimeout).Milliseconds(),
	}}
	if catalog.Synchronized(e) {
		plan.Wait = e.ID
	}
	return plan, nil
}

func planStopOperation(_ context.Context, call *Call) (Plan, error) {
	id := call.Args.int("operation_id")
	e, ok := call.View.Execution(id)
	if !ok {
		if op, other := call.View.Operation(id); other {
			return Plan{}, command.Refuse(command.CodeAlreadyEnded, "operation %d has ended (%s): only executions can be stopped", id, op.Status)
		}
		return Plan{}, command.Refuse(command.CodeOperationNotFound, "there is no operation %d", id)
	}
	if err := mayChange(call, e); err != nil {
		return Plan{}, err
	}
	switch e.Status {
	case catalog.Created, catalog.Pending, catalog.Running:
		return Plan{Command: &command.StopOperation{OperationID: id}}, nil
	case catalog.Stopping, catalog.Canceled:
		if e.StoppedBy != "" {
			return Plan{}, command.Refuse(command.CodeAlreadyStopped, "execution %d is %s: %s stopped it", id, e.Status, sqltype.Quote(e.StoppedBy))
		}
		return Plan{}, command.Refuse(command.CodeAlreadyStopped, "execution %d is %s", id, e.Status)
	}
	return Plan{}, command.Refuse(command.CodeAlreadyEnded, "execution %d has ended: it is %s", id, e.Status)
}
