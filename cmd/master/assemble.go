package master

import (
	"context"
	"net"
	"slices"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/admission"
	"scaleout/cluster/announce"
	"scaleout/cluster/backup"
	"scaleout/cluster/blobs"
	"scaleout/cluster/dispatch"
	"scaleout/cluster/gossip"
	"scaleout/cluster/leader"
	"scaleout/cluster/routine"
	"scaleout/cluster/segmenter"
	"scaleout/cluster/transport"
	"scaleout/cmd/master/health"
	"scaleout/cmd/master/metrics"
	"scaleout/cmd/master/status"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/httpapi"
	"scaleout/httpapi/service"
)

// assemble makes the rooms and connects them. A room that needs one that is made after it asks for it when it runs:
// nothing runs before Run.
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
		RetryJoin: cfg.RetryJoin, Fast: !cfg.WideArea(), Slow: cfg.WideArea(), Logger: m.log,
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
		Version: cfg.Version, Ready: func(ctx context.Context) bool { return m.health.Waiting(ctx) == "" },
		Credentials: m.creds, FreeBytes: m.dir.Free, MissingBlobs: m.keeper.Missing, DamagedBlobs: m.keeper.DamagedSinceStart,
		State: m.fsm, CaughtUp: m.node.CaughtUp(),
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

// routes makes the call path: the service, and HTTP as a door to it.
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
		Refusals:      &admission.Throttle{},
		PeerTransport: m.transport.PeerClient().Transport, PeerURL: peerURL,
		Limits: m.cfg.Limits,
		Ready:  m.health.Ready, Version: m.cfg.Version, MetricsOpen: m.cfg.MetricsOpen,
		Reached: reached, BodyTime: m.cfg.Times.Body, UploadRate: m.cfg.Times.UploadRate,
		Gatherer: m.cfg.Registry, Registerer: m.cfg.Registry, Logger: m.log,
	})
	return err
}

// routines are the leader routines. They are made before what they use, so they ask for it when they run.
func (m *Master) routines() []leader.Routine {
	run := func(name string, f func(ctx context.Context) error) leader.Routine {
		return leader.Routine{Name: name, Run: f}
	}
	return []leader.Routine{
		run("dispatch", func(ctx context.Context) error { return m.dispatch.Run(ctx) }),
		run("queue timeout", func(ctx context.Context) error { return m.dispatch.FailOverdue(ctx) }),
		run("announce", func(ctx context.Context) error { return m.announcer.Run(ctx) }),
		run("disks", func(ctx context.Context) error { return m.announcer.WatchDisks(ctx) }),
		run("messages", func(ctx context.Context) error { return m.packer.Run(ctx) }),
		run("heartbeat", func(ctx context.Context) error {
			return (&routine.Heartbeat{
				Interval: m.cfg.Heartbeat, Proposer: m.node, Masters: m.status.Beats, Contacts: m.dispatch.Contacts, Logger: m.log,
			}).Run(ctx)
		}),
		run("expiry", func(ctx context.Context) error {
			return (&routine.Expiry{Interval: m.cfg.Expiry, Leases: m.dispatch, Proved: m.node.Proved, Logger: m.log}).Run(ctx)
		}),
		run("cleanup", func(ctx context.Context) error {
			return (&routine.Cleanup{
				Interval: m.cfg.Cleanup, Proposer: m.node, State: m.fsm, Now: m.node.Now, NeverEnabled: m.cfg.ExpireNeverEnabled,
				Merge: m.packer.Merge, Logger: m.log,
			}).Run(ctx)
		}),
	}
}

// mayPromote says what a non-voter still lacks besides the log.
func (m *Master) mayPromote(ctx context.Context, id string) error {
	if m.cfg.Promote != nil {
		if err := m.cfg.Promote(ctx, id); err != nil {
			return err
		}
	}
	return m.keeper.Holds(ctx, id)
}
