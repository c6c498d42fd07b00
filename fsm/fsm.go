package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// Errors of this package.
var (
	// ErrOutOfOrder: an entry came that the state holds already.
	ErrOutOfOrder = errors.New("the state and the log do not belong together")
	// ErrTooNew: the log or the snapshot needs a newer version of the program.
	ErrTooNew = errors.New("a newer version of this program is needed")
	// ErrSnapshot: the bytes are not a whole, undamaged snapshot.
	ErrSnapshot = errors.New("not a readable snapshot")
)

// Config says how an FSM is made. The callbacks run on Raft's goroutine: they must not wait for it.
type Config struct {
	Level      int          // the highest feature level that this binary knows; 0 means command.Level
	Logger     *slog.Logger // nil: slog.Default()
	Applied    func(Applied)
	Failed     func(error) // told once, before Apply stands still
	Restored   func()      // a snapshot has replaced the state
	Registerer prometheus.Registerer
}

// Applied is what became of one entry, told once Reader shows its changes.
type Applied struct {
	Index, Term     uint64
	Proposer, First uint64           // as in the entry
	Results         []command.Result // of its commands, in order
	Touched         catalog.Touched  // executions and workers whose rows changed
	Events          []catalog.Event  // what happened
}

// FSM is the raft.FSM over the catalog. Raft calls Apply, Snapshot and Restore, one at a time; the rest may be called
// from anywhere.
type FSM struct {
	cfg     Config
	metrics *metrics

	mu      sync.Mutex // held while an entry is applied: what it guards is seen between entries only
	state   *catalog.State
	floor   uint64 // the entry that the restored snapshot is of; Raft applies none up to it again
	hashers map[uint64][]chan *catalog.Snapshot
	waiters map[uint64]chan struct{}

	reader   atomic.Pointer[catalog.Reader]
	restored atomic.Uint64
	failure  atomic.Pointer[error]
	stopped  chan struct{}
	stopOnce sync.Once
}

// New makes an FSM with an empty state. It starts no goroutine.
func New(cfg Config) *FSM {
	if cfg.Level == 0 {
		cfg.Level = command.Level
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &FSM{
		cfg: cfg, state: catalog.NewState(), stopped: make(chan struct{}),
		hashers: map[uint64][]chan *catalog.Snapshot{}, waiters: map[uint64]chan struct{}{},
	}
	f.reader.Store(f.state.Reader())
	f.metrics = newMetrics(f)
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(f.metrics); err != nil {
			cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "metrics of the state machine not registered",
				slog.Any(logkey.Err, err))
		}
	}
	return f
}

// Reader returns a read transaction on the state after the last entry.
func (f *FSM) Reader() *catalog.Reader { return f.reader.Load() }

// Index is the index of the last entry applied. Entries of Raft's own do not count.
func (f *FSM) Index() uint64 { return f.Reader().Index() }

// Restored counts the snapshots that have replaced the state.
func (f *FSM) Restored() uint64 { return f.restored.Load() }

// Err is why the state machine stands still, nil while it works.
func (f *FSM) Err() error {
	if err := f.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Stop ends the goroutine of an Apply that stands still, so that Raft can shut down. It applies nothing.
func (f *FSM) Stop() { f.stopOnce.Do(func() { close(f.stopped) }) }

// Apply applies one entry. It returns nil: results go to Config.Applied, by proposal number.
func (f *FSM) Apply(l *raft.Log) any {
	if l.Type != raft.LogCommand {
		return nil
	}
	if f.Err() == nil {
		done, err := f.apply(l)
		if err == nil {
			if f.cfg.Applied != nil {
				f.cfg.Applied(done)
			}
			return nil
		}
		f.fail(err)
	}
	// Raft's goroutine stays here for good: were it to return, Raft would apply the next entry to a state that lacks
	// this one.
	<-f.stopped
	runtime.Goexit()
	return nil
}

func (f *FSM) fail(err error) {
	f.failure.Store(&err)
	f.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "the state machine stands still",
		slog.Any(logkey.Err, err))
	if f.cfg.Failed != nil {
		f.cfg.Failed(err)
	}
}

func (f *FSM) apply(l *raft.Log) (done Applied, err error) {
	entry, err := command.Decode(l.Data)
	if err != nil {
		return done, fmt.Errorf("%w: index %d: %w", catalog.ErrCannotApply, l.Index, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		// A mistake in a transition is the same on every node; standing still keeps the log and the last snapshot for a
		// version that can read on.
		if p := recover(); p != nil {
			err = fmt.Errorf("log entry %d: a transition failed: %v\n%s", l.Index, p, debug.Stack())
		}
	}()
	if held := max(f.state.Index(), f.floor); l.Index <= held {
		return done, fmt.Errorf("%w: entry %d came, and the state holds all up to %d already", ErrOutOfOrder, l.Index, held)
	}
	f.serveHashers(func(index uint64) bool { return index < l.Index })
	done = Applied{Index: l.Index, Term: l.Term, Proposer: entry.Proposer, First: entry.First,
		Results: make([]command.Result, len(entry.Commands))}
	for i, env := range entry.Commands {
		if done.Results[i], err = f.state.Apply(l.Index, env); err != nil {
			return done, err
		}
		f.metrics.count(env.Kind, done.Results[i])
	}
	if level := f.state.Level(); level > f.cfg.Level {
		return done, fmt.Errorf("%w: log entry %d raises the cluster to feature level %d, this version knows up to %d",
			ErrTooNew, l.Index, level, f.cfg.Level)
	}
	done.Touched, done.Events = f.state.Touched(), f.state.Pending()
	f.metrics.happened(done.Events)
	f.state.Commit(l.Index)
	f.reader.Store(f.state.Reader())
	f.serveHashers(func(index uint64) bool { return index <= l.Index })
	f.wake(func(index uint64) bool { return index < l.Index })
	return done, nil
}

// Snapshot captures the state; Raft has it persisted while further entries are applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("no snapshot of a state machine that stands still: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &snapshot{f.state.Snapshot()}, nil
}

// Restore replaces the state by that of a snapshot. If it fails, the state is as before. Errors wrap ErrSnapshot or
// ErrTooNew.
func (f *FSM) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	state, h, err := readWithHeader(rc, f.cfg.Level)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.state, f.floor = state, h.Index
	f.reader.Store(state.Reader())
	f.restored.Add(1)
	f.serveHashers(func(index uint64) bool { return index <= state.Index() })
	f.wake(func(uint64) bool { return true })
	f.mu.Unlock()
	f.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "state restored from a snapshot",
		slog.Uint64(logkey.Index, h.Index), slog.Int(logkey.FeatureLevel, state.Level()))
	if f.cfg.Restored != nil {
		f.cfg.Restored()
	}
	return nil
}
