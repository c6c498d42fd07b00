package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster/bootstrap"
	"scaleout/cluster/gossip"
	"scaleout/cluster/leader"
	"scaleout/cluster/peer"
	"scaleout/cluster/proposer"
	"scaleout/cluster/transport"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/store"
)

// Config of a Node. Dir, FSM, Transport, Gossip, Name, ClusterID and AdvertiseAddress are required.
type Config struct {
	// Dir is this node's open data directory. The caller closes it, after Run.
	Dir *store.Dir
	// FSM makes the state machine. Its hooks Applied and Failed are called after the node's own.
	FSM MachineMaker
	// Transport is this node's port. The caller runs it, for longer than Run.
	Transport *transport.Transport
	// Gossip is run by Run. The node keeps its announcement up to date.
	Gossip *gossip.Gossip

	Name             string // for people; unique in the cluster
	ClusterID        string // of the certificates; the state must carry the same
	AdvertiseAddress string // "host:port" at which other masters reach this one
	// BootstrapExpect is how many empty masters form a new cluster together; 0 means that this one only joins.
	BootstrapExpect int
	Timing          Timing
	Version         string
	Level           int // the highest feature level that this program knows; 0 means command.Level

	// Establish prepares what only a leader has: the queue and the lease clocks. It can propose commands; this node is
	// not ready for calls yet.
	Establish func(ctx context.Context, t Term) error
	// Routines run while this node leads and is ready.
	Routines []leader.Routine
	// Drop forgets what Establish and Routines made, after all of them have ended.
	Drop func()

	// PromoteCheck returns nil if a non-voter may become a voter. The node itself checks the log; this checks the rest.
	PromoteCheck func(ctx context.Context, id string) error
	// RemoveCheck returns an error that says what would be lost without the node. If gone is true, its own data is lost
	// already.
	RemoveCheck func(ctx context.Context, id string, gone bool) error
	// RemoveDead is how long a member may be silent before the leader removes it; 0: for ever.
	RemoveDead time.Duration
	// KeyRing is exchanged with the other masters. It may be nil.
	KeyRing KeyRing

	// SlowCommit is called, at most every 30 s, when an entry has been waiting long to be committed: for this master's
	// own disk, or else for other masters. It must not block. It may be nil.
	SlowCommit func(waited time.Duration, ownDisk bool)

	// Exit ends the process, with ExitStalled or ExitStateMachine. If it is nil, Run returns an error instead.
	Exit func(code int)
	// Snapshots is when Raft takes a snapshot; nil is the default. It is for tests, which cannot write thousands of
	// entries.
	Snapshots *Snapshots
	// Now is the wall clock; nil: time.Now.
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// KeyRing is the keys that seal the cluster's secrets, as masters hand them to each other over peer connections.
type KeyRing interface {
	// Marshal encodes the ring, secrets included.
	Marshal() ([]byte, error)
	// Merge adds the keys that this node lacks, and writes them to disk.
	Merge(ring []byte) error
}

// Term is one generation of leadership.
type Term struct {
	Number     uint64 // Raft's term
	Generation uint64 // counts the generations of this process from 1; two may share a Raft term
	Since      time.Time
}

// Node is one master's part in the cluster.
type Node struct {
	cfg        Config
	id         string
	log        *slog.Logger
	machine    Machine
	peers      *peer.Client
	clocks     *clocks
	metrics    *proposer.Metrics
	config     configurations
	watch      *leaderWatch
	boot       *bootstrap.Bootstrapper
	stopping   atomic.Bool
	leadership atomic.Pointer[leadership] // nil while this node does not lead

	started    chan struct{}
	raft       *raft.Raft // set before started is closed
	wire       *transport.Raft
	notify     chan<- bool // to the leader.Runner; set before started is closed
	caught     chan struct{}
	ended      chan struct{} // closed when Raft's shutdown has begun
	fatal      chan error
	removed    atomic.Bool
	leaderless atomic.Pointer[leaderless]

	changes    sync.Mutex // one change at a time
	transfers  sync.Mutex // one transfer at a time
	futures    futureWaiters
	installs   futureWaiters // restored states that Raft is installing
	levelEvery time.Duration
}

// New checks cfg and makes a Node. It starts nothing.
func New(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	n := &Node{
		cfg:     cfg,
		id:      cfg.Dir.ID(),
		log:     cfg.Logger,
		clocks:  newClocks(cfg.Now, cfg.Logger),
		metrics: proposer.NewMetrics(),
		started: make(chan struct{}),
		caught:  make(chan struct{}),
		ended:   make(chan struct{}),
		fatal:   make(chan error, 1),

		levelEvery: levelEvery,
	}
	var err error
	if err = n.registerMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("cluster: metrics: %w", err)
	}
	if n.machine, err = cfg.FSM(n.applied, n.machineFailed); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	n.peers = peer.NewClient(cfg.Transport.PeerClient())
	n.watch = newLeaderWatch()
	if n.boot, err = n.bootstrapper(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return n, nil
}

func (c *Config) complete() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Dir != nil, "Dir is required")
	need(c.Transport != nil, "Transport is required")
	need(c.Gossip != nil, "Gossip is required")
	need(c.Name != "", "Name is required")
	need(c.ClusterID != "", "ClusterID is required")
	need(c.AdvertiseAddress != "", "AdvertiseAddress is required")
	if c.BootstrapExpect < 0 || c.BootstrapExpect > 9 {
		errs = append(errs, fmt.Errorf("BootstrapExpect %d: want 0 (join only) to 9; 3 is usual", c.BootstrapExpect))
	}
	if c.Timing == (Timing{}) {
		c.Timing, _ = TimingProfile("lan")
	}
	if err := c.Timing.Check(); err != nil {
		errs = append(errs, err)
	}
	if c.Level == 0 {
		c.Level = command.Level
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(errs...)
}

