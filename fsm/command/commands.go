package command

// Noop changes nothing but the state's time; an idle leader writes one a second so that a stalled disk is seen.
type Noop struct{}

// InitCluster is the first command of a new cluster: it fixes the cluster id and the feature level. Later ones are
// rejected with "already_initialized".
type InitCluster struct {
	ClusterID string `cbor:"1,keyasint"`
	Level     int    `cbor:"2,keyasint"`
	KeySecret []byte `cbor:"3,keyasint,omitempty"` // random: what requests are authenticated with under their keys
}

// RaiseLevel raises the feature level; a lower or equal one changes nothing.
type RaiseLevel struct {
	Level int `cbor:"1,keyasint"`
}

// Beat is the leader's heartbeat: the rows of the masters and the last contact of the workers, in one batch.
type Beat struct {
	Masters []MasterBeat `cbor:"1,keyasint,omitempty"`
	Workers []WorkerBeat `cbor:"2,keyasint,omitempty"`
	Gone    []string     `cbor:"3,keyasint,omitempty"` // ids of masters that left the configuration: their rows go
}

// MasterBeat is one master's row as the leader knows it.
type MasterBeat struct {
	ID         string `cbor:"1,keyasint"`
	Name       string `cbor:"2,keyasint"`
	Address    string `cbor:"3,keyasint"` // "https://host:port"
	Machine    string `cbor:"4,keyasint"`
	IP         string `cbor:"5,keyasint"`
	Port       int    `cbor:"6,keyasint"`
	Thumbprint string `cbor:"7,keyasint"`
	Version    string `cbor:"8,keyasint"`
	Level      int    `cbor:"9,keyasint"`
	Instance   string `cbor:"10,keyasint"` // InstanceName setting, shown as CLUSTER_LOGDB_SERVER
	Leader     bool   `cbor:"11,keyasint,omitempty"`
	LastOnline Time   `cbor:"12,keyasint"`
}

// WorkerBeat carries one worker's last contact.
type WorkerBeat struct {
	ID         string `cbor:"1,keyasint"`
	LastOnline Time   `cbor:"2,keyasint"`
}

// CreateFolder makes a folder; Result.Value is its id.
type CreateFolder struct {
	Name        string `cbor:"1,keyasint"`
	Description string `cbor:"2,keyasint,omitempty"`
}

// DeleteFolder deletes an empty folder.
type DeleteFolder struct {
	Name string `cbor:"1,keyasint"`
}

// RenameFolder gives a folder another name.
type RenameFolder struct {
	Old string `cbor:"1,keyasint"`
	New string `cbor:"2,keyasint"`
}

// SetFolderDescription describes a folder; "" takes the description away.
type SetFolderDescription struct {
	Folder      string `cbor:"1,keyasint"`
	Description string `cbor:"2,keyasint,omitempty"`
}

// DeployProject makes a new version of a project; Result.Value is the operation id. The blob has been stored by a
// majority before the command is proposed.
type DeployProject struct {
	Folder   string    `cbor:"1,keyasint"`
	Project  string    `cbor:"2,keyasint"`
	Blob     string    `cbor:"3,keyasint"` // SHA-256, lower-case hex
	Size     int64     `cbor:"4,keyasint"`
	Manifest []byte    `cbor:"5,keyasint"` // zstd of the CBOR of a Manifest
	Password *Sealed   `cbor:"6,keyasint,omitempty"`
	Warnings []Warning `cbor:"7,keyasint,omitempty"` // become operation messages of type Warning
}

// Warning is what was noticed about a project file: the code of a note and its arguments.
type Warning struct {
	Code string   `cbor:"1,keyasint"`
	Args []string `cbor:"2,keyasint,omitempty"`
}

// Manifest is what the catalog keeps of a project file.
type Manifest struct {
	ID              string      `cbor:"1,keyasint"`
	Description     string      `cbor:"2,keyasint,omitempty"`
	FormatVersion   int         `cbor:"3,keyasint"`
	ProtectionLevel int         `cbor:"4,keyasint"`
	VersionMajor    int         `cbor:"5,keyasint"`
	VersionMinor    int         `cbor:"6,keyasint"`
	VersionBuild    int         `cbor:"7,keyasint"`
	VersionComments string      `cbor:"8,keyasint,omitempty"`
	Parameters      []Parameter `cbor:"9,keyasint,omitempty"` // of the project, declared ones first, then CM.
	Packages        []Package   `cbor:"10,keyasint,omitempty"`
}

// Package is one package of a manifest.
type Package struct {
	Name            string      `cbor:"1,keyasint"`
	GUID            string      `cbor:"2,keyasint,omitempty"`
	VersionGUID     string      `cbor:"3,keyasint,omitempty"`
	Description     string      `cbor:"4,keyasint,omitempty"`
	FormatVersion   int         `cbor:"5,keyasint"`
	VersionMajor    int         `cbor:"6,keyasint"`
	VersionMinor    int         `cbor:"7,keyasint"`
	VersionBuild    int         `cbor:"8,keyasint"`
	VersionComments string      `cbor:"9,keyasint,omitempty"`
	EntryPoint      bool        `cbor:"10,keyasint"`
	Parameters      []Parameter `cbor:"11,keyasint,omitempty"`
}

