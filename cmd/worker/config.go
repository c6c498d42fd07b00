package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/httpapi/wire"
)

// Masters is how a worker talks to the masters; *client.Client implements it. The time sent is when the answered
// request was sent: durations in the answer count from then.
type Masters interface {
	Register(ctx context.Context, reg wire.Register) (a wire.RegisterAnswer, sent time.Time, err error)
	Exchange(ctx context.Context, worker string, x wire.Exchange) (a wire.ExchangeAnswer, sent time.Time, err error)
	Messages(ctx context.Context, worker string, m wire.Messages) (wire.MessagesAnswer, error)
	GetBlob(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error)
	SetMasters(addresses []string) error
}

// Config configures a worker. Its names are those of WorkerSettings.config where that file has them. Zero values mean
// the defaults in the comments.
type Config struct {
	Masters       Masters // required
	DataDirectory string  // required; one worker process at a time uses it

	AgentID         string // GUID; default: generated once and kept in the data directory
	DisplayName     string // default: the machine's name
	Description     string
	MaxTaskCount    int                 // most attempts at once: 10
	LeaseInterval   time.Duration       // 1 min
	TaskHeartbeat   time.Duration       // 10 s
	AgentHeartbeat  time.Duration       // 1 min
	ErrorTolerance  time.Duration       // HeartbeatErrorTolerance: 10 min
	TasksRootFolder string              // one folder for each attempt: DataDirectory/Tasks
	Runners         map[string][]string // see runner.Config

	Version         string        // shown to people
	MachineID       string        // default: the system's
	BootID          string        // default: the system's
	GuardExecutable string        // the program that becomes a guard; default: this process's own
	StopGrace       time.Duration // how long a stopped package may take before it is killed: 10 s
	FlushTimeout    time.Duration // how long a draining worker tries to hand over its last reports: 30 s
	CacheBytes      int64         // of unpacked projects that nothing runs from: 4 GiB
	KeepTasks       int           // ended task folders that are kept: 500
	KeepFor         time.Duration // and how long: 7 days

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Errors of this package.
var (
	// ErrConfig is an error in Config.
	ErrConfig = errors.New("worker: configuration")
	// ErrRefused means that the masters refuse this worker and would refuse it again.
	ErrRefused = errors.New("worker: refused by the masters")
	// ErrInUse means that another worker process uses the data directory or the task folders.
	ErrInUse = errors.New("worker: folder in use by another worker process")
)

// guardMargin is how long before the lease ends a guard begins to end the package.
const guardMargin = 5 * time.Second

func (c *Config) fill() error {
	if c.Masters == nil {
		return fmt.Errorf("%w: no masters", ErrConfig)
	}
	if c.DataDirectory == "" {
		return fmt.Errorf("%w: DataDirectory is empty; a folder of this worker's own was expected", ErrConfig)
	}
	dir, err := filepath.Abs(c.DataDirectory)
	if err != nil {
		return fmt.Errorf("%w: DataDirectory: %w", ErrConfig, err)
	}
	c.DataDirectory = dir
	if c.TasksRootFolder == "" {
		c.TasksRootFolder = filepath.Join(dir, "Tasks")
	}
	if c.TasksRootFolder, err = filepath.Abs(c.TasksRootFolder); err != nil {
		return fmt.Errorf("%w: TasksRootFolder: %w", ErrConfig, err)
	}
	if c.TasksRootFolder == c.DataDirectory {
		return fmt.Errorf("%w: TasksRootFolder is the DataDirectory; a folder of its own was expected", ErrConfig)
	}
	if c.AgentID != "" {
		id, err := uuid.Parse(c.AgentID)
		if err != nil {
			return fmt.Errorf("%w: AgentId %q is not a GUID", ErrConfig, c.AgentID)
		}
		c.AgentID = strings.ToUpper(id.String())
	}
	if c.MaxTaskCount == 0 {
		c.MaxTaskCount = 10
	}
	if c.MaxTaskCount < 1 || c.MaxTaskCount > wire.MaxAttempts {
		return fmt.Errorf("%w: MaxTaskCount is %d; 1 to %d was expected", ErrConfig, c.MaxTaskCount, wire.MaxAttempts)
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"LeaseInterval", &c.LeaseInterval, time.Minute},
		{"TaskHeartbeatInterval", &c.TaskHeartbeat, 10 * time.Second},
		{"AgentHeartbeatInterval", &c.AgentHeartbeat, time.Minute},
		{"HeartbeatErrorTolerance", &c.ErrorTolerance, 10 * time.Minute},
		{"StopGrace", &c.StopGrace, 10 * time.Second},
		{"FlushTimeout", &c.FlushTimeout, 30 * time.Second},
		{"KeepFor", &c.KeepFor, 7 * 24 * time.Hour},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < time.Millisecond {
			return fmt.Errorf("%w: %s is %v; a positive time was expected", ErrConfig, d.name, *d.v)
		}
	}
	if c.LeaseInterval <= guardMargin {
		return fmt.Errorf("%w: LeaseInterval is %v; packages are killed %v before its end, so it must be longer",
			ErrConfig, c.LeaseInterval, guardMargin)
	}
	if c.LeaseInterval > c.ErrorTolerance {
		return fmt.Errorf("%w: LeaseInterval is %v; at most HeartbeatErrorTolerance (%v) was expected",
			ErrConfig, c.LeaseInterval, c.ErrorTolerance)
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 4 << 30
	}
	if c.KeepTasks <= 0 {
		c.KeepTasks = 500
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}
