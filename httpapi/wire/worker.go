package wire

import "time"

// AttemptRef names one attempt of a task.
type AttemptRef struct {
	TaskID  int64 `json:"task_id"`
	Attempt int   `json:"attempt"`
}

// Outcomes of an attempt in a worker's report.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	OutcomeCanceled  = "canceled"
	OutcomeReturned  = "returned" // the worker could not start it: the attempt does not count, unless too many in a row were
)

// EndedRunTimeout is the code of an attempt that ran longer than its execution's RUN_TIMEOUT.
const EndedRunTimeout = "run_timeout"

// Ended is a worker's final report on one attempt. Messages is how many messages of it there are in all, sent or not:
// the readers of them can tell whether they have all.
type Ended struct {
	TaskID   int64  `json:"task_id"`
	Attempt  int    `json:"attempt"`
	Outcome  string `json:"outcome"`
	ExitCode int    `json:"exit_code"`
	Message  string `json:"message,omitempty"`
	Messages int64  `json:"messages,omitempty"`
	Code     string `json:"code,omitempty"` // run_timeout: a bound of the execution ended it
}

// Register is what a worker says when it starts.
type Register struct {
	AgentID          string       `json:"agent_id"`
	Instance         string       `json:"instance"`
	MachineID        string       `json:"machine_id"`
	BootID           string       `json:"boot_id"`
	Version          string       `json:"version"`
	MachineName      string       `json:"machine_name"`
	UserAccount      string       `json:"user_account"`
	DisplayName      string       `json:"display_name"`
	Description      string       `json:"description"`
	MaxTaskCount     int          `json:"max_task_count"`
	LeaseMs          int64        `json:"lease_ms"`
	TaskHeartbeatMs  int64        `json:"task_heartbeat_ms"`
	AgentHeartbeatMs int64        `json:"agent_heartbeat_ms"`
	ErrorToleranceMs int64        `json:"error_tolerance_ms"`
	Extensions       []string     `json:"extensions"`
	Bitness          []int        `json:"bitness"`
	Running          []AttemptRef `json:"running"`
	Ended            []Ended      `json:"ended"`
}

// Adopted is a running attempt that now belongs to the registering instance. GiveUpAfterMs counts from the sending of
// the registration.
type Adopted struct {
	TaskID        int64 `json:"task_id"`
	Attempt       int   `json:"attempt"`
	GiveUpAfterMs int64 `json:"give_up_after_ms"`
}

// RegisterAnswer tells a worker where the masters are and what became of what it brought.
type RegisterAnswer struct {
	Enabled bool         `json:"enabled"`
	Masters []string     `json:"masters"`
	Adopted []Adopted    `json:"adopted"`
	Settled []AttemptRef `json:"settled"`
	Fenced  []AttemptRef `json:"fenced"`
}

// Exchange is one poll of a worker: everything that it holds, what ended, and how much it can take.
type Exchange struct {
	Instance string       `json:"instance"`
	Sequence uint64       `json:"sequence"`
	WaitMs   int64        `json:"wait_ms"`
	Slots    int          `json:"slots"` // the most attempts it will hold now, running ones included; 0 while draining
	Running  []AttemptRef `json:"running"`
	Ended    []Ended      `json:"ended"`
}

// ExchangeAnswer is what a worker shall do. Durations count from the sending of the exchange.
type ExchangeAnswer struct {
	Grants  []Grant      `json:"grants"`
	Stop    []AttemptRef `json:"stop"`
	Renewed []AttemptRef `json:"renewed"`
	Settled []AttemptRef `json:"settled"`
	Fenced  []AttemptRef `json:"fenced"`
	Masters []string     `json:"masters"`
	Enabled bool         `json:"enabled"`
}

// Grant is one attempt handed to a worker. It carries opened secrets: it is never logged.
type Grant struct {
	TaskID          int64       `json:"task_id"`
	Attempt         int         `json:"attempt"`
	ExecutionID     int64       `json:"execution_id"`
	Folder          string      `json:"folder"`
	Project         string      `json:"project"`
	Package         string      `json:"package"`
	ProjectID       int64       `json:"project_id"`
	VersionLSN      int64       `json:"object_version_lsn"`
	ProjectBlob     string      `json:"project_blob"` // SHA-256, lower-case hex
	Parameters      []Parameter `json:"parameters"`
	Options         []Parameter `json:"options"` // server options, object type 50
	Use32Bit        bool        `json:"use32bit"`
	ProjectPassword string      `json:"project_password,omitempty"`
	GiveUpAfterMs   int64       `json:"give_up_after_ms"`
}

// String keeps secrets out of logs and errors, whatever prints a grant.
func (g Grant) String() string { return "grant of " + g.Package }

// Parameter is one value for a package. Type is the SSISDB data type name and Value its canonical text form.
type Parameter struct {
	ObjectType int    `json:"object_type"` // 20 project, 30 package, 50 server option
	Name       string `json:"name"`
	Type       string `json:"type"`
	Value      string `json:"value"`
	Sensitive  bool   `json:"sensitive"`
}

// Messages are a worker's messages, in order per attempt.
type Messages struct {
	Instance string         `json:"instance"`
	Items    []MessagesItem `json:"items"`
}

// MessagesItem is one run of messages of one attempt; FirstSeq numbers the first of them.
type MessagesItem struct {
	TaskID   int64     `json:"task_id"`
	Attempt  int       `json:"attempt"`
	FirstSeq int64     `json:"first_seq"`
	Messages []Message `json:"messages"`
}

// Message is one message of a package.
type Message struct {
	Time       time.Time `json:"time"`
	Type       int       `json:"type"`
	SourceType int       `json:"source_type"`
	Text       string    `json:"text"`
}

// MessagesAnswer says, per item, which sequence number the state takes next.
type MessagesAnswer struct {
	Accepted []Accepted `json:"accepted"`
}

// Accepted is the answer to one MessagesItem.
type Accepted struct {
	TaskID  int64 `json:"task_id"`
	Attempt int   `json:"attempt"`
	NextSeq int64 `json:"next_seq"`
}
