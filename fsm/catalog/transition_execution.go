package catalog

import (
	"errors"
	"slices"
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// MaxRetryCount is the most retries that start_execution takes.
const MaxRetryCount = 100

func createExecution(r *Reader, e *edit, c *command.CreateExecution) command.Result {
	folder, project, missing := folderAndProject(r, c.Folder, c.Project)
	if missing != nil {
		return command.Result{Rejection: missing}
	}
	version, ok := r.Version(project.Version)
	if !ok || project.Version != c.Version {
		return reject(command.CodeVersionChanged, "the project %s is at version %d, not %d", sqltype.Quote(project.Name), project.Version, c.Version)
	}
	at := slices.IndexFunc(version.Manifest.Packages, func(p command.Package) bool { return sqltype.Fold(p.Name) == sqltype.Fold(c.Package) })
	switch {
	case at < 0:
		return reject(command.CodePackageNotFound, "the project %s has no package %s", sqltype.Quote(project.Name), sqltype.Quote(c.Package))
	case !version.Manifest.Packages[at].EntryPoint:
		return reject(command.CodeNotEntryPoint, "%s is not an entry point of %s", sqltype.Quote(c.Package), sqltype.Quote(project.Name))
	case c.ReferenceID != nil:
		return reject(command.CodeReferenceNotFound, "the project %s has no environment reference %d", sqltype.Quote(project.Name), *c.ReferenceID)
	}
	caller := e.caller.String()
	if n := r.state.places.notStarted[caller]; c.MostNotStarted > 0 && n >= c.MostNotStarted {
		return command.Result{Rejection: command.RefuseLimit("MaxExecutionsNotStarted", "%s has %d executions that no worker was given yet, which is the most "+
			"for one caller: wait until some run, or stop those that are not wanted", sqltype.Quote(caller), n)}
	}
	e.Operation++
	x := &Execution{
		ID: e.Operation, Status: Created, Folder: folder.Name, Project: project.Name, Package: version.Manifest.Packages[at].Name,
		ProjectID: project.ID, PackageID: version.PackageIDs[at], Version: version.LSN, Use32Bit: c.Use32Bit,
		ServerMode: c.ServerMode, AnyWorker: c.AnyWorker || c.ServerMode, Server: c.Server,
		Caller: caller, Created: e.Time,
	}
	if c.ServerMode {
		x.Notes = e.note(nil, MessageWarning, "runinscaleout 0 was given: there is no server mode, so any worker may run this execution.")
	}
	e.add(tableLive, x)
	return command.Result{Value: x.ID}
}

// created finds an execution that has not been started.
func created(r *Reader, id int64) (*Execution, *command.Rejection) {
	x, ok := r.Execution(id)
	switch {
	case !ok:
		return nil, command.Refuse(command.CodeExecutionNotFound, "there is no execution %d", id)
	case x.Status != Created:
		return nil, command.Refuse(command.CodeAlreadyStarted, "execution %d is %s: this is for executions in status %d (%s)", id, x.Status, Created, Created)
	}
	return x, nil
}

// mostOptions bounds the options that one execution carries. Which names there are is for the plan to say: were it for
// the state, two versions of the program could disagree on a command.
const mostOptions = 64

func setExecutionParameter(r *Reader, e *edit, c *command.SetExecutionParameter) command.Result {
	x, refused := created(r, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	name := c.Name
	switch c.ObjectType {
	case ObjectExecution:
		options := 0
		for i := range x.Values {
			if x.Values[i].ObjectType == ObjectExecution {
				options++
			}
		}
		if _, again := ValueOf(x, ObjectExecution, name); name == "" || options >= mostOptions && !again {
			return reject(command.CodeInvalidArgument, "server option %s: an execution takes up to %d options with names", sqltype.Quote(name), mostOptions)
		}
	default:
		declared, err := DeclaredParameter(r, x, c.ObjectType, c.Name)
		if err != nil {
			var why *command.Rejection
			if !errors.As(err, &why) {
				why = command.Refuse(command.CodeInvalidArgument, "parameter %s", sqltype.Quote(c.Name))
			}
			return command.Result{Rejection: why}
		}
		switch {
		case declared.Type != c.Value.Type:
			return reject(command.CodeInvalidArgument, "the parameter %s is a %s, not a %s", sqltype.Quote(declared.Name), declared.Type, sqltype.Quote(c.Value.Type))
		case declared.Sensitive != (c.Value.Sealed != nil):
			return reject(command.CodeInvalidArgument, "the parameter %s is sensitive, or its value is sealed, but not both", sqltype.Quote(declared.Name))
		}
		name = declared.Name
	}
	x = new(*x)
	x.Values = slices.Clone(x.Values)
	set := SetValue{c.ObjectType, name, c.Value}
	at, found := slices.BinarySearchFunc(x.Values, set, func(a, b SetValue) int {
		if a.ObjectType != b.ObjectType {
			return a.ObjectType - b.ObjectType
		}
		return strings.Compare(sqltype.Fold(a.Name), sqltype.Fold(b.Name))
	})
	if found {
		x.Values[at] = set
	} else {
		x.Values = slices.Insert(x.Values, at, set)
	}
	e.replace(tableLive, x)
	return command.Result{}
}

func addExecutionWorker(r *Reader, e *edit, c *command.AddExecutionWorker) command.Result {
	x, refused := created(r, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	w, ok := r.Worker(c.Worker)
	switch {
	case x.ServerMode:
		return reject(command.CodeNotScaleOut, "execution %d was created with runinscaleout 0: it is not in Scale Out and takes no workers", x.ID)
	case x.AnyWorker:
		return reject(command.CodeAnyWorker, "execution %d may use any worker: create it with useanyworker 0 to choose workers", x.ID)
	case !ok:
		return reject(command.CodeWorkerNotFound, "no worker with the id %s has registered", sqltype.Quote(c.Worker))
	}
	at, found := slices.BinarySearch(x.Workers, w.ID)
	if found {
		return command.Result{}
	}
	x = new(*x)
	x.Workers = slices.Insert(slices.Clone(x.Workers), at, w.ID)
	e.replace(tableLive, x)
	return command.Result{}
}

func startExecution(r *Reader, e *edit, c *command.StartExecution) command.Result {
	x, refused := created(r, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	if c.RetryCount < 0 || c.RetryCount > MaxRetryCount || c.RetryDelayMs < 0 || c.RetryDelayMs > command.MaxSpanMs {
		return reject(command.CodeInvalidArgument, "retry_count %d is outside 0–%d, or the delay of %d ms outside 0–%d",
			c.RetryCount, MaxRetryCount, c.RetryDelayMs, int64(command.MaxSpanMs))
	}
	project, ok := r.ProjectByID(x.ProjectID)
	version, there := r.Version(x.Version)
	if !ok || !there || project.Version != x.Version {
		return reject(command.CodeRedeployed, "the project %s was deployed again or deleted since execution %d was created: create another execution",
			sqltype.Quote(x.Project), x.ID)
	}
	if missing := MissingValues(version, x); len(missing) > 0 {
		return reject(command.CodeValueRequired, "execution %d needs values for required parameters: %s", x.ID, strings.Join(missing, ", "))
	}
	if !x.AnyWorker && len(x.Workers) == 0 {
		return reject(command.CodeNoWorkerSelected, "execution %d may use chosen workers only and none was added", x.ID)
	}
	if c.QueueTimeoutMs < 0 || c.QueueTimeoutMs > maxTimeout.Milliseconds() {
		return reject(command.CodeInvalidArgument, "a wait of %d ms for a worker is outside 0–%d", c.QueueTimeoutMs, maxTimeout.Milliseconds())
	}
	x = new(*x)
	x.Status, x.Queued, x.RetryCount, x.RetryDelayMs = Pending, e.Time, c.RetryCount, c.RetryDelayMs
	x.QueueTimeoutMs = c.QueueTimeoutMs
	x.waitsFrom(e.Time)
	e.replace(tableLive, x)
	e.expectEnd(r, x)
	return command.Result{}
}

func stopOperation(r *Reader, e *edit, c *command.StopOperation) command.Result {
	x, ok := r.Execution(c.OperationID)
	if !ok {
		if op, ok := r.Operation(c.OperationID); ok {
			return reject(command.CodeAlreadyEnded, "operation %d has ended (%s): only executions can be stopped", op.ID, op.Status)
		}
		return reject(command.CodeOperationNotFound, "there is no operation %d", c.OperationID)
	}
	by := e.caller.String()
	switch x.Status {
	case Created, Pending:
		x = new(*x)
		x.Status, x.Ended, x.StoppedBy = Canceled, e.Time, by
		e.put(r, x)
	case Running:
		x = new(*x)
		x.Status, x.StoppedBy = Stopping, by
		x.Notes = e.note(x.Notes, MessageInformation, "%s asked for a stop.", sqltype.Quote(by))
		e.put(r, x)
	case Stopping, Canceled:
		return reject(command.CodeAlreadyStopped, "execution %d is %s: %s stopped it", x.ID, x.Status, sqltype.Quote(x.StoppedBy))
	default:
		return reject(command.CodeAlreadyEnded, "execution %d has ended: it is %s", x.ID, x.Status)
	}
	return command.Result{}
}

// put replaces a live execution's row. One that has ended becomes history at once: the row of a working execution costs
// four index entries, and reports, late messages and views find the record as well.
func (e *edit) put(r *Reader, x *Execution) {
	if !x.Status.HasEnded() {
		e.replace(tableLive, x)
		return
	}
	e.remove(tableLive, x)
	e.add(tableHistory, newRecord(x))
	e.enlist(r, x)
	e.countEnd(r, x)
}
