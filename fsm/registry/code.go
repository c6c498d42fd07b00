package registry

import "scaleout/fsm/command"

// Class says what kind of refusal a code is; a door turns it into its own number.
type Class int

// The classes of refusals.
const (
	Invalid  Class = iota + 1 // the request is wrong in itself
	Denied                    // the caller may not
	NotFound                  // what it names does not exist
	Conflict                  // it does not fit the present state
	TooLarge                  // it exceeds a limit
)

// Code is one stable refusal code.
type Code struct {
	Name  string
	Class Class
	Doc   string
}

// Codes lists the codes with which plans, views and arguments are refused, for doors and documents; StateCodes lists
// those that the state alone uses.
func Codes() []Code {
	return []Code{
		{command.CodeInvalidArgument, Invalid, "A value does not fit its type, its range or the rules for it; the detail names it and what would be right."},
		{command.CodeMissingParameter, Invalid, "A required parameter is missing."},
		{command.CodeUnknownParameter, Invalid, "The procedure has no parameter of that name."},
		{command.CodeUnknownColumn, Invalid, "The view has no column of that name."},
		{command.CodePermissionDenied, Denied, "The caller's certificate lacks the role, or the execution is another caller's."},
		{command.CodeProcedureNotFound, NotFound, "There is no procedure of that name."},
		{command.CodeViewNotFound, NotFound, "There is no view of that name."},
		{command.CodeFolderNotFound, NotFound, "There is no folder of that name."},
		{command.CodeProjectNotFound, NotFound, "The folder has no project of that name."},
		{command.CodePackageNotFound, NotFound, "The project has no package of that name."},
		{command.CodeParameterNotFound, NotFound, "The project, the package or the server has no parameter of that name."},
		{command.CodeReferenceNotFound, NotFound, "The project has no such environment reference."},
		{command.CodeExecutionNotFound, NotFound, "There is no such execution."},
		{command.CodeOperationNotFound, NotFound, "There is no such operation."},
		{command.CodeWorkerNotFound, NotFound, "No worker with that id has registered."},
		{command.CodeBlobNotFound, NotFound, "No master holds the blob: upload it first."},
		{command.CodeFolderExists, Conflict, "A folder of that name exists."},
		{command.CodeFolderNotEmpty, Conflict, "The folder still has projects."},
		{command.CodeNotEntryPoint, Conflict, "The package is not an entry point of its project."},
		{command.CodeNameMismatch, Invalid, "The project name differs from the one inside the project file."},
		{command.CodeInvalidProject, Invalid, "The project file cannot be read; the detail names the part."},
		{command.CodePasswordRequired, Invalid, "The project file is encrypted with a password and none was given."},
		{command.CodeWrongPassword, Invalid, "The password does not open the project file."},
		{command.CodeUserKey, Invalid, "The project file is encrypted for one Windows user: nobody else can read it."},
		{command.CodeProjectTooLarge, TooLarge, "The project file exceeds a limit."},
		{command.CodeManifestTooLarge, TooLarge, "What the project declares does not fit into one command."},
		{command.CodeAlreadyStarted, Conflict, "The execution was started, or has ended: an execution is prepared and started once."},
		{command.CodeAlreadyStopped, Conflict, "The operation is being stopped, or was."},
		{command.CodeAlreadyEnded, Conflict, "The operation has ended."},
		{command.CodeRedeployed, Conflict, "The project was deployed again, or deleted, since the execution was created: create another one."},
		{command.CodeValueRequired, Conflict, "A required parameter has no value."},
		{command.CodeNoWorkerSelected, Conflict, "The execution may use chosen workers only and none was added."},
		{command.CodeAnyWorker, Conflict, "The execution may use any worker: workers are added when useanyworker is 0."},
		{command.CodeNotScaleOut, Conflict, "The execution was created with runinscaleout 0: it is not in Scale Out and takes no workers."},
		{command.CodeWorkerBusy, Conflict, "The worker holds tasks."},
		{command.CodeQueryTooBroad, Invalid, "The order would need more rows than one query may read: filter, or order by the key."},
	}
}

// String is the class as a word: "invalid", "denied", "not_found", "conflict", "too_large".
func (c Class) String() string {
	switch c {
	case Invalid:
		return "invalid"
	case Denied:
		return "denied"
	case NotFound:
		return "not_found"
	case Conflict:
		return "conflict"
	case TooLarge:
		return "too_large"
	}
	return "unknown"
}

// StateCodes lists the codes with which only the state refuses, for doors and documents; Codes lists the others.
func StateCodes() []Code {
	return []Code{
		{command.CodeAlreadyInitialized, Conflict, "The cluster has its id."},
		{command.CodeVersionChanged, Conflict, "The project was deployed again meanwhile: plan the execution again."},
		{command.CodeProjectInUse, Conflict, "An execution of the project waits or runs."},
		{command.CodeAgentIDTaken, Denied, "The AgentId belongs to another certificate name."},
		{command.CodeAgentIDInUse, Conflict, "Another machine uses the AgentId and holds tasks."},
		{command.CodeFenced, Conflict, "The attempt is not this worker process's any more: it must end it."},
		{command.CodeNotPending, Conflict, "The task waits for no such attempt."},
		{command.CodeNotEligible, Conflict, "The worker may not be given the task."},
		{command.CodeNotHeld, Conflict, "The attempt is not held, or not by that worker process."},
		{command.CodeGap, Conflict, "Messages are missing before these: send them from next_seq on."},
		{command.CodeKeyReused, Invalid, "The request key came with another request before."},
		{command.CodeTooManyKeys, Conflict, "As many request keys are kept as there is room for, of the caller or of all: nothing was done."},
		{command.CodeLimitReached, Conflict, "A limit of the masters' settings is reached; the problem's member limit names it."},
		{command.CodeSegmentNotFound, NotFound, "No row names the message segment."},
		{command.CodeMergeIncomplete, Conflict, "The merged segment would lose messages."},
	}
}
