package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/announce"
	"scaleout/cluster/backup"
	"scaleout/cluster/blobs"
	"scaleout/cluster/dispatch"
	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/segmenter"
	"scaleout/cluster/transport"
	"scaleout/cmd/master/config"
	"scaleout/cmd/master/health"
	"scaleout/cmd/master/logtail"
	"scaleout/cmd/master/metrics"
	"scaleout/cmd/master/status"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/httpapi"
	"scaleout/httpapi/service"
	"scaleout/store"
)

// Config is the settings of one master.
type Config = config.Config

// Master is one master, assembled.
type Master struct {
	cfg       Config
	log       *slog.Logger
	creds     *pki.Credentials
	dir       *store.Dir
	ring      *pki.KeyRingFile
	transport *transport.Transport
	fsm       *fsm.FSM
	node      *cluster.Node
	dispatch  *dispatch.Dispatcher
	packer    *segmenter.Packer
	keeper    *blobs.Keeper
	api       *httpapi.API
	advertise string
	announcer *announce.Announcer
	status    *status.Reporter
	health    *health.Probe
	tail      logtail.Tail
	started   time.Time
	backups   *backup.Backups

	stopping chan struct{} // closed when held calls must end
	crash    chan struct{} // closed by Crash
	crashed  sync.Once
}

