package procedure

import (
	"context"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

type createExecution struct {
	Folder      string `param:"folder_name" type:"nvarchar(128)" doc:"the folder"`
	Project     string `param:"project_name" type:"nvarchar(128)" doc:"the project"`
	Package     string `param:"package_name" type:"nvarchar(260)" doc:"the package with its extension; an entry point"`
	Reference   *int64 `param:"reference_id" type:"bigint" doc:"an environment reference of the project"`
	Use32Bit    bool   `param:"use32bitruntime" type:"bit" default:"0" doc:"whether the package needs a 32-bit runtime"`
	Execution   Output `param:"execution_id" type:"bigint" doc:"the new execution"`
	InScaleOut  *bool  `param:"runinscaleout" type:"bit" doc:"NULL or 1: Scale Out, the only mode; 0 is accepted with a warning and means any worker"`
	UseAnyAgent bool   `param:"useanyworker" type:"bit" default:"1" doc:"0: only workers named by add_execution_worker may run it"`
}

type addExecutionWorker struct {
	Execution int64  `param:"execution_id" type:"bigint" doc:"the execution, as create_execution returned it"`
	Worker    string `param:"workeragent_id" type:"uniqueidentifier" doc:"the worker; it may be disabled or offline for now"`
}

type startExecution struct {
	Execution  int64 `param:"execution_id" type:"bigint" doc:"the execution, as create_execution returned it"`
	RetryCount int64 `param:"retry_count" type:"int" default:"0" doc:"how often a failed or lost attempt is followed by another, 0–100"`
}

type stopOperation struct {
	Operation int64 `param:"operation_id" type:"bigint" doc:"the operation; an execution's id is its operation's id"`
}

func executionProcedures() []*Procedure {
	return []*Procedure{
		Declare(Options[createExecution]{
			Name: "create_execution", Permission: command.MayExecuteProjects,
			Doc: "Makes an execution of a package of a project's current version; start_execution starts it.",
			Raises: []string{
				command.CodeFolderNotFound, command.CodeLimitNotStarted, command.CodeNotEntryPoint, command.CodePackageNotFound,
				command.CodePermissionObject, command.CodeProjectNotFound, command.CodeReferenceNotFound, command.CodeVersionGone,
			},
			Plan: planCreateExecution,
		}),
		Declare(Options[addExecutionWorker]{
			Name: "add_execution_worker", Permission: command.MayModifyOperations,
			Doc: "Lets a worker run an execution that was created with useanyworker 0; twice the same is fine.",
			Raises: []string{
				command.CodeAlreadyStarted, command.CodeAnyWorker, command.CodeExecutionNotFound, command.CodeNotScaleOut,
				command.CodePermissionOwner, command.CodeWorkerNotFound,
			},
			Plan: Commands(func(a *addExecutionWorker) command.Command {
				return &command.AddExecutionWorker{ExecutionID: a.Execution, Worker: a.Worker}
			}),
		}),
		Declare(Options[setExecutionParameter]{
			Name: "set_execution_parameter_value", Permission: command.MayModifyOperations,
			Doc: "Sets a parameter or a server option of an execution before its start.",
			Checks: []string{
				command.CodeParameterValue, command.CodeSecretParameterValue,
				command.CodeOptionNotFound, command.CodeParameterNotFound, command.CodeObjectType, command.CodeVersionGone,
			},
			Raises: []string{
				command.CodeAlreadyStarted, command.CodeExecutionNotFound, command.CodeObjectType, command.CodeOptionLevel,
				command.CodeOptionLong, command.CodeOptionNotFound, command.CodeOptionSeconds, command.CodeParameterNotFound,
				command.CodeParameterSealed, command.CodeParameterType, command.CodePermissionOwner,
				command.CodeVersionGone,
			},
			Plan: planSetExecutionParameter,
		}),
		Declare(Options[startExecution]{
			Name: "start_execution", Permission: command.MayModifyOperations,
			Doc: "Queues an execution for the workers; with the option SYNCHRONIZED it answers when the execution has ended.",
			Raises: []string{
				command.CodeAlreadyStarted, command.CodeExecutionNotFound, command.CodeNoWorkerSelected,
				command.CodePermissionObject, command.CodePermissionOwner, command.CodeRedeployed, command.CodeRetryCount,
				command.CodeRetryDelay, command.CodeValueRequired,
			},
			Plan: func(_ context.Context, call *Call, a *startExecution) (Plan, error) {
				return Plan{Command: &command.StartExecution{
					ExecutionID: a.Execution, RetryCount: int(a.RetryCount), RetryDelayMs: call.Config.RetryDelay.Milliseconds(),
				}}, nil
			},
			Waits: func(r *catalog.Reader, a *startExecution) int64 {
				if x, ok := r.Execution(a.Execution); ok && catalog.Synchronized(x) {
					return x.ID
				}
				return 0
			},
		}),
		Declare(Options[stopOperation]{
			Name: "stop_operation", Permission: command.MayModifyOperations,
			Doc: "Stops an execution: at once while it waits, else its worker ends the package.",
			Raises: []string{
				command.CodeAlreadyEnded, command.CodeAlreadyStopped, command.CodeOperationEnded, command.CodeOperationNotFound,
				command.CodePermissionOwner,
			},
			Plan: Commands(func(a *stopOperation) command.Command { return &command.StopOperation{OperationID: a.Operation} }),
		}),
	}
}

func planCreateExecution(_ context.Context, call *Call, a *createExecution) (Plan, error) {
	serverMode := a.InScaleOut != nil && !*a.InScaleOut
	return Plan{Command: &command.CreateExecution{
		Folder: a.Folder, Project: a.Project, Package: a.Package, ReferenceID: a.Reference,
		Use32Bit: a.Use32Bit, ServerMode: serverMode, AnyWorker: serverMode || a.UseAnyAgent, Server: call.Config.Server,
		MostNotStarted: call.Config.Limits.NotStarted,
	}}, nil
}
