package catalog

import (
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
	if no := e.may(r, command.RightExecute, command.ProjectObject(project.ID), project.Name); no != nil {
		return command.Result{Rejection: no}
	}
	version, ok := r.Version(project.Version)
	if !ok {
		return reject(command.CodeVersionGone, project.Version, project.Name)
	}
	at := packageIndex(version, c.Package)
	switch {
	case at < 0:
		return reject(command.CodePackageNotFound, project.Name, c.Package, entryPoints(version))
	case !version.Manifest.Packages[at].EntryPoint:
		return reject(command.CodeNotEntryPoint, version.Manifest.Packages[at].Name, project.Name)
	case c.ReferenceID != nil:
		return reject(command.CodeReferenceNotFound, project.Name, *c.ReferenceID)
	}
	caller := e.caller.String()
	if n := r.state.places.waiting(caller); c.MostNotStarted > 0 && n >= c.MostNotStarted {
		return reject(command.CodeLimitNotStarted, "MaxExecutionsNotStarted", caller, n)
	}
	e.Operation++
	x := &Execution{
		ID: e.Operation, Status: Created, Folder: folder.Name, Project: project.Name,
		Package:   version.Manifest.Packages[at].Name,
		ProjectID: project.ID, PackageID: version.PackageIDs[at], Version: version.LSN, Use32Bit: c.Use32Bit,
		ServerMode: c.ServerMode, AnyWorker: c.AnyWorker || c.ServerMode, Server: c.Server,
		Caller: caller, Created: e.Time,
	}
	if c.ServerMode {
		x.Notes = e.note(nil, MessageWarning, command.NoteServerMode)
	}
	e.add(tableLive, x)
	return command.Result{Value: x.ID}
}

// entryPoints are the names of packages that may be executed, as far as a refusal offers them.
func entryPoints(v *Version) []string {
	var names []string
	for i := range v.Manifest.Packages {
		if v.Manifest.Packages[i].EntryPoint && len(names) < mostKnown {
			names = append(names, v.Manifest.Packages[i].Name)
		}
	}
	return names
}

// created finds an execution that has not been started and that the caller may prepare.
func created(r *Reader, e *edit, id int64) (*Execution, *command.Rejection) {
	x, ok := r.Execution(id)
	if !ok {
		return nil, command.Refuse(command.CodeExecutionNotFound, id)
	}
	if no := e.mayModify(r, x); no != nil {
		return nil, no
	}
	if x.Status != Created {
		return nil, command.Refuse(command.CodeAlreadyStarted, id, x.Status, int(Created), Created)
	}
	return x, nil
}

func setExecutionParameter(r *Reader, e *edit, c *command.SetExecutionParameter) command.Result {
	x, refused := created(r, e, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	var name string
	if c.ObjectType == ObjectExecution {
		option, no := FindOption(c.Name)
		if no == nil {
			no = option.Check(c.Value)
		}
		if no != nil {
			return command.Result{Rejection: no}
		}
		name = option.Name
	} else {
		declared, no := DeclaredParameter(r, x, c.ObjectType, c.Name)
		switch {
		case no != nil:
			return command.Result{Rejection: no}
		case declared.Type != c.Value.Type:
			return reject(command.CodeParameterType, declared.Name, declared.Type, c.Value.Type)
		case declared.Sensitive != (c.Value.Sealed != nil):
			return reject(command.CodeParameterSealed, declared.Name)
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
	x, refused := created(r, e, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	w, ok := r.Worker(c.Worker)
	switch {
	case x.ServerMode:
		return reject(command.CodeNotScaleOut, x.ID)
	case x.AnyWorker:
		return reject(command.CodeAnyWorker, x.ID)
	case !ok:
		return reject(command.CodeWorkerNotFound, c.Worker)
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
	x, refused := created(r, e, c.ExecutionID)
	if refused != nil {
		return command.Result{Rejection: refused}
	}
	switch {
	case c.RetryCount < 0 || c.RetryCount > MaxRetryCount:
		return reject(command.CodeRetryCount, c.RetryCount, MaxRetryCount)
	case c.RetryDelayMs < 0 || c.RetryDelayMs > command.MaxSpanMs:
		return reject(command.CodeRetryDelay, c.RetryDelayMs, int64(command.MaxSpanMs))
	}
	project, ok := r.ProjectByID(x.ProjectID)
	version, there := r.Version(x.Version)
	if !ok || !there || project.Version != x.Version {
		return reject(command.CodeRedeployed, x.Project, x.ID)
	}
	if no := e.may(r, command.RightExecute, command.ProjectObject(project.ID), project.Name); no != nil {
		return command.Result{Rejection: no}
	}
	if missing := missingValues(version, x); len(missing) > 0 {
		return reject(command.CodeValueRequired, x.ID, missing[:min(len(missing), mostKnown)])
	}
	if !x.AnyWorker && len(x.Workers) == 0 {
		return reject(command.CodeNoWorkerSelected, x.ID)
	}
	x = new(*x)
	x.Status, x.Queued, x.RetryCount, x.RetryDelayMs = Pending, e.Time, c.RetryCount, c.RetryDelayMs
	x.QueueTimeoutMs = timeout(x, OptionQueueTimeout).Milliseconds()
	x.waitsFrom(e.Time)
	e.replace(tableLive, x)
	e.expectEnd(r, x)
	return command.Result{}
}

func stopOperation(r *Reader, e *edit, c *command.StopOperation) command.Result {
	x, ok := r.Execution(c.OperationID)
	if !ok {
		if op, ok := r.Operation(c.OperationID); ok {
			return reject(command.CodeOperationEnded, op.ID, op.Status)
		}
		return reject(command.CodeOperationNotFound, c.OperationID)
	}
	if no := e.mayModify(r, x); no != nil {
		return command.Result{Rejection: no}
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
		x.Notes = e.note(x.Notes, MessageInformation, command.NoteStopAsked, by)
		e.put(r, x)
	case Stopping, Canceled:
		return reject(command.CodeAlreadyStopped, x.ID, x.Status, x.StoppedBy)
	default:
		return reject(command.CodeAlreadyEnded, x.ID, x.Status)
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