// New opens the certificates, the data directory and the port, and wires the rooms. What it opened is closed again
// when it fails.
func New(cfg Config) (_ *Master, err error) {
	cfg.Fill()
	m := &Master{cfg: cfg, started: time.Now(), stopping: make(chan struct{}), crash: make(chan struct{})}
	var opened []func() error
	defer func() {
		if err != nil {
			for i := len(opened) - 1; i >= 0; i-- {
				err = errors.Join(err, opened[i]())
			}
		}
	}()
	m.creds, err = pki.OpenCredentials(pki.CredentialsConfig{Files: cfg.Files, Thumbprint: cfg.Thumbprint,
		Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	who := m.creds.Identity()
	if err := who.Require(pki.RoleMaster); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Files.Cert, err)
	}
	if m.cfg.Name == "" {
		m.cfg.Name = who.Name
	}
	m.log = m.tail.Logger(cfg.Logger).With("node", m.cfg.Name)
	gossipKey, err := pki.LoadGossipKey(cfg.GossipKeyFile)
	if err != nil {
		return nil, err
	}
	cfg.Store.Logger = m.log
	cfg.Store.CheckSnapshot = fsm.CheckHeader
	if m.dir, err = store.Open(cfg.DataDirectory, cfg.Store); err != nil {
		return nil, err
	}
	opened = append(opened, m.dir.Close)
	if m.ring, err = pki.OpenKeyRingFile(cfg.DataDirectory, cfg.KeyRingFile, m.log); err != nil {
		return nil, err
	}
	listener := cfg.Listener
	if listener == nil {
		listener, err = net.Listen("tcp", net.JoinHostPort(cfg.BindAddress, strconv.Itoa(cfg.Port)))
		if err != nil {
			return nil, fmt.Errorf("PortNumber %d: %w", cfg.Port, err)
		}
	}
	opened = append(opened, listener.Close)
	if m.advertise, err = cfg.Advertised(listener.Addr()); err != nil {
		return nil, err
	}
	if err := m.assemble(listener, who.Cluster, gossipKey); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Master) assemble(listener net.Listener, clusterID string, gossipKey []byte) (err error) {
	cfg := &m.cfg
	timing, err := cfg.RaftTiming()
	if err != nil {
		return err
	}
	if m.transport, err = transport.New(transport.Config{
		Listener: listener, Security: m.creds, NodeID: m.dir.ID(), ClusterID: clusterID, Advertise: m.advertise,
		Resolve: func(id string) (string, bool) { return m.node.Address(id) }, Dial: cfg.Dial,
		Masters: func() []string { return slices.Concat(cfg.RetryJoin, m.node.Addresses()) }, Limits: cfg.Connections,
		Logger: m.log, Registerer: cfg.Registry,
	}); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(m.advertise)
	if err != nil {
		return err
	}
	talk, err := gossip.New(gossip.Config{
		Self: gossip.Meta{
			ID: m.dir.ID(), Name: cfg.Name, Address: m.advertise, Version: cfg.Version, Level: command.Level,
			BootstrapExpect: cfg.BootstrapExpect, HasState: !m.dir.New(),
		},
		ClusterID: clusterID, Key: gossipKey, BindAddress: cfg.BindAddress, Port: cfg.GossipPort, AdvertiseAddress: host,
		RetryJoin: cfg.RetryJoin, Fast: cfg.Timing != "wan", Slow: cfg.Timing == "wan", Logger: m.log,
		Limits: cfg.Gossip, Master: m.transport.MasterAt, Registerer: cfg.Registry,
	})
	if err != nil {
		return err
	}
	if m.node, err = cluster.New(cluster.Config{
		Dir: m.dir, FSM: m.machine, Transport: m.transport, Gossip: talk, Name: cfg.Name, ClusterID: clusterID,
		AdvertiseAddress: m.advertise, BootstrapExpect: cfg.BootstrapExpect, Timing: timing, Version: cfg.Version,
		Establish:    func(context.Context, cluster.Term) error { m.dispatch.Establish(); return nil },
		Routines:     m.routines(),
		Drop:         func() { m.dispatch.Drop() },
		PromoteCheck: m.mayPromote,
		RemoveCheck: func(ctx context.Context, id string, gone bool) error {
			return m.keeper.CheckRemoval(ctx, id, gone)
		},
		RemoveDead: cfg.RemoveDead,
		SlowCommit: func(waited time.Duration, ownDisk bool) { m.announcer.SlowCommit(waited, ownDisk) },
		KeyRing:    m.ring, Exit: cfg.Exit, Now: cfg.Now, Snapshots: cfg.Snapshots, Logger: m.log, Registerer: cfg.Registry,
	}); err != nil {
		return err
	}
	m.health = health.New(m.node, m.transport)
	m.announcer = announce.New(announce.Config{
		Node: m.node, State: m.fsm, Master: cfg.Name, DiskInterval: cfg.Heartbeat, Logger: m.log,
	})
	m.dispatch = dispatch.New(dispatch.Config{
		State: m.fsm, Node: m.node, Orphan: m.announcer.Orphan, Election: timing.Election, Now: m.node.Now, Logger: m.log,
		Registerer: cfg.Registry,
	})
	cfg.Registry.MustRegister(m.dispatch)
	m.keeper = blobs.New(blobs.Config{
		Disk: disk{m.dir.Blobs()}, Peers: blobs.HTTP{Client: m.transport.PeerClient()}, Membership: membership{m.node},
		Names: names{m.fsm}, MaxBytes: cfg.MaxProjectBytes, MaxUnnamed: cfg.MaxUnnamedBlobBytes, Logger: m.log,
	})
	m.status = status.New(status.Config{
		Node: m.node, State: m.fsm, Peers: m.transport.PeerClient(), Logger: m.log, Host: status.Local{
			Instance: cfg.InstanceName, Advertise: m.advertise, Settings: cfg.Common, Credentials: m.creds, Blobs: m.keeper,
		}.Host,
	})
	m.dir.Blobs().OnDamage(m.keeper.Damaged)
	metrics.Register(cfg.Registry, metrics.Config{
		Version: cfg.Version, Ready: func(ctx context.Context) bool { return m.health.Waiting(ctx) == "" }, Credentials: m.creds,
		FreeBytes: m.dir.Free, MissingBlobs: m.keeper.Missing, DamagedBlobs: m.keeper.DamagedSinceStart, State: m.fsm,
		CaughtUp: m.node.CaughtUp(),
	})
	m.backups = backup.New(backup.Config{
		State: m.fsm, Node: m.node, Blobs: m.keeper, KeyRing: m.ring, Spool: cfg.DataDirectory, Master: cfg.Name,
		Version: cfg.Version, Schedule: cfg.Backups, Logger: m.log, Registerer: cfg.Registry,
	})
	m.packer = segmenter.New(segments{m.keeper}, m.fsm, m.proposer(), m.log)
	return m.routes()
}

