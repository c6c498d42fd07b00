package registry

import (
	"sync"

	"scaleout/fsm/command"
)

// Code is one family of refusals: what callers see as the code of a problem.
type Code struct {
	Name   string
	Number int // SQL Server's number for it where one is documented, ours from 50100 up
	Status int // of HTTP
	Doc    string
	Remedy string // what the caller can do about it
}

// Severity is that of every refusal when it is raised as an SQL error.
const Severity = 16

type messageTable struct {
	byCode map[string]*Message
	byName map[string]*Code
}

var messages = sync.OnceValue(func() messageTable {
	t := messageTable{byCode: map[string]*Message{}, byName: map[string]*Code{}}
	for i := range codes {
		t.byName[codes[i].Name] = &codes[i]
	}
	for _, list := range [][]Message{requestMessages, catalogMessages, workerMessages, noteMessages, reasonMessages} {
		for i := range list {
			t.byCode[list[i].Code] = &list[i]
		}
	}
	return t
})

// Codes returns the families, in the order of the table. The slice must not be changed.
func Codes() []Code { return codes }

// Messages returns every sentence. The slice is the caller's.
func Messages() []Message {
	var all []Message
	for _, list := range [][]Message{requestMessages, catalogMessages, workerMessages, noteMessages, reasonMessages} {
		all = append(all, list...)
	}
	return all
}

// CodeOf is the family of a code; one that this version does not know does not fit the present state: the request was
// well-formed, or it would not have come that far.
func CodeOf(code string) Code {
	name := command.Family(code)
	if c, ok := messages().byName[name]; ok {
		return *c
	}
	return Code{Name: name, Number: 50000, Status: 409}
}

const tooMany = 429 // Too Many Requests

