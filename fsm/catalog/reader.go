package catalog

import (
	"iter"

	"scaleout/fsm/command"
)

// Reader is one read transaction over the state: cheap to make, safe for concurrent use, never changed by later
// commands. Rows that it returns are immutable and must not be written to.
type Reader struct{}

// KeyedAnswer is what the state answered to the first command with a request key.
type KeyedAnswer struct {
	Request []byte // HMAC of the request
	Result  command.Result
}

func none[T any](func(T) bool) {}

// Index is the index of the last log entry that the transaction holds completely.
func (r *Reader) Index() uint64      { return 0 }
func (r *Reader) Time() command.Time { return 0 }
func (r *Reader) ClusterID() string  { return "" }
func (r *Reader) Level() int         { return 0 }

func (r *Reader) Folder(name string) (*Folder, bool)              { return nil, false }
func (r *Reader) FolderByID(id int64) (*Folder, bool)             { return nil, false }
func (r *Reader) Folders() iter.Seq[*Folder]                      { return none }
func (r *Reader) Project(folder, project string) (*Project, bool) { return nil, false }
func (r *Reader) ProjectByID(id int64) (*Project, bool)           { return nil, false }
func (r *Reader) Projects() iter.Seq[*Project]                    { return none }
func (r *Reader) ProjectsIn(folderID int64) iter.Seq[*Project]    { return none }
func (r *Reader) Version(lsn int64) (*Version, bool)              { return nil, false }

// Versions yields a project's versions, newest first.
func (r *Reader) Versions(projectID int64) iter.Seq[*Version] { return none }
func (r *Reader) AllVersions() iter.Seq[*Version]             { return none }

func (r *Reader) Execution(id int64) (*Execution, bool)                        { return nil, false }
func (r *Reader) Executions(desc bool) iter.Seq[*Execution]                    { return none }
func (r *Reader) ExecutionsFrom(id int64, desc bool) iter.Seq[*Execution]      { return none }
func (r *Reader) ExecutionsOf(projectID int64, desc bool) iter.Seq[*Execution] { return none }
func (r *Reader) Unsuccessful(desc bool) iter.Seq[*Execution]                  { return none }
func (r *Reader) Live() iter.Seq[*Execution]                                   { return none }
func (r *Reader) InStatus(s Status) iter.Seq[*Execution]                       { return none }
func (r *Reader) HeldBy(worker string) iter.Seq[*Execution]                    { return none }

// Tasks yields the executions whose task still shows: the live ones and those that ended, until cleanup takes them.
func (r *Reader) Tasks() iter.Seq[*Execution] { return none }

func (r *Reader) Operation(id int64) (*Operation, bool)     { return nil, false }
func (r *Reader) Operations(desc bool) iter.Seq[*Operation] { return none }

func (r *Reader) Worker(id string) (*Worker, bool)             { return nil, false }
func (r *Reader) WorkerByName(name string) (*Worker, bool)     { return nil, false }
func (r *Reader) Workers() iter.Seq[*Worker]                   { return none }
func (r *Reader) Master(id string) (*command.MasterBeat, bool) { return nil, false }
func (r *Reader) Masters() iter.Seq[*command.MasterBeat]       { return none }

func (r *Reader) Property(name string) (string, bool)   { return "", false }
func (r *Reader) Properties() iter.Seq2[string, string] { return func(func(string, string) bool) {} }

func (r *Reader) Runs(operationID int64) iter.Seq[*MessageRun]    { return none }
func (r *Reader) Segment(digest string) (*Segment, bool)          { return nil, false }
func (r *Reader) Segments() iter.Seq[*Segment]                    { return none }
func (r *Reader) SegmentRuns(digest string) iter.Seq[*MessageRun] { return none }
func (r *Reader) Named(digest string) bool                        { return false }
func (r *Reader) Blobs() iter.Seq[string]                         { return none }

func (r *Reader) Answer(caller command.Caller, key string) (KeyedAnswer, bool) {
	return KeyedAnswer{}, false
}
func (r *Reader) Counts() map[string]int { return nil }
