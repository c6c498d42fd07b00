package catalog

import (
	"bytes"
	"iter"

	"github.com/hashicorp/go-memdb"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Reader is one read transaction over the state: cheap to make, safe for concurrent use, never changed by later
// commands. Rows that it returns are immutable: whoever writes to one changes the state behind its back.
type Reader struct {
	txn   *memdb.Txn
	meta  *meta
	state *State
}

func firstRow[T any](r *Reader, t *table, index string, k []byte) (row T) {
	v, err := r.txn.First(t.name, index, k)
	must(err)
	if v != nil {
		row = v.(T)
	}
	return row
}

func find[T any](r *Reader, t *table, index string, k []byte) (*T, bool) {
	row := firstRow[*T](r, t, index, k)
	return row, row != nil
}

// rowsBy yields the rows whose keys in the index begin with prefix, in the order of the keys.
func rowsBy[T any](r *Reader, t *table, index string, prefix []byte, desc bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		get := r.txn.Get
		if desc {
			get = r.txn.GetReverse
		}
		it, err := get(t.name, index+"_prefix", prefix)
		must(err)
		for row := it.Next(); row != nil; row = it.Next() {
			if !yield(row.(T)) {
				return
			}
		}
	}
}

// from yields the rows whose primary key is at least k, or descending at most k.
func from[T any](r *Reader, t *table, k []byte, desc bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		seek := r.txn.LowerBound
		if desc {
			seek = r.txn.ReverseLowerBound
		}
		it, err := seek(t.name, byID, k)
		must(err)
		for row := it.Next(); row != nil; row = it.Next() {
			if !yield(row.(T)) {
				return
			}
		}
	}
}

// floor is the row with the greatest primary key up to k, the zero T if there is none.
func floor[T any](r *Reader, t *table, k []byte) (row T) {
	for row = range from[T](r, t, k, true) {
		break
	}
	return row
}

// Index is the index of the last log entry that the transaction holds completely.
func (r *Reader) Index() uint64 { return r.meta.Index }

// KeySecret is what requests are authenticated with under their keys. It is for nobody outside the masters.
func (r *Reader) KeySecret() []byte { return r.meta.KeySecret }

// TasksBefore is the cut-off of cleanup: tasks that ended before it no longer show.
func (r *Reader) TasksBefore() command.Time { return r.meta.TasksBefore }

// Time is the state's time: that of the latest command, never falling.
func (r *Reader) Time() command.Time { return r.meta.Time }

// ClusterID is the cluster's id, "" before its first command.
func (r *Reader) ClusterID() string { return r.meta.ClusterID }

// Level is the feature level, 0 before the cluster's first command.
func (r *Reader) Level() int { return r.meta.Level }

// Folder finds a folder by name, in any case.
func (r *Reader) Folder(name string) (*Folder, bool) {
	return find[Folder](r, tableFolders, byName, []byte(sqltype.Fold(name)))
}

// FolderByID finds a folder by its id.
func (r *Reader) FolderByID(id int64) (*Folder, bool) {
	return find[Folder](r, tableFolders, byID, key(id))
}

// Folders yields the folders by id.
func (r *Reader) Folders() iter.Seq[*Folder] {
	return rowsBy[*Folder](r, tableFolders, byID, nil, false)
}

// Project finds a project by its names, in any case.
func (r *Reader) Project(folder, project string) (*Project, bool) {
	f, ok := r.Folder(folder)
	if !ok {
		return nil, false
	}
	return find[Project](r, tableProjects, byName, append(key(f.ID), sqltype.Fold(project)...))
}

// ProjectByID finds a project by its id.
func (r *Reader) ProjectByID(id int64) (*Project, bool) {
	return find[Project](r, tableProjects, byID, key(id))
}

// Projects yields the projects by id.
func (r *Reader) Projects() iter.Seq[*Project] {
	return rowsBy[*Project](r, tableProjects, byID, nil, false)
}

// ProjectsIn yields a folder's projects by name.
func (r *Reader) ProjectsIn(folderID int64) iter.Seq[*Project] {
	return rowsBy[*Project](r, tableProjects, byName, key(folderID), false)
}

// Version finds a project version by its object_version_lsn.
func (r *Reader) Version(lsn int64) (*Version, bool) {
	return find[Version](r, tableVersions, byID, key(lsn))
}

// Versions yields a project's versions, newest first; those of a deleted project too, until cleanup.
func (r *Reader) Versions(projectID int64) iter.Seq[*Version] {
	return rowsBy[*Version](r, tableVersions, byProject, key(projectID), true)
}

// AllVersions yields every version by its object_version_lsn.
func (r *Reader) AllVersions() iter.Seq[*Version] {
	return rowsBy[*Version](r, tableVersions, byID, nil, false)
}