// codes is the one table of families. Numbers from 50100 up are ours: they are given out in the order of the table's
// growth and never change.
var codes = []Code{
	{command.FamilyInvalidArgument, 27101, 400, "A value does not fit its type, its range or the rules for it.",
		"The detail names the value and what would be right."},
	{command.FamilyInvalidName, 27128, 400, "A name is empty, too long, or has a character that names may not have.",
		"Choose another name."},
	{command.CodeMissingParameter, 27100, 400, "A required parameter is missing.", "The detail names it."},
	{command.CodeUnknownParameter, 8145, 400, "The procedure has no parameter of that name.",
		"The detail lists those that it has."},
	{command.CodeUnknownColumn, 207, 400, "The view has no column of that name.", "The detail lists those that it has."},
	{command.FamilyPermissionDenied, 27219, 403,
		"The caller's certificate lacks the role, or the execution is another caller's.",
		"Ask an administrator for a certificate with the role, or the creator of the execution."},
	{command.CodeProcedureNotFound, 2812, 404, "There is no procedure of that name.",
		"GET /v1/catalog/procedures lists them."},
	{command.CodeViewNotFound, 208, 404, "There is no view of that name.", "GET /v1/catalog/views lists them."},
	{command.CodeFolderNotFound, 27104, 404, "There is no folder of that name.", "The view folders lists them."},
	{command.CodeProjectNotFound, 27109, 404, "The folder has no project of that name.", "The view projects lists them."},
	{command.CodePackageNotFound, 27146, 404, "The project has no package of that name.", "The view packages lists them."},
	{command.CodeParameterNotFound, 27106, 404, "The project, the package or the server has no parameter of that name.",
		"The view object_parameters lists them."},
	{command.CodeReferenceNotFound, 27111, 404, "The project has no such environment reference.",
		"Leave reference_id out."},
	{command.CodeExecutionNotFound, 27103, 404, "There is no such execution.",
		"It may have been removed by cleanup; the view executions lists those that there are."},
	{command.CodeOperationNotFound, 27105, 404, "There is no such operation.",
		"The view operations lists those that there are."},
	{command.CodeWorkerNotFound, 27243, 404, "No worker with that id has registered.",
		"The view worker_agents lists them."},
	{command.CodeBlobNotFound, 50100, 404, "No master holds the blob.", "Upload it first."},
	{command.CodeSegmentNotFound, 50101, 404, "No row names the message segment.", ""},
	{command.CodeFolderExists, 27190, 409, "A folder of that name exists.", "Choose another name, or use that folder."},
	{command.CodeFolderNotEmpty, 27196, 409, "The folder still has projects.", "Delete them first."},
	{command.CodeNotEntryPoint, 50102, 409, "The package is not an entry point of its project.",
		"Execute the package that runs it."},
	{command.CodeProjectInUse, 50103, 409, "An execution of the project waits or runs.", "Wait for its end, or stop it."},
	{command.CodeNameMismatch, 50104, 400, "The project name differs from the one inside the project file.",
		"Give the name that the file has."},
	{command.CodeInvalidProject, 50105, 400, "The project file cannot be read; the detail names the part.",
		"Build the project again."},
	{command.CodePasswordRequired, 50106, 400, "The project file is encrypted with a password and none was given.",
		"Give project_password."},
	{command.CodeWrongPassword, 50107, 400, "The password does not open the project file.",
		"Give the password that the project was saved with."},
	{command.CodeUserKey, 50108, 400, "The project file is encrypted for one Windows user: nobody else can read it.",
		"Save it with another protection level."},
	{command.CodeProjectTooLarge, 50109, 413, "The project file exceeds a limit.",
		"Split the project, or raise MaxProjectBytes."},
	{command.CodeManifestTooLarge, 50110, 413, "What the project declares does not fit into one command.",
		"Split the project."},
	{command.CodeAlreadyStarted, 27121, 409,
		"The execution was started, or has ended: an execution is prepared and started once.",
		"Create another execution."},
	{command.CodeAlreadyStopped, 27126, 409, "The operation is being stopped, or was.", ""},
	{command.CodeAlreadyEnded, 27175, 409, "The operation has ended.", ""},
	{command.CodeRedeployed, 27150, 409, "The project was deployed again, or deleted, since the execution was created.",
		"Create another execution."},
	{command.CodeValueRequired, 27184, 409, "A required parameter has no value.",
		"Set it with set_execution_parameter_value."},
	{command.CodeNoWorkerSelected, 50111, 409, "The execution may use chosen workers only and none was added.",
		"Add one with add_execution_worker."},
	{command.CodeAnyWorker, 27251, 409, "The execution may use any worker: workers are added when useanyworker is 0.",
		"Create it with useanyworker 0."},
	{command.CodeNotScaleOut, 27255, 409,
		"The execution was created with runinscaleout 0: it is not in Scale Out and takes no workers.",
		"Create it with runinscaleout 1."},
	{command.CodeWorkerBusy, 50112, 409, "The worker holds tasks.", "Disable it and wait, or stop the executions."},
	{command.CodeQueryTooBroad, 8623, 400, "The order would need more rows than one query may read.",
		"Filter more, or order by the key."},
	{command.CodeAlreadyInitialized, 50113, 409, "The cluster has its id.", ""},
	{command.CodeKeyReused, 50114, 422, "The request key came with another request before.",
		"A new call needs a new key."},
	{command.CodeTooManyKeys, 50115, tooMany,
		"As many request keys are kept as there is room for, of the caller or of all: nothing was done.",
		"Wait, or send fewer calls."},
	{command.CodeMergeIncomplete, 50116, 409, "The merged segment would lose messages.", ""},
	{command.FamilyLimitReached, 50117, tooMany,
		"A limit of the masters' settings is reached; the problem's member limit names it.",
		"The detail says what makes room."},
	{command.CodeAgentIDTaken, 50118, 403, "The AgentId belongs to another certificate name.",
		"A worker keeps its certificate's name, or registers with a new AgentId."},
	{command.CodeAgentIDInUse, 50119, 409, "Another machine uses the AgentId and holds tasks.",
		"Give this machine an AgentId of its own."},
	{command.CodeLeaseTooShort, 50120, 422, "The worker's lease is too short for the masters' timings.",
		"Raise LeaseInterval."},
	{command.CodeWorkerNotRegistered, 50121, 404, "The worker has not registered with this cluster.",
		"Register it first."},
	{command.CodeInstanceReplaced, 50122, 409, "Another process of the worker has registered since.", "Register again."},
	{command.CodeStaleSequence, 50123, 409, "An exchange came after one with a higher sequence number.",
		"Sequence numbers must not fall."},
	{command.FamilyFenced, 50124, 409, "The attempt is not this worker process's any more.", "The worker must end it."},
	{command.CodeNotPending, 50125, 409, "The task waits for no such attempt.", ""},
	{command.FamilyNotEligible, 50126, 409, "The worker may not be given the task.", ""},
	{command.CodeNotHeld, 50127, 409, "The attempt is not held, or not by that worker process.", ""},
	{command.CodeGap, 50128, 409, "Messages are missing before these.", "Send them from next_seq on."},
}
