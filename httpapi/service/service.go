package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/view"
)

// ErrTimeout: the call took longer than it may.
var ErrTimeout = errors.New("the call took too long")

// Proposer is the way into the log. Its errors wrap the outcomes of a proposal that package command declares.
type Proposer interface {
	// Propose applies a command: a rejection is a Result. The index is that of the command's log entry.
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
	// Read returns nil once it is proved that this node led at a moment after the call.
	Read(ctx context.Context) error
	// Hold derives the context of a call that is held: it ends when leadership is lost or in doubt.
	Hold(ctx context.Context) (context.Context, context.CancelFunc)
}

// State is this node's replicated state.
type State interface {
	Reader() *catalog.Reader
	// Changed is closed once the state holds an entry after index.
	Changed(index uint64) <-chan struct{}
}

// Config is what a Service needs. Live and Messages may be nil.
type Config struct {
	Proposer Proposer
	State    State
	Workers  Workers
	Blobs    procedure.BlobStore
	Seal     func(plaintext []byte, associated string) (*command.Sealed, error)
	Open     func(s *command.Sealed, associated string) ([]byte, error)
	Live     view.Live
	Messages view.MessageSource
	Settings func() procedure.Config
	// Timeout is how long a call may take, waiting ones excepted; one that carries a file may take ten times as long.
	Timeout time.Duration
	Logger  *slog.Logger
	// Stopping ends when this node is about to stop.
	Stopping context.Context
}

// Service calls procedures, reads views and exchanges with workers. Its methods may be called from any goroutine.
type Service struct{ cfg Config }

// New returns a Service. It starts no goroutine.
func New(cfg Config) *Service { return &Service{cfg} }