// machine makes the state machine with the node's hooks and those of the rooms that follow the state.
func (m *Master) machine(applied func(cluster.Applied), failed func(error)) (cluster.Machine, error) {
	m.fsm = fsm.New(fsm.Config{
		Level: command.Level, Logger: m.log, Registerer: m.cfg.Registry,
		Applied: func(a fsm.Applied) {
			// The queue first: whoever is answered next may ask it at once.
			m.dispatch.Touch(a.Touched.Executions, a.Touched.Workers)
			m.announcer.LogEvents(a.Events)
			applied(cluster.Applied{Index: a.Index, Term: a.Term, Proposer: a.Proposer, First: a.First, Results: a.Results})
		},
		Failed:   failed,
		Restored: func() { m.keeper.Restored() },
	})
	return machine{m.fsm}, nil
}

func (m *Master) routes() (err error) {
	calls, err := service.New(service.Config{
		Proposer: m.proposer(), State: m.fsm, Workers: workers{m}, Blobs: project{m.keeper},
		Live: m.dispatch, Messages: segments{m.keeper}, Seal: m.seal, Open: m.open,
		Settings: func() procedure.Config {
			return procedure.Config{RetryDelay: m.cfg.RetryDelay, MaxProjectBytes: m.cfg.MaxProjectBytes,
				Server: m.cfg.InstanceName, Limits: m.cfg.CatalogLimits}
		},
		Logger: m.log,
	})
	if err != nil {
		return err
	}
	m.api, err = httpapi.New(httpapi.Config{
		Member: member{m}, Service: calls,
		Cluster: operator{m}, Backups: backups{m.backups}, Debug: m.debug, Identify: m.identify, Peer: transport.PeerID,
		PeerTransport: m.transport.PeerClient().Transport, PeerURL: peerURL,
		Limits: m.cfg.Limits,
		Ready:  m.health.Ready, Version: m.cfg.Version, MetricsOpen: m.cfg.MetricsOpen,
		Reached: reached, BodyTime: m.cfg.Times.Body, UploadRate: m.cfg.Times.UploadRate,
		Gatherer: m.cfg.Registry, Registerer: m.cfg.Registry, Logger: m.log,
	})
	return err
}

// ID is the node's identity, Name its name for people, Address its "host:port".
func (m *Master) ID() string      { return m.dir.ID() }
func (m *Master) Name() string    { return m.cfg.Name }
func (m *Master) Address() string { return m.advertise }

// Fresh reports whether the data directory was empty when this master opened it: it then waits for others to form or
// join a cluster with, which may need an operator's next step.
func (m *Master) Fresh() bool { return m.dir.New() }

// Waiting says what this master waits for before it can serve, "" when it can.
func (m *Master) Waiting(ctx context.Context) string { return m.health.Waiting(ctx) }

// Alive returns an error when this master does not work any more and only a restart helps.
func (m *Master) Alive(ctx context.Context) error { return m.health.Alive(ctx) }

// Crash ends a master within its process as a power cut would: from now on nothing reaches the disk, nothing is handed
// over and nobody is answered. It is for tests; Run returns soon after.
func (m *Master) Crash() {
	m.crashed.Do(func() {
		m.transport.CutRaft() // first: what is not kept must not be told
		m.dir.Freeze()
		close(m.crash)
	})
}

// stopTime bounds each stage of an orderly stop.
const stopTime = 10 * time.Second

