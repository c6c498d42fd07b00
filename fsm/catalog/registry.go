package catalog

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"scaleout/fsm/command"
)

// Procedure is one stored procedure: everything that a door needs to offer it.
type Procedure struct {
	Name       string // without "catalog."
	Doc        string // one line
	Parameters []Parameter
	Permission Permission
	// Plan runs on the leader. Its checks exist for good messages; the transition repeats those that protect state.
	Plan func(ctx context.Context, call *Call) (Plan, error)
}

// Parameter is one parameter of a procedure.
type Parameter struct {
	Name      string // without "@"
	Type      SQLType
	Required  bool
	Default   any // typed as Type's Go value; nil is NULL
	Output    bool
	Sensitive bool
	Doc       string
}

// Permission says who may call a procedure or read a view: any of the roles (ssis_admin always may). No role means any
// user's certificate.
type Permission struct{ Roles []string }

// Allows reports whether the caller may: a user's certificate, and one of the roles where there are any.
func (p Permission) Allows(c command.Caller) bool {
	if len(p.Roles) == 0 {
		return c.Kind == "user"
	}
	return c.Is(p.Roles...)
}

// Column is one column of a view or a result set.
type Column struct {
	Name     string // in the documented case
	Type     SQLType
	Nullable bool
	Live     bool // from the leader's memory: NULL under stale
	Doc      string
}

// Source is where a view's rows come from.
type Source int

// The sources of views.
const (
	FromState    Source = iota // the replicated state: any node, after a proof on the leader
	FromLive                   // also the leader's memory
	FromSegments               // also message segments: needs Query.Messages
)

// View is one catalog view.
type View struct {
	Name       string
	Doc        string
	Columns    []Column
	Permission Permission
	Source     Source
	// Key names the columns that order the view when the query names none; together they are unique.
	Key []string
	// Rising names columns that never fall while the key rises: an order by them is an order by the key.
	Rising []string
	// Walks reports whether Rows, for this filter, yields in the order of the key, honours Descending and may begin at
	// After: then a page costs what it shows. nil means never.
	Walks func(q *Query) bool
	// Rows yields the rows that may match the filter, typed as the columns say; the caller filters again. It uses an
	// index where the filter allows one.
	Rows func(ctx context.Context, q *Query) iter.Seq2[Row, error]
}

// Row is one row of a view: Go values in the order of its columns; nil is NULL.
type Row []any

// Query is what a view's function gets.
type Query struct {
	View       *Reader
	Live       Live // nil under stale
	Messages   MessageSource
	Caller     command.Caller
	Equal      map[string]any // column → typed value, nil for IS NULL
	Descending bool           // by the view's key: lets a view walk its index backwards
	After      Row            // nil, or a row of which only the key's columns are set: the walk may begin there
	Server     string
}

// Live is what only the leader's memory knows.
type Live interface {
	// Reason tells why a pending execution has not been granted, or what is known of a silent running one: a code of
	// the closed list and a sentence.
	Reason(executionID int64) (code, sentence string, ok bool)
	// LastContact is when the leader last heard from a worker.
	LastContact(worker string) (time.Time, bool)
	// Worker is what the leader knows of a registered worker at this moment.
	Worker(id string) (WorkerNow, bool)
	// LeaseUntil is when the lease of a running attempt ends if nothing renews it.
	LeaseUntil(ref command.AttemptRef) (time.Time, bool)
}

// WorkerNow is a worker as the leader sees it.
type WorkerNow struct {
	Online   bool // heard from within twice its agent heartbeat
	Draining bool // it takes nothing new: by its own word it holds nothing more
	Running  int  // attempts that it holds
}

// MessageSource opens a message segment: the local blob, else streamed from a holder.
type MessageSource interface {
	OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error)
}

// BlobStore is what deploy_project needs of the cluster's blobs. Its errors wrap command.ErrNoBlob and
// ErrBlobTooLarge where they apply.
type BlobStore interface {
	// Store writes a project file to a majority and returns its digest and size.
	Store(ctx context.Context, r io.Reader, limit int64) (digest string, size int64, err error)
	// Confirm makes sure that a majority holds the blob, and returns its size.
	Confirm(ctx context.Context, digest string) (size int64, err error)
	// Open reads a blob.
	Open(ctx context.Context, digest string) (ReaderAtCloser, int64, error)
}

// ReaderAtCloser is a blob that is open.
type ReaderAtCloser interface {
	io.ReaderAt
	io.Closer
}

// Call is everything that a Plan may use.
type Call struct {
	Args    Args
	Caller  command.Caller
	Now     command.Time
	View    *Reader // behind a leadership proof
	Blobs   BlobStore
	Seal    func(plaintext []byte, associated string) (*command.Sealed, error)
	Open    func(s *command.Sealed, associated string) ([]byte, error)
	NewGUID func() string
	Config  Config
}

// Config is the settings that plans use.
type Config struct {
	RetryDelay      time.Duration
	MaxProjectBytes int64
	Server          string // InstanceName
	Limits          Limits
}

// Limits are the settings that travel in commands, so that every master applies the same ones; 0 means no limit.
type Limits struct {
	NotStarted   int // MaxExecutionsNotStarted: executions of one caller that no worker was given yet
	AgentIDs     int // MaxAgentIdsPerCertificate: of one certificate name
	NeverEnabled int // MaxWorkersNeverEnabled: workers of all
	TaskCount    int // MaxTaskCountLimit: MaxTaskCount of one worker
}

// Plan is what a procedure wants done: a command, rows, or a command and something to wait for.
type Plan struct {
	Command command.Command // nil: nothing to propose
	// Outputs turns the command's result into output parameters and the return value. nil: return value 0, no outputs.
	Outputs func(command.Result) (outputs map[string]any, returnValue int64)
	Sets    []ResultSet
	// Wait, when set, holds the call until the execution has ended (SYNCHRONIZED).
	Wait int64
}

// ResultSet is rows with their columns.
type ResultSet struct {
	Columns []Column
	Rows    []Row
}

// Args are a procedure's arguments after Coerce: every parameter is present, typed, defaulted.
type Args map[string]any

// Raw are arguments as a door received them: JSON values by parameter name, any case.
type Raw map[string]json.RawMessage
