package catalog

import (
	"context"
	"strings"

	"scaleout/fsm/command"
)

var executor = Permission{Roles: []string{command.RoleExecutor}}

// MaxRetryCount is the most retries that start_execution takes.
const MaxRetryCount = 100

func executionProcedures() []*Procedure {
	execution := Parameter{Name: "execution_id", Type: BigInt, Required: true, Doc: "the execution, as create_execution returned it"}
	return []*Procedure{
		{
			Name: "create_execution", Permission: executor,
			Doc: "Makes an execution of a package of a project's current version; start_execution starts it.",
			Parameters: []Parameter{
				{Name: "folder_name", Type: NVarChar(128), Required: true, Doc: "the folder"},
				{Name: "project_name", Type: NVarChar(128), Required: true, Doc: "the project"},
				{Name: "package_name", Type: NVarChar(260), Required: true, Doc: "the package with its extension; an entry point"},
				{Name: "reference_id", Type: BigInt, Doc: "an environment reference of the project"},
				{Name: "use32bitruntime", Type: Bit, Default: false, Doc: "whether the package needs a 32-bit runtime"},
				{Name: "runinscaleout", Type: Bit, Doc: "NULL or 1: Scale Out, the only mode; 0 is accepted with a warning and means any worker"},
				{Name: "useanyworker", Type: Bit, Default: true, Doc: "0: only workers named by add_execution_worker may run it"},
				{Name: "execution_id", Type: BigInt, Output: true, Doc: "the new execution"},
			},
			Plan: planCreateExecution,
		},
		{
			Name: "add_execution_worker", Permission: executor,
			Doc: "Lets a worker run an execution that was created with useanyworker 0; twice the same is fine.",
			Parameters: []Parameter{
				execution,
				{Name: "workeragent_id", Type: UniqueIdentifier, Required: true, Doc: "the worker; it may be disabled or offline for now"},
			},
			Plan: planAddExecutionWorker,
		},
		{
			Name: "set_execution_parameter_value", Permission: executor,
			Doc: "Sets a parameter or a server option of an execution before its start.",
			Parameters: []Parameter{
				execution,
				{Name: "object_type", Type: SmallInt, Required: true, Doc: "20 a project parameter, 30 a package parameter, 50 a server option"},
				{Name: "parameter_name", Type: NVarChar(128), Required: true, Doc: "the parameter; connection managers have CM. parameters"},
				// It may be the value of a sensitive parameter; which one is known only to the plan.
				{Name: "parameter_value", Type: SQLVariant, Required: true, Sensitive: true, Doc: "the value, of the parameter's type"},
			},
			Plan: planSetExecutionParameter,
		},
		{
			Name: "start_execution", Permission: executor,
			Doc: "Queues an execution for the workers; with the option SYNCHRONIZED it answers when the execution has ended.",
			Parameters: []Parameter{
				execution,
				{Name: "retry_count", Type: Int, Default: int64(0), Doc: "how often a failed or lost attempt is followed by another, 0–100"},
			},
			Plan: planStartExecution,
		},
		{
			Name: "stop_operation", Permission: executor,
			Doc: "Stops an execution: at once while it waits, else its worker ends the package.",
			Parameters: []Parameter{
				{Name: "operation_id", Type: BigInt, Required: true, Doc: "the operation; an execution's id is its operation's id"},
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
		return Plan{}, refusal(CodeProjectNotFound, "the project %s has no version that could run", clip(project.Name))
	}
	pkg, ok := packageNamed(version, call.Args.text("package_name"))
	if !ok {
		return Plan{}, refusal(CodePackageNotFound, "the project %s has no package %s%s",
			clip(project.Name), clip(call.Args.text("package_name")), hint(call.Args.text("package_name"), packageNames(version)))
	}
	if !pkg.EntryPoint {
		return Plan{}, refusal(CodeNotEntryPoint, "%s is not an entry point of %s: only another package runs it", clip(pkg.Name), clip(project.Name))
	}
	if ref, given := call.Args["reference_id"].(int64); given {
		return Plan{}, refusal(CodeReferenceNotFound, "the project %s has no environment reference %d", clip(project.Name), ref)
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

func packageNamed(v *Version, name string) (*command.Package, bool) {
	for i := range v.Manifest.Packages {
		if strings.EqualFold(v.Manifest.Packages[i].Name, name) {
			return &v.Manifest.Packages[i], true
		}
	}
	return nil, false
}

func packageNames(v *Version) []string {
	var names []string
	for i := range v.Manifest.Packages {
		if v.Manifest.Packages[i].EntryPoint && len(names) < 20 {
			names = append(names, v.Manifest.Packages[i].Name)
		}
	}
	return names
}

// ownExecution returns the execution named by the argument; it must be the caller's own, or the caller an administrator.
func ownExecution(call *Call, argument string) (*Execution, error) {
	id := call.Args.int(argument)
	e, ok := call.View.Execution(id)
	if !ok {
		return nil, refusal(CodeExecutionNotFound, "there is no execution %d", id)
	}
	return e, mayChange(call, e)
}

func mayChange(call *Call, e *Execution) error {
	if e.Caller == call.Caller.Name || call.Caller.Is(command.RoleAdmin) {
		return nil
	}
	return refusal(CodePermissionDenied, "execution %d was created by %s: only its creator and %s may change it",
		e.ID, clip(e.Caller), command.RoleAdmin)
}

// unstarted returns an execution that can still be prepared.
func unstarted(call *Call) (*Execution, error) {
	e, err := ownExecution(call, "execution_id")
	if err != nil {
		return nil, err
	}
	if e.Status != Created {
		return nil, refusal(CodeAlreadyStarted, "execution %d is %s: this is for executions in status %d (%s)", e.ID, e.Status, Created, Created)
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
		return Plan{}, refusal(CodeNotScaleOut, "execution %d was created with runinscaleout 0: it is not in Scale Out and takes no workers", e.ID)
	case e.AnyWorker:
		return Plan{}, refusal(CodeAnyWorker, "execution %d may use any worker: create it with useanyworker 0 to choose workers", e.ID)
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
	if retries < 0 || retries > MaxRetryCount {
		return Plan{}, refusal(CodeInvalidArgument, "retry_count: %d is outside 0–%d", retries, MaxRetryCount)
	}
	project, ok := call.View.ProjectByID(e.ProjectID)
	if !ok || project.Version != e.Version {
		return Plan{}, refusal(CodeRedeployed, "the project %s was deployed again or deleted since execution %d was created: create another execution",
			clip(e.Project), e.ID)
	}
	version, ok := call.View.Version(e.Version)
	if !ok {
		return Plan{}, refusal(CodeRedeployed, "the version %d of the project %s is gone: create another execution", e.Version, clip(e.Project))
	}
	if missing := missingValues(version, e); len(missing) > 0 {
		return Plan{}, refusal(CodeValueRequired, "execution %d needs values for required parameters: %s; set them with set_execution_parameter_value",
			e.ID, strings.Join(missing, ", "))
	}
	if !e.AnyWorker && len(e.Workers) == 0 {
		return Plan{}, refusal(CodeNoWorkerSelected, "execution %d may use chosen workers only and none was added: add_execution_worker adds one", e.ID)
	}
	plan := Plan{Command: &command.StartExecution{
		ExecutionID: e.ID, RetryCount: int(retries), RetryDelayMs: call.Config.RetryDelay.Milliseconds(),
		QueueTimeoutMs: timeout(e, optionQueueTimeout).Milliseconds(),
	}}
	if Synchronized(e) {
		plan.Wait = e.ID
	}
	return plan, nil
}

// Synchronized reports whether the caller of start_execution waits for the execution's end.
func Synchronized(e *Execution) bool {
	v, ok := setValue(e, ObjectExecution, optionSynchronized)
	return ok && v.Text == "true"
}

func planStopOperation(_ context.Context, call *Call) (Plan, error) {
	id := call.Args.int("operation_id")
	e, ok := call.View.Execution(id)
	if !ok {
		if op, other := call.View.Operation(id); other {
			return Plan{}, refusal(CodeAlreadyEnded, "operation %d has ended (%s): only executions can be stopped", id, op.Status)
		}
		return Plan{}, refusal(CodeOperationNotFound, "there is no operation %d", id)
	}
	if err := mayChange(call, e); err != nil {
		return Plan{}, err
	}
	switch e.Status {
	case Created, Pending, Running:
		return Plan{Command: &command.StopOperation{OperationID: id}}, nil
	case Stopping, Canceled:
		if e.StoppedBy != "" {
			return Plan{}, refusal(CodeAlreadyStopped, "execution %d is %s: %s stopped it", id, e.Status, clip(e.StoppedBy))
		}
		return Plan{}, refusal(CodeAlreadyStopped, "execution %d is %s", id, e.Status)
	}
	return Plan{}, refusal(CodeAlreadyEnded, "execution %d has ended: it is %s", id, e.Status)
}
