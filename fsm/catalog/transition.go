package catalog

import (
	"fmt"
	"slices"

	"scaleout/fsm/command"
)

// The codes that only transitions use, beside those of Codes.
const (
	CodeAlreadyInitialized = "already_initialized"
	CodeVersionChanged     = "version_changed"
	CodeProjectInUse       = "project_in_use"
	CodeAgentIDTaken       = "agent_id_taken"
	CodeAgentIDInUse       = "agent_id_in_use"
	CodeFenced             = "fenced"
	CodeNotPending         = "not_pending"
	CodeNotEligible        = "not_eligible"
	CodeNotHeld            = "not_held"
	CodeGap                = "gap"
	CodeKeyReused          = "key_reused"
	CodeTooManyKeys        = "too_many_keys"
	CodeLimitReached       = "limit_reached"
	CodeSegmentNotFound    = "segment_not_found"
	CodeMergeIncomplete    = "merge_incomplete"
)

// StateCodes lists the codes with which only the state refuses, for doors and documents; Codes lists the others.
func StateCodes() []Code {
	return []Code{
		{CodeAlreadyInitialized, Conflict, "The cluster has its id."},
		{CodeVersionChanged, Conflict, "The project was deployed again meanwhile: plan the execution again."},
		{CodeProjectInUse, Conflict, "An execution of the project waits or runs."},
		{CodeAgentIDTaken, Denied, "The AgentId belongs to another certificate name."},
		{CodeAgentIDInUse, Conflict, "Another machine uses the AgentId and holds tasks."},
		{CodeFenced, Conflict, "The attempt is not this worker process's any more: it must end it."},
		{CodeNotPending, Conflict, "The task waits for no such attempt."},
		{CodeNotEligible, Conflict, "The worker may not be given the task."},
		{CodeNotHeld, Conflict, "The attempt is not held, or not by that worker process."},
		{CodeGap, Conflict, "Messages are missing before these: send them from next_seq on."},
		{CodeKeyReused, Invalid, "The request key came with another request before."},
		{CodeTooManyKeys, Conflict, "As many request keys are kept as there is room for, of the caller or of all: nothing was done."},
		{CodeLimitReached, Conflict, "A limit of the masters' settings is reached; the problem's member limit names it."},
		{CodeSegmentNotFound, NotFound, "No row names the message segment."},
		{CodeMergeIncomplete, Conflict, "The merged segment would lose messages."},
	}
}

func initCluster(r *Reader, e *edit, c *command.InitCluster) command.Result {
	switch {
	case r.meta.ClusterID != "":
		return reject(CodeAlreadyInitialized, "this cluster is %s since its first command", r.meta.ClusterID)
	case c.ClusterID == "" || c.Level < 1:
		return reject(CodeInvalidArgument, "a cluster needs an id and a feature level of at least 1, not %s and %d", clip(c.ClusterID), c.Level)
	}
	e.ClusterID, e.Level, e.KeySecret = c.ClusterID, max(e.Level, c.Level), c.KeySecret
	return command.Result{}
}

func raiseLevel(_ *Reader, e *edit, c *command.RaiseLevel) command.Result {
	e.Level = max(e.Level, c.Level)
	return command.Result{}
}

func beat(r *Reader, e *edit, c *command.Beat) command.Result {
	rows := map[string]*command.MasterBeat{}
	lead := ""
	for i := range c.Masters {
		m := c.Masters[i]
		if m.ID == "" {
			continue
		}
		if old, ok := r.Master(m.ID); ok {
			m.LastOnline = max(m.LastOnline, old.LastOnline)
		}
		rows[m.ID] = &m
		if m.Leader {
			lead = m.ID
		}
	}
	for m := range r.Masters() {
		_, again := rows[m.ID]
		switch {
		case slices.Contains(c.Gone, m.ID):
			if !again {
				e.remove(tableMasters, m)
			}
		case !again && lead != "" && m.Leader: // there is one leader
			was := *m
			was.Leader = false
			e.replace(tableMasters, &was)
		}
	}
	for i := range c.Masters { // in the command's order, not the map's
		m := rows[c.Masters[i].ID]
		if m == nil {
			continue
		}
		delete(rows, m.ID)
		m.Leader = m.ID == lead
		if _, ok := r.Master(m.ID); ok {
			e.replace(tableMasters, m)
		} else {
			e.add(tableMasters, m)
		}
	}
	seen := map[string]*Worker{}
	for _, b := range c.Workers {
		w := seen[fold(b.ID)]
		if w == nil {
			row, ok := r.Worker(b.ID)
			if !ok {
				continue
			}
			w = new(*row)
			seen[fold(b.ID)] = w
			e.replace(tableWorkers, w)
		}
		w.LastOnline = max(w.LastOnline, b.LastOnline)
	}
	return command.Result{}
}

// note adds a message of the catalog itself. An execution that keeps being handed back would fill memory: after so
// many notes it gets no more.
func (e *edit) note(notes []Note, kind int, format string, args ...any) []Note {
	const most = 300
	if len(notes) >= most {
		return notes
	}
	e.Message++
	return append(slices.Clip(notes), Note{
		Time: e.Time, Type: kind, SourceType: SourceEntryAPI, Text: fmt.Sprintf(format, args...), ID: e.Message,
	})
}