// ID is this node's identity.
func (n *Node) ID() string { return n.id }

// Timing is how fast this cluster notices a failure and decides.
func (n *Node) Timing() Timing { return n.cfg.Timing }

// Started is closed when Run has opened the log and this node answers.
func (n *Node) Started() <-chan struct{} { return n.started }

// CaughtUp is closed when this node's state has, for the first time since its start, everything that the cluster had
// committed at that moment.
func (n *Node) CaughtUp() <-chan struct{} { return n.caught }

// up reports whether Run has started Raft.
func (n *Node) up() bool {
	select {
	case <-n.started:
		return true
	default:
		return false
	}
}

// readyLeadership returns the present generation if it is ready.
func (n *Node) readyLeadership() (*leadership, error) {
	r := n.leadership.Load()
	switch {
	case r == nil && !n.up():
		return nil, command.ErrNotReady
	case r == nil:
		return nil, command.ErrNotLeader
	case !r.ready.Load() && n.raft.State() != raft.Leader:
		return nil, command.ErrNotLeader
	case !r.ready.Load():
		return nil, fmt.Errorf("%w: it took over just now", command.ErrNotReady)
	}
	return r, nil
}

// applied is the hook that the state machine calls after every entry, from the goroutine that applies.
func (n *Node) applied(a Applied) {
	if r := n.leadership.Load(); r != nil {
		r.proposer.Applied(a)
	}
}

// machineFailed is the hook that the state machine calls for an entry that it can neither apply nor skip.
func (n *Node) machineFailed(err error) {
	attrs := []slog.Attr{
		slog.Any(logkey.Err, err), slog.String(logkey.Version, n.cfg.Version), slog.Int(logkey.FeatureLevel, n.cfg.Level),
	}
	if errors.Is(err, fsm.ErrOutOfOrder) {
		n.log.LogAttrs(context.Background(), slog.LevelError, "this master stops: its data directory is damaged, or this "+
			"is a mistake of the program. The other masters have all that it had: move its data directory away and start "+
			"it with an empty one, so that it joins as a new one", attrs...)
	} else {
		n.log.LogAttrs(context.Background(), slog.LevelError, "this master stops: an entry of the log cannot be applied. "+
			"Nothing is lost; start a version that knows it", attrs...)
	}
	n.die(fmt.Errorf("%w: %w", ErrStateMachine, err), ExitStateMachine)
}

// die ends the process, or only Run if Config.Exit is nil.
func (n *Node) die(err error, code int) {
	if r := n.leadership.Load(); r != nil {
		r.ready.Store(false)
	}
	n.stopWith(err)
	if n.cfg.Exit != nil {
		// On a goroutine of its own, because the state machine's goroutine may hold a lock that the exit waits for.
		go n.cfg.Exit(code)
	}
}

// nameOf returns a node's name if it is known, else its id.
func (n *Node) nameOf(id string) string {
	if id == n.id {
		return n.cfg.Name
	}
	if m, ok := n.cfg.Gossip.Member(id); ok && m.Name != "" {
		return m.Name
	}
	if m, ok := n.machine.Reader().Master(id); ok && m.Name != "" {
		return m.Name
	}
	return id
}

// Address returns where a master is reached now: the address that gossip heard last, else that of the configuration.
// The transport's Resolve should ask it.
func (n *Node) Address(id string) (string, bool) {
	if a, ok := n.cfg.Gossip.Address(id); ok {
		return a, true
	}
	if !n.up() {
		return "", false
	}
	_, servers := n.configuration()
	for _, s := range servers {
		if string(s.ID) == id && s.Address != "" {
			return string(s.Address), true
		}
	}
	return "", false
}
