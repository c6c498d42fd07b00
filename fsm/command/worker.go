package command

import "time"

// AttemptRef names one attempt of a task. A task has the id of its execution: an execution has one task.
type AttemptRef struct {
	TaskID  int64 `cbor:"1,keyasint" json:"task_id"`
	Attempt int   `cbor:"2,keyasint" json:"attempt"`
}

// Outcome is how an attempt ended, in the worker's words.
type Outcome string

// The outcomes that a worker reports.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Canceled  Outcome = "canceled"
	// the worker could not start it: the attempt does not count, unless too many in a row were
	Returned Outcome = "returned"
)

// Report is a worker's final word on one attempt. Messages is how many messages of it there are in all, taken or not.
type Report struct {
	AttemptRef
	Outcome  Outcome `cbor:"3,keyasint"`
	ExitCode int     `cbor:"4,keyasint,omitempty"`
	Message  string  `cbor:"5,keyasint,omitempty"`
	Messages int64   `cbor:"6,keyasint,omitempty"`
	Code     string  `cbor:"7,keyasint,omitempty"` // what ended it, when that was a bound of the execution: run_timeout
}

// RegisterWorker creates or updates a worker's row. It releases nothing by itself: ended attempts are settled at once,
// running ones go to the new incarnation (the worker's process). Items answer Ended then Running, in order: "" settled
// or adopted, "fenced" else.
type RegisterWorker struct {
	ID               string       `cbor:"1,keyasint"` // AgentId, upper-case GUID
	CertName         string       `cbor:"2,keyasint"` // name in the worker's certificate; bound at the first registration
	Incarnation      string       `cbor:"3,keyasint"` // of the worker: its process
	MachineID        string       `cbor:"4,keyasint"`
	BootID           string       `cbor:"5,keyasint"`
	Version          string       `cbor:"6,keyasint"`
	MachineName      string       `cbor:"7,keyasint"`
	UserAccount      string       `cbor:"8,keyasint"`
	DisplayName      string       `cbor:"9,keyasint,omitempty"`
	Description      string       `cbor:"10,keyasint,omitempty"`
	MaxTaskCount     int          `cbor:"11,keyasint"`
	LeaseMs          int64        `cbor:"12,keyasint"`
	TaskHeartbeatMs  int64        `cbor:"13,keyasint"`
	AgentHeartbeatMs int64        `cbor:"14,keyasint"`
	ToleranceMs      int64        `cbor:"15,keyasint"`
	Extensions       []string     `cbor:"16,keyasint,omitempty"`
	Bitness          []int        `cbor:"17,keyasint,omitempty"`
	Running          []AttemptRef `cbor:"18,keyasint,omitempty"`
	Ended            []Report     `cbor:"19,keyasint,omitempty"`
	// TakeOver names the machine whose leases the leader saw run out, so that a clone may take the id over; "" means the
	// same machine as before (or the first). Another machine id without it is rejected with "agent_id_in_use" while
	// state gives the old one attempts.
	TakeOver string `cbor:"20,keyasint,omitempty"`
	// The limits of the leader's settings, which may differ from another master's; 0 means none. MostAgentIDs is of one
	// certificate name, MostNeverEnabled of all workers that were never enabled; TaskCountLimit bounds MaxTaskCount.
	MostAgentIDs     int `cbor:"21,keyasint,omitempty"`
	MostNeverEnabled int `cbor:"22,keyasint,omitempty"`
	TaskCountLimit   int `cbor:"23,keyasint,omitempty"`
}

// EnableWorker enables or disables a worker.
type EnableWorker struct {
	ID      string `cbor:"1,keyasint"`
	Enabled bool   `cbor:"2,keyasint"`
}

// SetWorkerProperty sets DisplayName, Description, Tags or MaxTaskCount (a number that lowers the worker's own; "0":
// none).
type SetWorkerProperty struct {
	ID    string `cbor:"1,keyasint"`
	Name  string `cbor:"2,keyasint"`
	Value string `cbor:"3,keyasint"`
}

