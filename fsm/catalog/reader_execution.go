package catalog

import (
	"iter"
	"math"
	"slices"

	"scaleout/fsm/sqltype"
)

// Execution finds an execution, whether it lives or has ended.
func (r *Reader) Execution(id int64) (*Execution, bool) {
	if e, ok := find[Execution](r, tableLive, byID, key(id)); ok {
		return e, true
	}
	if h, ok := find[record](r, tableHistory, byID, key(id)); ok {
		return h.execution(), true
	}
	return nil, false
}

// Executions yields all executions by id.
func (r *Reader) Executions(desc bool) iter.Seq[*Execution] {
	if desc {
		return r.ExecutionsFrom(math.MaxInt64, true)
	}
	return r.ExecutionsFrom(math.MinInt64, false)
}

// ExecutionsFrom yields the executions with ids of at least id, rising, or of at most id, falling.
func (r *Reader) ExecutionsFrom(id int64, desc bool) iter.Seq[*Execution] {
	history := func(yield func(*Execution) bool) {
		for h := range from[*record](r, tableHistory, key(id), desc) {
			if !yield(h.execution()) {
				return
			}
		}
	}
	return merge(from[*Execution](r, tableLive, key(id), desc), history, desc)
}

// ExecutionsOf yields a project's executions by id.
func (r *Reader) ExecutionsOf(projectID int64, desc bool) iter.Seq[*Execution] {
	return merge(rowsBy[*Execution](r, tableLive, byProject, key(projectID), desc),
		r.posted(listProject, projectID, desc), desc)
}

// Unsuccessful yields the executions that have ended and did not succeed, by end time.
func (r *Reader) Unsuccessful(desc bool) iter.Seq[*Execution] {
	return r.posted(listUnsuccessful, 0, desc)
}

// posted yields the executions of a list in its order.
func (r *Reader) posted(list, of int64, desc bool) iter.Seq[*Execution] {
	return func(yield func(*Execution) bool) {
		for p := range rowsBy[*posting](r, tablePostings, byID, key(list, of), desc) {
			ids := p.ids()
			if desc {
				slices.Reverse(ids)
			}
			for _, id := range ids {
				if h, ok := find[record](r, tableHistory, byID, key(id)); ok && !yield(h.execution()) {
					return
				}
			}
		}
	}
}

// Tasks yields, by id, the executions whose task still shows: those that live, and those that ended since the latest
// cleanup of ended tasks.
func (r *Reader) Tasks() iter.Seq[*Execution] {
	return func(yield func(*Execution) bool) {
		// Executions that ended lately were mostly created lately: the walk begins at the lowest id among them.
		lowest := int64(math.MaxInt64)
		for e := range r.Live() {
			lowest = e.ID
			break
		}
		for p := range rowsBy[*posting](r, tablePostings, byID, key(listEnded, 0), true) {
			if p.To < r.meta.TasksBefore {
				break
			}
			lowest = min(lowest, slices.Min(p.ids()))
		}
		for e := range r.ExecutionsFrom(lowest, false) {
			if e.Status.HasEnded() && e.Ended < r.meta.TasksBefore {
				continue
			}
			if !yield(e) {
				return
			}
		}
	}
}

// Live yields the executions that have not ended, by id.
func (r *Reader) Live() iter.Seq[*Execution] {
	return rowsBy[*Execution](r, tableLive, byID, nil, false)
}

// InStatus yields the executions of a status that is not an ended one, by id.
func (r *Reader) InStatus(s Status) iter.Seq[*Execution] {
	return rowsBy[*Execution](r, tableLive, byStatus, key(int64(s)), false)
}

// HeldBy yields the executions whose current attempt the worker holds, by id.
func (r *Reader) HeldBy(worker string) iter.Seq[*Execution] {
	return rowsBy[*Execution](r, tableLive, byHolder, holderKey(worker, 0)[:len(sqltype.Fold(worker))+1], false)
}

// merge yields two sequences that are ordered by id in the order of ids.
func merge(a, b iter.Seq[*Execution], desc bool) iter.Seq[*Execution] {
	return func(yield func(*Execution) bool) {
		next, stop := iter.Pull(b)
		defer stop()
		y, more := next()
		for x := range a {
			for more && (y.ID < x.ID) != desc {
				if !yield(y) {
					return
				}
				y, more = next()
			}
			if !yield(x) {
				return
			}
		}
		for more {
			if !yield(y) {
				return
			}
			y, more = next()
		}
	}
}
