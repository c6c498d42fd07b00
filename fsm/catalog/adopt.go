package catalog

import "fmt"

// Adopt makes the state of another cluster, or of an earlier time, this cluster's: id and feature level become this
// one's, the rows of the other's masters and its roster go, and what was told there is not told here. The index is
// where this cluster goes on. It is for a state that nobody reads yet.
func (s *State) Adopt(cluster string, level int, index uint64) {
	var gone []change
	for m := range s.Reader().Masters() {
		gone = append(gone, change{tableMasters, m, removed})
	}
	s.begin()
	for _, c := range gone {
		s.put(c)
	}
	s.now.ClusterID, s.now.Level, s.now.Roster = cluster, max(level, s.now.Level), nil
	s.events.forget(EventID{Index: index - 1})
	s.events.begin(index)
	if s.now.Level >= eventsFrom {
		s.events.say(Event{Time: s.now.Time, Type: EventStateRestored})
	}
	s.touched = Touched{}
	s.Commit(index)
}

// Used says what makes a state more than that of a cluster which has just begun, in words for people; "" when nothing
// does. A new cluster has an id, a level, masters and request keys.
func (r *Reader) Used() string {
	counts := r.Counts()
	for _, t := range []struct {
		table *table
		word  string
	}{
		{tableFolders, "folders"}, {tableProjects, "projects"}, {tableVersions, "project versions"},
		{tableLive, "executions"},
		{tableHistory, "ended executions"}, {tableOperations, "operations"}, {tableWorkers, "workers"},
		{tableSegments, "messages"},
	} {
		if n := counts[t.table.name]; n > 0 {
			return fmt.Sprintf("%d %s", n, t.word)
		}
	}
	if r.meta.Operation > 0 {
		return "operations, deleted meanwhile"
	}
	return ""
}
