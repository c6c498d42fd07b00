package procedure

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// Procedure is one stored procedure: everything that a door needs to offer it. Declare makes it.
type Procedure struct {
	Schema     string // "catalog"
	Name       string // without the schema
	Aliases    []string
	Doc        string // one line
	Parameters []registry.Parameter
	Permission command.Permission
	// Checks are the codes that the procedure itself raises: about what only it can see (the content of a file, the
	// plaintext of a secret, a setting), and of the lookups that it needs for that. Every other refusal is the
	// transition's. Package fsmtest holds each plan to them.
	Checks []string
	// Raises are the codes that the transition of its command can refuse with.
	Raises []string
	// Returns are the return values, as documented.
	Returns []registry.ReturnCode
	// Sets are the columns of its result sets.
	Sets [][]registry.Column

	arguments *arguments
	plan      func(ctx context.Context, call *Call, args any) (Plan, error)
	waits     func(r *catalog.Reader, args any) int64
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

// Call is everything beside its arguments that a procedure may use.
type Call struct {
	Caller command.Caller
	Reader *catalog.Reader // of the leader, without a proof that it still leads
	Blobs  BlobStore
	Seal   Sealer
	Config Config
}

// Sealer encrypts a secret together with the associated data that it belongs to.
type Sealer func(secret sqltype.Secret[string], associated string) (*command.Sealed, error)

// Config is the settings that procedures use.
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

// Plan is what a call wants done.
type Plan struct {
	Command command.Command  // nil: nothing to propose
	Rows    [][]registry.Row // of each of the declared result sets
	// Before, when set, runs after the state was seen not to refuse the command, and before it is proposed.
	Before func(ctx context.Context) error
}

// Raw are arguments as a door received them: JSON values by parameter name, any case. All of them are secret, since any
// may be one: Bind and the code of a request key look at them.
type Raw = sqltype.Secret[map[string]json.RawMessage]

// Options are all that there is to say about a procedure whose arguments are of type A; what it does not have is left
// out.
type Options[A any] struct {
	Name       string
	Aliases    []string
	Doc        string
	Permission command.Permission
	Checks     []string
	Raises     []string
	Returns    []registry.ReturnCode // beside 0
	Sets       [][]registry.Column
	// Plan turns arguments into a command and checks what only it can see: all other rules are the transition's.
	Plan func(ctx context.Context, call *Call, args *A) (Plan, error)
	// Waits is the execution whose end a call waits for, 0 for none; nil: it never waits.
	Waits func(r *catalog.Reader, args *A) int64
}

// Output is the field of an output parameter: the id that the command makes.
type Output struct{}

// Declare makes a procedure whose arguments are the fields of A, in the order of the parameters' ordinals: first the
// documented ones, then ours. A field's tags are
//
//	param      the parameter's name, and after commas: sensitive
//	type       its SQL type
//	default    the value that it has when it is left out, as text
//	doc        one line
//
// A field without a default is required; a pointer is optional and NULL when it is left out; an Output is returned. The
// Go type is that of the SQL type (package sqltype), or a pointer to it; any takes what has several. Of a
// sensitive parameter it is a sqltype.Secret of that, string or any.
func Declare[A any](o Options[A]) *Procedure {
	p := &Procedure{
		Schema: "catalog", Name: o.Name, Aliases: o.Aliases, Doc: o.Doc, Permission: o.Permission, Checks: o.Checks,
		Raises: o.Raises, Sets: o.Sets, Returns: append([]registry.ReturnCode{{Value: 0, Doc: "it is done"}}, o.Returns...),
		arguments: argumentsOf[A](),
		plan: func(ctx context.Context, call *Call, args any) (Plan, error) {
			return o.Plan(ctx, call, args.(*A))
		},
	}
	p.Parameters = p.arguments.parameters
	if o.Waits != nil {
		p.waits = func(r *catalog.Reader, args any) int64 { return o.Waits(r, args.(*A)) }
	}
	return p
}

// Commands is a procedure's function that needs nothing but its arguments.
func Commands[A any](f func(args *A) command.Command) func(context.Context, *Call, *A) (Plan, error) {
	return func(_ context.Context, _ *Call, args *A) (Plan, error) { return Plan{Command: f(args)}, nil }
}