// Operation finds an operation that is not an execution.
func (r *Reader) Operation(id int64) (*Operation, bool) {
	return find[Operation](r, tableOperations, byID, key(id))
}

// Operations yields the operations that are not executions, by id.
func (r *Reader) Operations(desc bool) iter.Seq[*Operation] {
	return rowsBy[*Operation](r, tableOperations, byID, nil, desc)
}

// Worker finds a worker by its AgentId, in any case.
func (r *Reader) Worker(id string) (*Worker, bool) {
	return find[Worker](r, tableWorkers, byID, []byte(sqltype.Fold(id)))
}

// Workers yields the workers by id.
func (r *Reader) Workers() iter.Seq[*Worker] {
	return rowsBy[*Worker](r, tableWorkers, byID, nil, false)
}

// Master finds a master's row by its node id.
func (r *Reader) Master(id string) (*command.MasterBeat, bool) {
	return find[command.MasterBeat](r, tableMasters, byID, []byte(id))
}

// Masters yields the masters by node id.
func (r *Reader) Masters() iter.Seq[*command.MasterBeat] {
	return rowsBy[*command.MasterBeat](r, tableMasters, byID, nil, false)
}

// defaults are the catalog properties of a cluster in which nobody has set any, by name.
var defaults = []property{
	{"DEFAULT_EXECUTION_MODE", "1"},
	{"ENCRYPTION_ALGORITHM", "AES_256"},
	{"IS_SCALEOUT_ENABLED", "True"},
	{"MAX_PROJECT_VERSIONS", "10"},
	{"OPERATION_CLEANUP_ENABLED", "TRUE"},
	{"RETENTION_WINDOW", "365"},
	{"SCHEMA_BUILD", "1.0.0.0"},
	{"SCHEMA_VERSION", "1"},
	{"SERVER_LOGGING_LEVEL", "1"},
	{"SERVER_OPERATION_ENCRYPTION_LEVEL", "1"},
	{"VALIDATION_TIMEOUT", "300"},
	{"VERSION_CLEANUP_ENABLED", "TRUE"},
}

// Property is a catalog property as set, else its default. Names are upper case.
func (r *Reader) Property(name string) (string, bool) {
	if p, ok := find[property](r, tableProperties, byID, []byte(name)); ok {
		return p.Value, true
	}
	for _, p := range defaults {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Properties yields the catalog properties by name.
func (r *Reader) Properties() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := defaults
		for p := range rowsBy[*property](r, tableProperties, byID, nil, false) {
			for len(rest) > 0 && rest[0].Name < p.Name {
				if !yield(rest[0].Name, rest[0].Value) {
					return
				}
				rest = rest[1:]
			}
			if len(rest) > 0 && rest[0].Name == p.Name {
				rest = rest[1:]
			}
			if !yield(p.Name, p.Value) {
				return
			}
		}
		for _, p := range rest {
			if !yield(p.Name, p.Value) {
				return
			}
		}
	}
}

// Named reports whether a row names the blob: a project version or a message segment.
func (r *Reader) Named(digest string) bool {
	if _, ok := r.Segment(digest); ok {
		return true
	}
	for range rowsBy[*Version](r, tableVersions, byBlob, []byte(digest+"\x00"), false) {
		return true
	}
	return false
}

// Blobs yields every digest that a row names, each once: project files, then segments.
func (r *Reader) Blobs() iter.Seq[string] {
	return func(yield func(string) bool) {
		last := ""
		for v := range rowsBy[*Version](r, tableVersions, byBlob, nil, false) {
			if v.Blob != last && !yield(v.Blob) {
				return
			}
			last = v.Blob
		}
		for s := range r.Segments() {
			if !yield(s.Digest) {
				return
			}
		}
	}
}

// Answer is the state's answer to the first command with a request key, while the key lives. What the Reader shows
// holds what that command did. A key that has died since may be gone already.
func (r *Reader) Answer(caller command.Caller, key string) (KeyedAnswer, bool) {
	return r.state.keys.lookup(r.meta.KeyTime, r.meta.Index, caller, key)
}

// KeyedAnswer is what the state answered to the first command with a request key.
type KeyedAnswer struct {
	Request []byte         `cbor:"1,keyasint"` // HMAC of the request
	Result  command.Result `cbor:"2,keyasint"`
}

// Same reports whether the key came with that request.
func (a KeyedAnswer) Same(request []byte) bool { return bytes.Equal(a.Request, request) }

// Counts returns how many rows each table holds, by its name, and how many request keys are kept, as of the newest
// commit.
func (r *Reader) Counts() map[string]int { return r.state.Counts() }

// rows is how many rows a table has: to the goroutine that applies as its open transaction has left them, to others as
// of the last commit.
func (r *Reader) rows(t *table) int {
	if r.meta == &r.state.now {
		return r.state.counts[t.place]
	}
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	return r.state.shown[t.name]
}
