package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/announce"
	"scaleout/cluster/backup"
	"scaleout/cluster/blobs"
	"scaleout/cluster/dispatch"
	"scaleout/cluster/pki"
	"scaleout/cluster/segmenter"
	"scaleout/cluster/transport"
	"scaleout/cmd/master/config"
	"scaleout/cmd/master/health"
	"scaleout/cmd/master/logtail"
	"scaleout/cmd/master/status"
	"scaleout/fsm"
	"scaleout/fsm/logkey"
	"scaleout/httpapi"
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
	m.log = m.tail.Logger(cfg.Logger).With(slog.String(logkey.Node, m.cfg.Name))
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
