package catalog

import (
	"slices"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

func initCluster(r *Reader, e *edit, c *command.InitCluster) command.Result {
	switch {
	case r.meta.ClusterID != "":
		return reject(command.CodeAlreadyInitialized, r.meta.ClusterID)
	case c.ClusterID == "" || c.Level < 1:
		return reject(command.CodeClusterID, c.ClusterID, c.Level)
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
		w := seen[sqltype.Fold(b.ID)]
		if w == nil {
			row, ok := r.Worker(b.ID)
			if !ok {
				continue
			}
			w = new(*row)
			seen[sqltype.Fold(b.ID)] = w
			e.replace(tableWorkers, w)
		}
		w.LastOnline = max(w.LastOnline, b.LastOnline)
	}
	return command.Result{}
}

// note adds a message of the catalog itself. An execution that keeps being handed back would fill memory: after so
// many notes it gets no more.
func (e *edit) note(notes []Note, kind int, code string, args ...any) []Note {
	return e.addNote(notes, Note{Time: e.Time, Type: kind, SourceType: SourceEntryAPI, Code: code,
		Args: command.Arguments(args...)})
}

// addNote gives the note its id.
func (e *edit) addNote(notes []Note, n Note) []Note {
	const most = 300
	if len(notes) >= most {
		return notes
	}
	e.Message++
	n.Time, n.ID = e.Time, e.Message
	return append(slices.Clip(notes), n)
}
