package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster/admission"
	"scaleout/fsm/logkey"
)

// The protocols of the port, as ALPN names.
const (
	ALPNHTTP = "http/1.1"
	ALPNRaft = "scaleout-raft/1"
	ALPNPeer = "scaleout-peer/1"
)

// Errors of dialling and of being dialled.
var (
	ErrStopped      = errors.New("the transport has stopped")
	ErrCut          = errors.New("the raft transport has been cut")
	ErrUnknownNode  = errors.New("no address is known for the node")
	ErrWrongCluster = errors.New("the other side belongs to another cluster")
	ErrWrongNode    = errors.New("another node answers at this address")
	ErrBusy         = errors.New("the other side has too many connections")
	ErrNotReady     = errors.New("the other side does not take these connections now")
	ErrBadPreamble  = errors.New("malformed connection preamble")
)

// Security is what the transport needs to know about certificates. Both
// configurations must follow reloads by themselves.
type Security interface {
	// ServerTLS asks for client certificates without requiring them.
	ServerTLS(alpn ...string) *tls.Config
	// ClientTLS verifies the server for the ServerName that the caller sets.
	ClientTLS(alpn ...string) *tls.Config
	// VerifyPeer accepts exactly the certificates of masters of this cluster. It
	// is called within the handshake, on both sides, for Raft and peer connections.
	VerifyPeer(tls.ConnectionState) error
	// Holder is the name under which the connections of a valid client certificate of this cluster are counted; an error
	// means that there is none. It is called once for each HTTP connection.
	Holder(tls.ConnectionState) (string, error)
	// Changed is closed when the certificate or the trusted CAs have changed.
	Changed() <-chan struct{}
}

