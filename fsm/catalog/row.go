package catalog

import (
	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Object types of catalog.operations, object_parameters and execution_parameter_values.
const (
	ObjectProject   = 20
	ObjectPackage   = 30
	ObjectExecution = 50
)

// Operation types of catalog.operations.
const (
	OperationDeployProject = 101
	OperationExecution     = 200
)

// Message and message source types of catalog.operation_messages that the master itself writes.
const (
	MessageStatusChange = 50
	MessageInformation  = 70
	MessageWarning      = 110
	MessageError        = 120

	SourceEntryAPI = 10
)

// Folder is a row of catalog.folders.
type Folder struct {
	ID          int64        `cbor:"1,keyasint"`
	Name        string       `cbor:"2,keyasint"`
	Description string       `cbor:"3,keyasint,omitempty"`
	CreatedBy   string       `cbor:"4,keyasint"`
	Created     command.Time `cbor:"5,keyasint"`
}

// Project is a row of catalog.projects; its packages and parameters are those of its current Version.
type Project struct {
	ID            int64        `cbor:"1,keyasint"`
	FolderID      int64        `cbor:"2,keyasint"`
	Name          string       `cbor:"3,keyasint"`
	Description   string       `cbor:"4,keyasint,omitempty"`
	FormatVersion int          `cbor:"5,keyasint"`
	DeployedBy    string       `cbor:"6,keyasint"`
	LastDeployed  command.Time `cbor:"7,keyasint"`
	Created       command.Time `cbor:"8,keyasint"`
	Version       int64        `cbor:"9,keyasint"` // object_version_lsn of the current version
}

// Version is one deployed version of a project with everything its manifest declares: one immutable row.
type Version struct {
	LSN       int64            `cbor:"1,keyasint"`
	ProjectID int64            `cbor:"2,keyasint"`
	Name      string           `cbor:"3,keyasint"` // the project's name
	CreatedBy string           `cbor:"4,keyasint"`
	Created   command.Time     `cbor:"5,keyasint"`
	Blob      string           `cbor:"6,keyasint"`
	Size      int64            `cbor:"7,keyasint"`
	Password  *command.Sealed  `cbor:"8,keyasint,omitempty"`
	Manifest  command.Manifest `cbor:"9,keyasint"`
	// PackageIDs and ParameterIDs number Manifest's packages and parameters: a package keeps its id while its name
	// stays in the project. FirstParameterID numbers the project's parameters, then each package's, in manifest order.
	PackageIDs       []int64 `cbor:"10,keyasint"`
	FirstParameterID int64   `cbor:"11,keyasint"`
	Orphan           bool    `cbor:"12,keyasint,omitempty"` // its project is deleted
}

// Worker is a worker's row.
type Worker struct {
	command.RegisterWorker
	Tags       string       `cbor:"41,keyasint,omitempty"`
	Enabled    bool         `cbor:"42,keyasint"`
	Registered command.Time `cbor:"43,keyasint"`
	LastOnline command.Time `cbor:"44,keyasint"`
	// NameSet and DescriptionSet: set_worker_agent_property gave the value, so registrations leave it alone.
	NameSet        bool `cbor:"45,keyasint,omitempty"`
	DescriptionSet bool `cbor:"46,keyasint,omitempty"`
	// EverEnabled: somebody has let it take tasks once. A worker that nobody ever did expires.
	EverEnabled bool `cbor:"47,keyasint,omitempty"`
	// MaxTaskCount is what counts: OwnTaskCount, which the worker asks for within the masters' limit, lowered to
	// TaskCountSet where set_worker_agent_property gave one.
	OwnTaskCount int `cbor:"48,keyasint,omitempty"`
	TaskCountSet int `cbor:"49,keyasint,omitempty"`
}

// BoundTo reports whether the worker is the one that a certificate of that name may speak for.
func (w *Worker) BoundTo(certName string) bool { return sqltype.EqualText(w.CertName, certName) }

// Execution is an execution, its operation and its task in one row.
type Execution struct {
	ID         int64  `cbor:"1,keyasint"`
	Status     Status `cbor:"2,keyasint"`
	Folder     string `cbor:"3,keyasint"`
	Project    string `cbor:"4,keyasint"`
	Package    string `cbor:"5,keyasint"`
	ProjectID  int64  `cbor:"6,keyasint"`
	PackageID  int64  `cbor:"7,keyasint"`
	Version    int64  `cbor:"8,keyasint"`
	Use32Bit   bool   `cbor:"9,keyasint,omitempty"`
	ServerMode bool   `cbor:"10,keyasint,omitempty"`
	AnyWorker  bool   `cbor:"11,keyasint"`
	// 12 is reserved for the environment reference.
	Server       string       `cbor:"13,keyasint,omitempty"`
	Caller       string       `cbor:"14,keyasint"`
	Created      command.Time `cbor:"15,keyasint"`
	Queued       command.Time `cbor:"16,keyasint,omitempty"` // start_execution
	Started      command.Time `cbor:"17,keyasint,omitempty"` // first grant
	Ended        command.Time `cbor:"18,keyasint,omitempty"`
	StoppedBy    string       `cbor:"19,keyasint,omitempty"`
	RetryCount   int          `cbor:"20,keyasint,omitempty"`
	RetryDelayMs int64        `cbor:"21,keyasint,omitempty"`
	NotBefore    command.Time `cbor:"22,keyasint,omitempty"` // a retry is not granted before (leader's queue clock)
	Workers      []string     `cbor:"23,keyasint,omitempty"` // allowed ones when AnyWorker is false
	Values       []SetValue   `cbor:"24,keyasint,omitempty"` // values set on this execution, sorted by (type, name)
	Attempts     []Attempt    `cbor:"25,keyasint,omitempty"` // granted ones, numbered from 1 by Number
	Notes        []Note       `cbor:"26,keyasint,omitempty"` // messages of the catalog itself
	Returned     int          `cbor:"27,keyasint,omitempty"` // grants handed back unused: they count in no limit of retries
	// QueueTimeoutMs bounds each wait for a worker, 0: not at all; QueueUntil is when the present one is over, in state
	// time.
	QueueTimeoutMs int64        `cbor:"40,keyasint,omitempty"`
	QueueUntil     command.Time `cbor:"41,keyasint,omitempty"`
	// Overdue: no worker was found in time. Waited is then the code of why it waited, "" when nobody knows.
	Overdue bool   `cbor:"42,keyasint,omitempty"`
	Waited  string `cbor:"43,keyasint,omitempty"`
}

// SetValue is a value set by set_execution_parameter_value.
type SetValue struct {
	ObjectType int           `cbor:"1,keyasint"`
	Name       string        `cbor:"2,keyasint"`
	Value      command.Value `cbor:"3,keyasint"`
}

// Attempt is one grant of a task.
type Attempt struct {
	Number        int             `cbor:"1,keyasint"`
	Worker        string          `cbor:"2,keyasint"`
	Incarnation   string          `cbor:"3,keyasint"`
	Machine       string          `cbor:"4,keyasint,omitempty"`
	Granted       command.Time    `cbor:"5,keyasint"`
	GiveUpAfterMs int64           `cbor:"6,keyasint"`
	Ended         command.Time    `cbor:"7,keyasint,omitempty"`
	Outcome       command.Outcome `cbor:"8,keyasint,omitempty"` // "" while held; "lost" when expired
	ExitCode      int             `cbor:"9,keyasint,omitempty"`
	Message       string          `cbor:"10,keyasint,omitempty"`
	SilentSince   command.Time    `cbor:"11,keyasint,omitempty"`
	NextSeq       int64           `cbor:"12,keyasint,omitempty"` // next message sequence number that the state takes; the first is 1
	HandedBack    bool            `cbor:"13,keyasint,omitempty"` // failed since it was the last of too many that were handed back
	Messages      int64           `cbor:"14,keyasint,omitempty"` // how many there are in all, by the worker's report
	Code          string          `cbor:"16,keyasint,omitempty"` // what ended it, when that was a bound of the execution: RunTimeout
	EndNote       int64           `cbor:"15,keyasint,omitempty"` // the note on how it ended waits for the messages before it; its id if they never come
	MessageBytes  int64           `cbor:"17,keyasint,omitempty"` // of the texts of the messages that the state took
}

// Lost is the outcome of an attempt whose lease ran out.
const Lost command.Outcome = "lost"

// WasGiven reports whether a worker was ever given an attempt.
func (x *Execution) WasGiven(attempt int, worker string) bool {
	a := x.attempt(attempt)
	return a != nil && sqltype.EqualText(a.Worker, worker)
}

// Held reports whether a worker holds the attempt.
func (a *Attempt) Held() bool { return a.Outcome == "" }

// Missing is how many messages of a reported attempt have not come in yet.
func (a *Attempt) Missing() int64 { return max(a.Messages-(a.NextSeq-1), 0) }

// Note is a message that the catalog itself wrote about an operation.
type Note struct {
	Time       command.Time `cbor:"1,keyasint"`
	Type       int          `cbor:"2,keyasint"`
	SourceType int          `cbor:"3,keyasint"`
	Code       string       `cbor:"4,keyasint"` // package registry has the sentence
	Args       []string     `cbor:"6,keyasint,omitempty"`
	ID         int64        `cbor:"5,keyasint"` // operation_message_id: notes and message runs share one number space
}

// Operation is a row of catalog.operations that is not an execution.
type Operation struct {
	ID         int64        `cbor:"1,keyasint"`
	Type       int          `cbor:"2,keyasint"`
	ObjectType int          `cbor:"3,keyasint"`
	ObjectID   int64        `cbor:"4,keyasint"`
	ObjectName string       `cbor:"5,keyasint,omitempty"`
	Status     Status       `cbor:"6,keyasint"`
	Created    command.Time `cbor:"7,keyasint"`
	Ended      command.Time `cbor:"8,keyasint,omitempty"`
	Caller     string       `cbor:"9,keyasint"`
	Notes      []Note       `cbor:"10,keyasint,omitempty"`
}

// MessageRun says where a run of messages of one attempt lies: a part of a segment.
type MessageRun struct {
	OperationID int64  `cbor:"1,keyasint"`
	Run         int64  `cbor:"2,keyasint"` // order within the operation
	Attempt     int    `cbor:"3,keyasint"`
	Segment     string `cbor:"4,keyasint"`
	Part        int    `cbor:"5,keyasint"`
	FirstID     int64  `cbor:"6,keyasint"`           // operation_message_id of its first message
	Count       int    `cbor:"7,keyasint"`           // messages of the run, those of Skip not counted
	Skip        int    `cbor:"8,keyasint,omitempty"` // messages at the start of the part that the state had already
}

// Segment is a message segment that some run lies in.
type Segment struct {
	Digest string `cbor:"1,keyasint"`
	Size   int64  `cbor:"2,keyasint"`
	Runs   int    `cbor:"3,keyasint"` // runs that still name it; at 0 the row goes
	Num    int64  `cbor:"4,keyasint"` // stands for the digest in runs
	Refs   []byte `cbor:"5,keyasint"` // which run lies in which part: see segmentRefs
}