// DeleteWorker forgets a worker that holds no attempt.
type DeleteWorker struct {
	ID string `cbor:"1,keyasint"`
}

// Exchange is what one worker's poll changes: reports, then grants. Items answer Ended then Grants, in order.
type Exchange struct {
	Worker      string       `cbor:"1,keyasint"`
	Incarnation string       `cbor:"2,keyasint"`
	Ended       []Report     `cbor:"3,keyasint,omitempty"`
	Grants      []GrantOrder `cbor:"4,keyasint,omitempty"`
}

// GrantOrder gives the next attempt of a pending task to the exchange's worker: a compare-and-set on the attempt
// number.
type GrantOrder struct {
	AttemptRef
	GiveUpAfterMs int64 `cbor:"3,keyasint"` // lease for an attempt that may be followed by another, else the error tolerance
}

// Expire declares attempts lost whose leases ran out: a compare-and-set on (task, attempt, incarnation).
type Expire struct {
	Items []Expiry `cbor:"1,keyasint"`
}

// Expiry is one lost attempt. SilentSince is when the leader last heard of it, 0 when unknown.
type Expiry struct {
	AttemptRef
	Worker      string `cbor:"3,keyasint"`
	Incarnation string `cbor:"4,keyasint"`
	SilentSince Time   `cbor:"5,keyasint,omitempty"`
}

// FailQueued ends executions for which no worker was found in time: a compare-and-set on (task, attempt, until).
type FailQueued struct {
	Items []Overdue `cbor:"1,keyasint"`
}

// Overdue is a task that waited too long: Attempt is the one that would have been next, Until when its time was over,
// and Reason the code of why it waited, "" when nobody knows.
type Overdue struct {
	AttemptRef
	Until  Time   `cbor:"3,keyasint"`
	Reason string `cbor:"4,keyasint,omitempty"`
}

// Grant is a task as it is handed to a worker. Secrets in it are still sealed; the exchange's handler opens them.
type Grant struct {
	AttemptRef
	ExecutionID     int64
	Folder          string
	Project         string
	Package         string
	ProjectID       int64
	VersionLSN      int64
	ProjectBlob     string
	Parameters      []GrantParameter
	Options         []GrantParameter // object type 50
	Use32Bit        bool
	ProjectPassword *Sealed
	GiveUpAfter     time.Duration // counts from the sending of the exchange
}

// GrantParameter is one parameter of a grant.
type GrantParameter struct {
	ObjectType int // 20 project, 30 package, 50 server option
	Name       string
	Sensitive  bool
	Value      Value
}

// Poll is one exchange as a worker sends it.
type Poll struct {
	Worker      string
	CertName    string // name in the caller's certificate: must be the one bound to the worker
	Incarnation string
	Sequence    uint64
	Wait        time.Duration
	Slots       int // the most attempts it will hold now, running ones included; 0 while draining
	Running     []AttemptRef
	Ended       []Report
	Received    time.Time // when the leader received it (monotonic)
}

// Answer is the leader's answer to a Poll.
type Answer struct {
	Grants  []Grant
	Stop    []AttemptRef
	Renewed []AttemptRef
	Settled []AttemptRef
	Fenced  []AttemptRef
	Enabled bool
}

// Registration is the answer to a worker that registers.
type Registration struct {
	Enabled bool
	Adopted []Adopted
	Settled []AttemptRef
	Fenced  []AttemptRef
}

// Adopted is a running attempt that goes on under the worker's new process; GiveUpAfter counts from the sending of the
// call.
type Adopted struct {
	AttemptRef
	GiveUpAfter time.Duration
}

// Accepted answers one run of messages of an attempt. NextSeq is the number that the state wants next. Code is "" if
// the messages are in the state, or the code of a rejection: "gap" if the run starts after NextSeq, "fenced" if the
// worker never held the attempt.
type Accepted struct {
	AttemptRef
	NextSeq int64
	Code    string
	Args    []string // of that code
}
