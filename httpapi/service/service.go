package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/fsm/procedure"
	"scaleout/fsm/view"
)

// Proposer is the way into the log. Its errors wrap the outcomes of a proposal that package command declares.
type Proposer interface {
	// Propose applies a command: a rejection is a Result. The index is that of the command's log entry.
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
	// Read returns nil once it is proved that this node led at a moment after the call.
	Read(ctx context.Context) error
	// Hold derives the context of a call that is held: it ends when leadership is lost or in doubt.
	Hold(ctx context.Context) (context.Context, context.CancelFunc)
}

// State is this node's replicated state; *fsm.FSM is one.
type State interface {
	Reader() *catalog.Reader
	// Changed is closed once the state holds an entry after index.
	Changed(index uint64) <-chan struct{}
	// Hash is the state's index and hash.
	Hash(ctx context.Context) (index uint64, hash string, err error)
	// HashAt waits until the state is exactly at index; command.ErrIndexPassed when it is past it.
	HashAt(ctx context.Context, index uint64) (string, error)
}

// Config is what a Service needs. Unless marked optional, a field is required.
type Config struct {
	Proposer Proposer
	State    State
	Workers  Workers
	Blobs    Blobs
	// Live is the leader's memory; optional.
	Live view.Live
	// Messages opens message segments; optional.
	Messages view.MessageSource
	// Seal and Open are the key ring.
	Seal procedure.Sealer
	Open catalog.Opener
	// Settings are those that plans use.
	Settings func() procedure.Config
	// Timeout is how long a call may take, waiting ones excepted; one that carries a file may take ten times as long.
	// Optional, 30 s.
	Timeout time.Duration
	Logger  *slog.Logger // optional
}

func (c *Config) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Proposer", c.Proposer == nil}, {"State", c.State == nil}, {"Workers", c.Workers == nil},
		{"Blobs", c.Blobs == nil}, {"Seal", c.Seal == nil}, {"Open", c.Open == nil}, {"Settings", c.Settings == nil},
	} {
		if f.missing {
			return errors.New("service: " + f.name + " is required")
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// Service is what every door calls. Its methods may be called from any goroutine.
type Service struct {
	cfg      Config
	log      *slog.Logger
	stopping context.Context // ends when this node is about to stop
	stop     context.CancelFunc
}

// New checks the configuration and returns a Service. It starts no goroutine.
func New(cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: cfg.Logger.With(slog.String(logkey.Component, "service"))}
	s.cfg.Proposer, s.cfg.Workers = waitingProposer{cfg.Proposer}, waitingWorkers{cfg.Workers}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Stop ends the calls that are held, because this node is about to stop: polls are answered, empty, and whoever waits
// for an execution is told that the outcome is unknown. Later calls are not held.
func (s *Service) Stop() { s.stop() }

// Timeout is how long a call may take, waiting ones and those that carry a file excepted.
func (s *Service) Timeout() time.Duration { return s.cfg.Timeout }

// Prove returns nil once it is proved that this node led at a moment after the call. Its errors wrap the outcomes of a
// proof that package command declares.
func (s *Service) Prove(ctx context.Context) error { return s.cfg.Proposer.Read(ctx) }

// Authorize refuses (a *command.Rejection) a caller without a permission, by this node's state, for what has the name.
func (s *Service) Authorize(c command.Caller, p command.Permission, name string) error {
	return catalog.Authorize(s.cfg.State.Reader(), c, p, name)
}
