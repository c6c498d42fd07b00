package catalog

import (
	"slices"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// registerWorker takes the worker's row, then its reports, then what it still runs. The rest of what the state gives to
// the worker stays with the process that held it: only the end of its lease releases it.
func registerWorker(s *State, caller command.Caller, c *command.RegisterWorker) command.Result {
	old, known := s.working().Worker(c.ID)
	samePlace := !known || old.MachineID == c.MachineID
	result := decide(s, caller, c, register)
	if result.Rejection != nil {
		return result
	}
	ended := items(s, caller, c.Ended, func(r *Reader, e *edit, rep command.Report) command.ItemResult {
		// A report tells what has happened: any process of the worker may bring it.
		return report(r, e, c.ID, rep, func(*Attempt) bool { return true })
	})
	s.fencedReports(c.ID, c.Ended, ended)
	running := items(s, caller, c.Running, func(r *Reader, e *edit, ref command.AttemptRef) command.ItemResult {
		if !samePlace {
			return refuse(command.CodeFencedMachine, ref.Attempt, ref.TaskID)
		}
		return adopt(r, e, c, ref)
	})
	return command.Result{Items: append(ended, running...)}
}

func register(r *Reader, e *edit, c *command.RegisterWorker) command.Result {
	if c.ID == "" || c.CertName == "" || c.Incarnation == "" || c.MaxTaskCount < 1 || c.LeaseMs <= 0 ||
		c.ToleranceMs < c.LeaseMs {
		return reject(command.CodeRegistration, c.ID, c.MaxTaskCount, c.LeaseMs, c.ToleranceMs)
	}
	if longest := max(c.ToleranceMs, c.TaskHeartbeatMs, c.AgentHeartbeatMs); longest > command.MaxSpanMs {
		return reject(command.CodeRegistrationSpan, c.ID, longest, int64(command.MaxSpanMs))
	}
	row := &Worker{RegisterWorker: *c, Registered: e.Time}
	row.Running, row.Ended, row.TakeOver = nil, nil, "" // they are in the executions
	row.MostAgentIDs, row.MostNeverEnabled, row.TaskCountLimit = 0, 0, 0
	row.OwnTaskCount = c.MaxTaskCount
	if c.TaskCountLimit > 0 {
		row.OwnTaskCount = min(row.OwnTaskCount, c.TaskCountLimit)
	}
	old, known := r.Worker(c.ID)
	if known {
		if !old.BoundTo(c.CertName) {
			return reject(command.CodeAgentIDTaken, old.ID, old.CertName, c.CertName)
		}
		if old.MachineID != c.MachineID && c.TakeOver != old.MachineID {
			for x := range r.HeldBy(old.ID) {
				return reject(command.CodeAgentIDInUse, old.ID, old.MachineName, old.MachineID, x.ID, c.MachineName, c.MachineID)
			}
		}
		row.ID, row.CertName = old.ID, old.CertName
		row.Tags, row.Enabled, row.Registered = old.Tags, old.Enabled, old.Registered
		row.LastOnline, row.NameSet, row.DescriptionSet = old.LastOnline, old.NameSet, old.DescriptionSet
		row.EverEnabled, row.TaskCountSet = old.EverEnabled, old.TaskCountSet
		if old.NameSet {
			row.DisplayName = old.DisplayName
		}
		if old.DescriptionSet {
			row.Description = old.Description
		}
	}
	if !known {
		if no := roomForWorker(r.state.places, c); no != nil {
			return command.Result{Rejection: no}
		}
	}
	row.limitTasks()
	row.LastOnline = max(row.LastOnline, e.Time)
	if known {
		e.replace(tableWorkers, row)
	} else {
		e.add(tableWorkers, row)
	}
	return command.Result{}
}

// roomForWorker refuses a new worker beyond the command's limits.
func roomForWorker(t *places, c *command.RegisterWorker) *command.Rejection {
	ofName, neverEnabled := t.workers(c.CertName)
	if c.MostAgentIDs > 0 && ofName >= c.MostAgentIDs {
		return command.Refuse(command.CodeLimitAgentIDs, "MaxAgentIdsPerCertificate", c.CertName, ofName)
	}
	if c.MostNeverEnabled > 0 && neverEnabled >= c.MostNeverEnabled {
		return command.Refuse(command.CodeLimitNeverEnabled, "MaxWorkersNeverEnabled", neverEnabled)
	}
	return nil
}

// limitTasks derives MaxTaskCount from what the worker asks for and what was set.
func (w *Worker) limitTasks() {
	w.MaxTaskCount = w.OwnTaskCount
	if w.TaskCountSet > 0 {
		w.MaxTaskCount = min(w.MaxTaskCount, w.TaskCountSet)
	}
}

// adopt moves a running attempt to the worker's new process.
func adopt(r *Reader, e *edit, c *command.RegisterWorker, ref command.AttemptRef) command.ItemResult {
	x, ok := find[Execution](r, tableLive, byID, key(ref.TaskID))
	if !ok {
		return refuse(command.CodeFencedNoTask, ref.TaskID)
	}
	a := x.current()
	if a == nil || a.Number != ref.Attempt || !a.Held() || !sqltype.EqualText(a.Worker, c.ID) {
		return refuse(command.CodeFencedNotHeld, ref.Attempt, ref.TaskID)
	}
	x = new(*x)
	x.Attempts = slices.Clone(x.Attempts)
	x.current().Incarnation = c.Incarnation
	e.replace(tableLive, x)
	return command.ItemResult{}
}

func enableWorker(r *Reader, e *edit, c *command.EnableWorker) command.Result {
	w, ok := r.Worker(c.ID)
	if !ok {
		return reject(command.CodeWorkerNotFound, c.ID)
	}
	w = new(*w)
	w.Enabled = c.Enabled
	w.EverEnabled = w.EverEnabled || c.Enabled
	e.replace(tableWorkers, w)
	return command.Result{}
}

func setWorkerProperty(r *Reader, e *edit, c *command.SetWorkerProperty) command.Result {
	w, ok := r.Worker(c.ID)
	if !ok {
		return reject(command.CodeWorkerNotFound, c.ID)
	}
	w = new(*w)
	if no := w.setProperty(c.Name, c.Value); no != nil {
		return command.Result{Rejection: no}
	}
	e.replace(tableWorkers, w)
	return command.Result{}
}

func deleteWorker(r *Reader, e *edit, c *command.DeleteWorker) command.Result {
	w, ok := r.Worker(c.ID)
	if !ok {
		return reject(command.CodeWorkerNotFound, c.ID)
	}
	for x := range r.HeldBy(w.ID) {
		return reject(command.CodeWorkerBusy, w.ID, x.ID)
	}
	e.remove(tableWorkers, w)
	return command.Result{}
}
