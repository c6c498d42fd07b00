package procedure

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

// Procedure is one stored procedure: everything that a door needs to offer it.
type Procedure struct {
	Name       string // without "catalog."
	Doc        string // one line
	Parameters []registry.Parameter
	Permission catalog.Permission
	// Plan runs on the leader. Its checks exist for good messages; the transition repeats those that protect state.
	Plan func(ctx context.Context, call *Call) (Plan, error)
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
	View    *catalog.Reader // behind a leadership proof
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
	Sets    []registry.ResultSet
	// Wait, when set, holds the call until the execution has ended (SYNCHRONIZED).
	Wait int64
}

// Args are a procedure's arguments after Coerce: every parameter is present, typed, defaulted.
type Args map[string]any

// Raw are arguments as a door received them: JSON values by parameter name, any case.
type Raw map[string]json.RawMessage
