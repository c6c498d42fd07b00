package catalog

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

// The codes with which plans, views and arguments are refused.
const (
	CodeInvalidArgument   = "invalid_argument"
	CodeMissingParameter  = "missing_parameter"
	CodeUnknownParameter  = "unknown_parameter"
	CodeUnknownColumn     = "unknown_column"
	CodePermissionDenied  = "permission_denied"
	CodeProcedureNotFound = "procedure_not_found"
	CodeViewNotFound      = "view_not_found"
	CodeFolderNotFound    = "folder_not_found"
	CodeProjectNotFound   = "project_not_found"
	CodePackageNotFound   = "package_not_found"
	CodeParameterNotFound = "parameter_not_found"
	CodeReferenceNotFound = "reference_not_found"
	CodeExecutionNotFound = "execution_not_found"
	CodeOperationNotFound = "operation_not_found"
	CodeWorkerNotFound    = "worker_not_found"
	CodeBlobNotFound      = "blob_not_found"
	CodeFolderExists      = "folder_exists"
	CodeFolderNotEmpty    = "folder_not_empty"
	CodeNotEntryPoint     = "not_entry_point"
	CodeNameMismatch      = "project_name_mismatch"
	CodeInvalidProject    = "invalid_project"
	CodePasswordRequired  = "project_password_required"
	CodeWrongPassword     = "wrong_project_password"
	CodeUserKey           = "project_user_key"
	CodeProjectTooLarge   = "project_too_large"
	CodeManifestTooLarge  = "manifest_too_large"
	CodeAlreadyStarted    = "already_started"
	CodeAlreadyStopped    = "already_stopped"
	CodeAlreadyEnded      = "already_ended"
	CodeRedeployed        = "project_redeployed"
	CodeValueRequired     = "parameter_value_required"
	CodeNoWorkerSelected  = "no_worker_selected"
	CodeAnyWorker         = "any_worker"
	CodeNotScaleOut       = "not_scale_out"
	CodeWorkerBusy        = "worker_busy"
	CodeQueryTooBroad     = "query_too_broad"
)

// Codes lists the codes with which plans, views and arguments are refused, for doors and documents; StateCodes lists
// those that the state alone uses.
func Codes() []Code {
	return []Code{
		{CodeInvalidArgument, Invalid, "A value does not fit its type, its range or the rules for it; the detail names it and what would be right."},
		{CodeMissingParameter, Invalid, "A required parameter is missing."},
		{CodeUnknownParameter, Invalid, "The procedure has no parameter of that name."},
		{CodeUnknownColumn, Invalid, "The view has no column of that name."},
		{CodePermissionDenied, Denied, "The caller's certificate lacks the role, or the execution is another caller's."},
		{CodeProcedureNotFound, NotFound, "There is no procedure of that name."},
		{CodeViewNotFound, NotFound, "There is no view of that name."},
		{CodeFolderNotFound, NotFound, "There is no folder of that name."},
		{CodeProjectNotFound, NotFound, "The folder has no project of that name."},
		{CodePackageNotFound, NotFound, "The project has no package of that name."},
		{CodeParameterNotFound, NotFound, "The project, the package or the server has no parameter of that name."},
		{CodeReferenceNotFound, NotFound, "The project has no such environment reference."},
		{CodeExecutionNotFound, NotFound, "There is no such execution."},
		{CodeOperationNotFound, NotFound, "There is no such operation."},
		{CodeWorkerNotFound, NotFound, "No worker with that id has registered."},
		{CodeBlobNotFound, NotFound, "No master holds the blob: upload it first."},
		{CodeFolderExists, Conflict, "A folder of that name exists."},
		{CodeFolderNotEmpty, Conflict, "The folder still has projects."},
		{CodeNotEntryPoint, Conflict, "The package is not an entry point of its project."},
		{CodeNameMismatch, Invalid, "The project name differs from the one inside the project file."},
		{CodeInvalidProject, Invalid, "The project file cannot be read; the detail names the part."},
		{CodePasswordRequired, Invalid, "The project file is encrypted with a password and none was given."},
		{CodeWrongPassword, Invalid, "The password does not open the project file."},
		{CodeUserKey, Invalid, "The project file is encrypted for one Windows user: nobody else can read it."},
		{CodeProjectTooLarge, TooLarge, "The project file exceeds a limit."},
		{CodeManifestTooLarge, TooLarge, "What the project declares does not fit into one command."},
		{CodeAlreadyStarted, Conflict, "The execution was started, or has ended: an execution is prepared and started once."},
		{CodeAlreadyStopped, Conflict, "The operation is being stopped, or was."},
		{CodeAlreadyEnded, Conflict, "The operation has ended."},
		{CodeRedeployed, Conflict, "The project was deployed again, or deleted, since the execution was created: create another one."},
		{CodeValueRequired, Conflict, "A required parameter has no value."},
		{CodeNoWorkerSelected, Conflict, "The execution may use chosen workers only and none was added."},
		{CodeAnyWorker, Conflict, "The execution may use any worker: workers are added when useanyworker is 0."},
		{CodeNotScaleOut, Conflict, "The execution was created with runinscaleout 0: it is not in Scale Out and takes no workers."},
		{CodeWorkerBusy, Conflict, "The worker holds tasks."},
		{CodeQueryTooBroad, Invalid, "The order would need more rows than one query may read: filter, or order by the key."},
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
