package wire

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// AttemptRef names one attempt of a task.
type AttemptRef struct {
	TaskID  int64 `json:"task_id"`
	Attempt int   `json:"attempt"`
}

// The outcomes of an attempt in a worker's report.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	OutcomeCanceled  = "canceled"
	// OutcomeReturned: the worker could not start the attempt. It does not count, unless too many in a row were returned.
	OutcomeReturned = "returned"
)

// EndedRunTimeout is the code of an attempt that was ended because it ran longer than its execution's RUN_TIMEOUT.
const EndedRunTimeout = "run_timeout"

// Ended is a worker's final report on one attempt. Messages is how many messages the attempt has in all, including
// those that are not sent yet, so that a reader of the messages knows whether it has all of them.
type Ended struct {
	TaskID   int64  `json:"task_id"`
	Attempt  int    `json:"attempt"`
	Outcome  string `json:"outcome"`
	ExitCode int    `json:"exit_code"`
	Message  string `json:"message,omitempty"`
	Messages int64  `json:"messages,omitempty"`
	Code     string `json:"code,omitempty"` // run_timeout, if that ended the attempt
}

// Register is a worker's registration, which it sends when it starts. Incarnation identifies the worker's process. Its
// field in JSON is called instance, everything else calls it incarnation.
type Register struct {
	AgentID          string       `json:"agent_id"`
	Incarnation      string       `json:"instance"`
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

// Adopted is a running attempt that now belongs to the registering process. GiveUpAfterMs counts from when the
// registration was sent.
type Adopted struct {
	TaskID        int64 `json:"task_id"`
	Attempt       int   `json:"attempt"`
	GiveUpAfterMs int64 `json:"give_up_after_ms"`
}

// RegisterAnswer tells a worker the masters' addresses and what became of the attempts and reports in its registration.
type RegisterAnswer struct {
	Enabled bool         `json:"enabled"`
	Masters []string     `json:"masters"`
	Adopted []Adopted    `json:"adopted"`
	Settled []AttemptRef `json:"settled"`
	Fenced  []AttemptRef `json:"fenced"`
}

// Exchange is one poll of a worker: the attempts that it holds, the reports of those that ended, and how many it can
// hold.
type Exchange struct {
	Incarnation string       `json:"instance"` // see Register
	Sequence    uint64       `json:"sequence"`
	WaitMs      int64        `json:"wait_ms"` // how long the master may hold the poll
	Slots       int          `json:"slots"`   // the most attempts that it will hold, including the running ones
	Running     []AttemptRef `json:"running"`
	Ended       []Ended      `json:"ended"`
}

// ExchangeAnswer tells a worker what to do. Durations count from when the exchange was sent.
type ExchangeAnswer struct {
	Grants  []Grant      `json:"grants"`
	Stop    []AttemptRef `json:"stop"`
	Renewed []AttemptRef `json:"renewed"`
	Settled []AttemptRef `json:"settled"`
	Fenced  []AttemptRef `json:"fenced"`
	Masters []string     `json:"masters"`
	Enabled bool         `json:"enabled"`
}

// Grant is one attempt that a worker gets. It contains decrypted secrets and must never be logged.
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

// String keeps the secrets out of logs and errors that print a grant.
func (g Grant) String() string { return "grant of " + g.Package }

// Format keeps them out of whatever verb prints a grant.
func (g Grant) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, g.String()) }

// LogValue keeps them out of logs in JSON.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// Parameter is one value for a package. Type is the name of the SSISDB data type, and Value the value's canonical text.
type Parameter struct {
	ObjectType int    `json:"object_type"` // 20 project, 30 package, 50 server option
	Name       string `json:"name"`
	Type       string `json:"type"`
	Value      string `json:"value"`
	Sensitive  bool   `json:"sensitive"`
}

// Messages is a request with messages of a worker, which are in order for each attempt.
type Messages struct {
	Incarnation string         `json:"instance"` // see Register
	Items       []MessagesItem `json:"items"`
}

// MessagesItem is consecutive messages of one attempt. FirstSeq is the number of the first one.
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

// MessagesAnswer says for each item which number the state takes next.
type MessagesAnswer struct {
	Accepted []Accepted `json:"accepted"`
}

// Accepted is the answer to one MessagesItem.
type Accepted struct {
	TaskID  int64 `json:"task_id"`
	Attempt int   `json:"attempt"`
	NextSeq int64 `json:"next_seq"`
}