// Parameter is one declared parameter of a project or package; Default is its design default, nil when none was saved.
type Parameter struct {
	Name        string `cbor:"1,keyasint"`
	Description string `cbor:"2,keyasint,omitempty"`
	Type        string `cbor:"3,keyasint"`
	Required    bool   `cbor:"4,keyasint,omitempty"`
	Sensitive   bool   `cbor:"5,keyasint,omitempty"`
	Default     *Value `cbor:"6,keyasint,omitempty"`
}

// DeleteProject deletes a project; its versions stay until cleanup.
type DeleteProject struct {
	Folder  string `cbor:"1,keyasint"`
	Project string `cbor:"2,keyasint"`
}

// CreateExecution makes an execution of the project's current version; Result.Value is the execution id.
type CreateExecution struct {
	Folder      string `cbor:"1,keyasint"`
	Project     string `cbor:"2,keyasint"`
	Package     string `cbor:"3,keyasint"`
	Use32Bit    bool   `cbor:"5,keyasint,omitempty"`
	ServerMode  bool   `cbor:"6,keyasint,omitempty"` // @runinscaleout = 0: an any-worker execution with a Warning
	AnyWorker   bool   `cbor:"7,keyasint"`
	ReferenceID *int64 `cbor:"8,keyasint,omitempty"`
	Server      string `cbor:"9,keyasint,omitempty"` // server_name
	// MostNotStarted is how many executions of the caller may wait that no worker was given yet, by the leader's
	// settings; 0 means no limit.
	MostNotStarted int `cbor:"10,keyasint,omitempty"`
}

// SetExecutionParameter sets a parameter (object type 20 or 30) or a server option (50) of an execution not yet
// started.
type SetExecutionParameter struct {
	ExecutionID int64  `cbor:"1,keyasint"`
	ObjectType  int    `cbor:"2,keyasint"`
	Name        string `cbor:"3,keyasint"`
	Value       Value  `cbor:"4,keyasint"`
}

// AddExecutionWorker allows a worker for an execution with AnyWorker false.
type AddExecutionWorker struct {
	ExecutionID int64  `cbor:"1,keyasint"`
	Worker      string `cbor:"2,keyasint"`
}

// StartExecution makes a created execution pending.
type StartExecution struct {
	ExecutionID  int64 `cbor:"1,keyasint"`
	RetryCount   int   `cbor:"2,keyasint,omitempty"`
	RetryDelayMs int64 `cbor:"3,keyasint"` // of the leader that accepted it; a retry waits RetryDelayMs × attempt
}

// StopOperation stops an execution.
type StopOperation struct {
	OperationID int64 `cbor:"1,keyasint"`
}

// EnableScaleout succeeds and changes nothing: there is no other mode.
type EnableScaleout struct{}

// AppendMessages names the parts of one message segment, one per (task, attempt). Item results carry the next_seq
// that the state now expects; a part that starts after it is rejected with "gap".
type AppendMessages struct {
	Segment string        `cbor:"1,keyasint"` // SHA-256
	Size    int64         `cbor:"2,keyasint"`
	Parts   []MessagePart `cbor:"3,keyasint"`
}

// MessagePart is one run of messages of one attempt inside a segment.
type MessagePart struct {
	TaskID   int64  `cbor:"1,keyasint"`
	Attempt  int    `cbor:"2,keyasint"`
	Worker   string `cbor:"3,keyasint"` // AgentId: messages of an ended attempt are taken from the worker that held it
	FirstSeq int64  `cbor:"4,keyasint"`
	Count    int    `cbor:"5,keyasint"`
	Part     int    `cbor:"6,keyasint"`           // position of the part in the segment
	Bytes    int64  `cbor:"7,keyasint,omitempty"` // of the messages' texts
}

// MergeSegments replaces small segments by one that holds their parts in the given order.
type MergeSegments struct {
	Segment string   `cbor:"1,keyasint"`
	Size    int64    `cbor:"2,keyasint"`
	Sources []string `cbor:"3,keyasint"`
	// Moves says, per part of the new segment, which part of which source it is.
	Moves []SegmentMove `cbor:"4,keyasint"`
}

// SegmentMove is one part's old place; its new place is its position in the list.
type SegmentMove struct {
	Source int `cbor:"1,keyasint"` // index into Sources
	Part   int `cbor:"2,keyasint"`
}

// Cleanup removes a bounded batch of what is old. What is removed is decided by Cutoff alone, never by state time.
type Cleanup struct {
	EndedTasks  Time `cbor:"1,keyasint,omitempty"` // tasks that ended before it become history without task detail
	Operations  Time `cbor:"2,keyasint,omitempty"` // operations (executions too) that ended before it go, with their messages
	MaxVersions int  `cbor:"3,keyasint,omitempty"` // project versions beyond the newest so many, unless an execution pins them
	// NeverEnabled: workers that were never enabled and that no master has heard from since then go.
	NeverEnabled Time `cbor:"5,keyasint,omitempty"`
	Limit        int  `cbor:"4,keyasint"` // at most so many rows; Result.Value tells how many went
}