// Config of a Transport. Listener, Security, NodeID, ClusterID and Resolve are
// required.
type Config struct {
	// Listener is the open plain TCP listener of the port. Run closes it.
	Listener  net.Listener
	Security  Security
	NodeID    string // letters, digits, '-', '_' and '.'; at most 128
	ClusterID string // at most 128 bytes
	// Advertise is the host:port at which others reach this node, as it stands in
	// the Raft configuration. Empty: the listener's address.
	Advertise string
	// Resolve gives the host:port of a node. It is asked at every dial; the host
	// may be a name, which is then looked up.
	Resolve func(id string) (hostport string, ok bool)
	// Dial opens the TCP connection; nil is a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Masters are where other masters are known to be: "host" or "host:port", the host a name or an IP address; nil:
	// none. Connections from there, and from where a master has connected, are counted apart from everybody else's.
	Masters func() []string

	Limits       Limits
	Handshake    time.Duration // bound of a dial, and of TLS plus preamble on either side; 0: 5 s
	MaxPeerConns int           // open inbound Raft and peer connections, each; 0: 512
	RaftTimeout  time.Duration // bound of one Raft message and of silence within one; 0: 10 s
	MaxRaftPool  int           // idle Raft connections kept per node; 0: 3
	Retire       time.Duration // how long a busy connection may keep an old certificate; 0: 1 min

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

func (c *Config) complete() error {
	switch {
	case c.Listener == nil:
		return errors.New("transport: Listener is required")
	case c.Security == nil:
		return errors.New("transport: Security is required")
	case c.Resolve == nil:
		return errors.New("transport: Resolve is required")
	case !validNodeID(c.NodeID):
		return fmt.Errorf("transport: NodeID %q: want 1 to %d letters, digits, '-', '_' or '.'", c.NodeID, maxID)
	case c.ClusterID == "" || len(c.ClusterID) > maxID:
		return fmt.Errorf("transport: ClusterID %q: want 1 to %d bytes", c.ClusterID, maxID)
	}
	if c.Advertise == "" {
		c.Advertise = c.Listener.Addr().String()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	orDuration(&c.Handshake, 5*time.Second)
	orDuration(&c.RaftTimeout, 10*time.Second)
	orDuration(&c.Retire, time.Minute)
	c.Limits.complete()
	orInt(&c.MaxPeerConns, 512)
	orInt(&c.MaxRaftPool, 3)
	return nil
}

func orDuration(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

func orInt(n *int, otherwise int) {
	if *n <= 0 {
		*n = otherwise
	}
}

// Transport is one node's port and its connections to other masters.
type Transport struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	server  *tls.Config
	links   *registry
	outside *crowd // connections from anywhere
	inside  *crowd // connections from where masters are
	holders *admission.Pool
	known   addresses
	busy    atomic.Int64 // since when the accepting goroutine has been at work, in Unix nanoseconds; 0: it waits

	http, strangers, peer, raftIn *queue
	peers                         *peerRoundTripper
	refusals                      admission.Throttle

	raftOnce sync.Once
	raft     *Raft
	raftOpen atomic.Bool // Raft() has been called
	raftCut  atomic.Bool
}

// New checks cfg and makes a Transport. It starts nothing; until Run, inbound
// connections wait in the listener.
func New(cfg Config) (*Transport, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		cfg:       cfg,
		log:       cfg.Logger.With(slog.String(logkey.Component, "transport")),
		metrics:   m,
		links:     newRegistry(m),
		outside:   newCrowd(cfg.Limits, true),
		inside:    newCrowd(cfg.Limits, false),
		holders:   admission.New(admission.Limits{Max: cfg.Limits.Connections, PerKey: cfg.Limits.PerCertificate}),
		http:      newQueue(cfg.Listener.Addr()),
		strangers: newQueue(cfg.Listener.Addr()),
		peer:      newQueue(cfg.Listener.Addr()),
		raftIn:    newQueue(advertised(cfg.Advertise)),
	}
	t.server = serverConfig(cfg.Security)
	t.peers = newPeerRoundTripper(t)
	return t, nil
}

// Run accepts connections until ctx ends, then closes the listener and every
// connection, and returns when all it started has ended. It returns early, with
// an error, only if the listener breaks.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var wg sync.WaitGroup
	accepted := make(chan error, 1)
	wg.Go(func() { accepted <- t.accept(ctx) })
	wg.Go(func() { t.rotate(ctx) })
	wg.Go(func() { t.known.follow(ctx, t.cfg.Masters) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-accepted:
	}
	cancel()
	_ = t.cfg.Listener.Close()
	t.links.stop()
	if t.raftOpen.Load() {
		_ = t.Raft().Close()
	}
	for _, q := range []*queue{t.http, t.strangers, t.peer, t.raftIn} {
		_ = q.Close()
	}
	t.peers.closeIdle()
	wg.Wait()
	return err
}

// HTTP yields the connections of workers and users with a valid certificate, as
// *tls.Conn with the handshake done.
func (t *Transport) HTTP() net.Listener { return t.http }

// Strangers yields the HTTP connections that have shown no valid certificate:
// few, and closed when others want their places. Those for which a limit leaves
// no room come here too; Reached returns that limit.
func (t *Transport) Strangers() net.Listener { return t.strangers }

// Peer yields connections of verified masters, for an HTTP/1.1 server. Requests
// have their TLS field set; PeerID says which node calls. Wrap the server's
// handler in PeerHandler.
func (t *Transport) Peer() net.Listener { return t.peer }

// PeerClient is an HTTP client whose URLs name nodes: "https://<node-id>/path".
// It follows no redirects and has no time-out of its own.
func (t *Transport) PeerClient() *http.Client {
	return &http.Client{
		Transport:     t.peers,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ClosePeerConnections closes the open peer connections of both directions,
// whatever they are doing. New ones may be made afterwards.
func (t *Transport) ClosePeerConnections() {
	t.links.sever(protoPeer)
	t.peers.closeIdle()
}

// CutRaft closes every open Raft connection, both directions, at once and for
// good: from now on no Raft connection is dialled or accepted. It waits for
// nothing, so that it can be used while the disk stalls. Call it before waiting
// for Raft's shutdown: Raft cannot end while it receives a snapshot, and without
// the connection that ends.
func (t *Transport) CutRaft() {
	if t.raftCut.Swap(true) {
		return
	}
	t.links.refuse(protoRaft)
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "raft transport cut")
}

// Raft is the transport for raft.NewRaft. The first call starts the library's
// accepting goroutine, which ends with Raft.Close or with Run.
func (t *Transport) Raft() *Raft {
	t.raftOnce.Do(func() {
		t.raft = newRaft(t)
		t.raftOpen.Store(true)
	})
	return t.raft
}

// advertised is an address as it was configured; host names stay names.
type advertised string

func (a advertised) Network() string { return "tcp" }
func (a advertised) String() string  { return string(a) }
