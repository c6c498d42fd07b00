package catalog

import (
	"scaleout/fsm/command"
)

// mostCleaned bounds one cleanup command; the leader sends the next when this one was full.
const mostCleaned = 1000

// cleanup removes what the command's cut-offs make old, in a fixed order and up to its limit. State time takes no part:
// a wrong clock that pushed it ahead must not empty the catalog.
//
// An ended task's detail is part of its execution's record, which late messages and the executions view need; tasks
// that ended before the cut-off merely stop showing.
func cleanup(s *State, caller command.Caller, c *command.Cleanup) command.Result {
	limit := c.Limit
	if limit <= 0 || limit > mostCleaned {
		limit = mostCleaned
	}
	e := s.edit(caller)
	e.TasksBefore = max(e.TasksBefore, c.EndedTasks)
	s.write(e)
	removed := 0
	for removed < limit {
		e := s.edit(caller)
		if c.Operations == 0 || !cleanOperation(s.working(), e, c.Operations) {
			break
		}
		s.write(e)
		removed++
	}
	if c.NeverEnabled > 0 && removed < limit {
		e := s.edit(caller)
		removed += cleanWorkers(s.working(), e, c.NeverEnabled, limit-removed)
		s.write(e)
	}
	if c.MaxVersions > 0 && removed < limit {
		e := s.edit(caller)
		removed += cleanVersions(s.working(), e, c.MaxVersions, limit-removed)
		s.write(e)
	}
	return command.Result{Value: int64(removed)}
}

// cleanOperation removes the next operation that ended before the cut-off: executions by end time, executions that were
// never started, other operations.
func cleanOperation(r *Reader, e *edit, before command.Time) bool {
	for x := range r.posted(listEnded, 0, false) {
		if x.Ended < before {
			e.remove(tableHistory, &record{ID: x.ID})
			e.delist(r, x)
			e.dropRuns(r, x.ID)
			return true
		}
		break
	}
	// Nobody started it for as long as records are kept at all: it will not run.
	for x := range r.InStatus(Created) {
		if x.Created < before {
			e.remove(tableLive, x)
			return true
		}
		break
	}
	for op := range r.Operations(false) {
		if op.Ended < before {
			e.remove(tableOperations, op)
			return true
		}
		break
	}
	return false
}

// cleanVersions removes up to limit versions that are beyond the newest so many of their project, or whose project is
// deleted, and that neither the project nor a living execution needs.
func cleanVersions(r *Reader, e *edit, most, limit int) (removed int) {
	kept := map[int64]int{}
	for v := range rowsBy[*Version](r, tableVersions, byProject, nil, true) { // newest first within a project
		if removed == limit {
			break
		}
		if !v.Orphan {
			kept[v.ProjectID]++
			if p, ok := r.ProjectByID(v.ProjectID); kept[v.ProjectID] <= most || ok && p.Version == v.LSN {
				continue
			}
		}
		pinned := false
		for x := range rowsBy[*Execution](r, tableLive, byProject, key(v.ProjectID), false) {
			if pinned = x.Version == v.LSN; pinned {
				break
			}
		}
		if !pinned {
			e.remove(tableVersions, v)
			removed++
		}
	}
	return removed
}

// cleanWorkers removes up to limit workers that were never enabled and not heard from since the cut-off: a certificate
// makes as many as it likes in its time, and nobody else ever takes them away.
func cleanWorkers(r *Reader, e *edit, before command.Time, limit int) (removed int) {
	for w := range r.Workers() {
		if removed == limit {
			break
		}
		if !w.EverEnabled && w.LastOnline < before {
			e.remove(tableWorkers, w)
			removed++
		}
	}
	return removed
}