// Run serves until ctx ends and then stops: not ready → hand leadership over → answer held calls → finish what is in
// flight → leave the cluster's conversation → close the log, the data directory and its lock. It returns early, with
// the reason, when a part cannot go on.
func (m *Master) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	life, fail := context.WithCancelCause(base)
	defer fail(nil)
	var port, parts sync.WaitGroup
	portContext, closePort := context.WithCancel(base)
	nodeContext, leave := context.WithCancel(base)
	part := func(group *sync.WaitGroup, name string, run func() error) {
		group.Go(func() {
			if err := run(); err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	servers := m.servers()
	part(&port, "port", func() error { return m.transport.Run(portContext) })
	part(&port, "certificates", func() error { return m.creds.Run(portContext) })
	part(&port, "http", func() error { return m.api.Run(portContext) })
	for _, s := range servers {
		part(&port, s.name, func() error {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) && portContext.Err() == nil {
				return err
			}
			return nil
		})
	}
	part(&parts, "blobs", func() error { return m.keeper.Run(nodeContext, m.node.CaughtUp()) })
	part(&parts, "backups", func() error { return m.backups.Run(nodeContext) })
	part(&parts, "cluster", func() error {
		err := m.node.Run(nodeContext)
		if err == nil && nodeContext.Err() == nil {
			err = errors.New("the node ended by itself")
		}
		return err
	})
	m.log.Info("master started", "address", m.advertise, "id", m.ID(), "version", m.cfg.Version)

	select {
	case <-ctx.Done():
		m.log.Info("master stops")
	case <-m.crash:
		for _, s := range servers {
			s.server.Close()
		}
	case <-life.Done():
		m.log.Error("master cannot go on", "err", context.Cause(life))
	}
	m.end(base, servers)
	leave()
	if m.fsm.Err() != nil {
		m.fsm.Stop() // it stands still and would hold Raft for ever
	}
	parts.Wait()
	closePort()
	port.Wait()
	err := context.Cause(life)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, m.closeDirectory())
}

// end hands over and answers what is held. After a crash there is nothing to do in good order.
func (m *Master) end(base context.Context, servers []door) {
	m.health.Drain()
	select {
	case <-m.crash:
		close(m.stopping)
		return
	default:
	}
	bounded(base, stopTime, func(ctx context.Context) {
		if err := m.node.StepDown(ctx); err != nil {
			m.log.Warn("leadership not handed over; the others elect", "err", err)
		}
	})
	close(m.stopping)
	bounded(base, stopTime, func(ctx context.Context) {
		var group sync.WaitGroup
		for _, s := range servers {
			group.Go(func() {
				if err := s.server.Shutdown(ctx); err != nil {
					m.log.Warn("calls cut off at the stop", "door", s.name, "err", err)
					s.server.Close()
				}
			})
		}
		group.Wait()
	})
}

// closeDirectory closes log and lock. A disk that hangs must not keep the process alive: its lock ends with it.
func (m *Master) closeDirectory() error {
	done := make(chan error, 1)
	go func() { done <- m.dir.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopTime):
		return fmt.Errorf("data directory %s: a write does not end", m.cfg.DataDirectory)
	}
}

func bounded(ctx context.Context, limit time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f(ctx)
}

// door is one of the port's listeners with its server.
type door struct {
	name     string
	listener net.Listener
	server   *httpapi.Server
}

// servers are the doors: users and workers; those who have shown no certificate of this cluster, for whom the same
// handler has little; and the other masters, who may also ask what only masters may.
func (m *Master) servers() []door {
	bounds := httpapi.Bounds{Head: m.cfg.Times.Head, Idle: m.cfg.Times.Idle}
	public := httpapi.NewServer(m.api.Handler(), m.log, bounds)
	strangers := httpapi.NewServer(m.api.Handler(), m.log,
		httpapi.Bounds{Head: m.cfg.Times.Head, Idle: m.cfg.Times.IdleStranger})
	inner := http.NewServeMux()
	inner.Handle("/peer/blobs/", m.keeper.Handler())
	inner.Handle("GET "+status.Path, m.status)
	inner.Handle("/peer/", m.node.PeerHandler())
	inner.Handle("/", m.api.Handler())
	bounds.HeadBytes = 64 << 10 // a caller's whole head, and what a master adds to it
	peer := httpapi.NewServer(m.transport.PeerHandler(inner), m.log, bounds)
	return []door{{"https", m.transport.HTTP(), public}, {"strangers", m.transport.Strangers(), strangers},
		{"peers", m.transport.Peer(), peer}}
}
