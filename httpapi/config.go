package httpapi

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/view"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// Member is this node's place in the cluster, as it believes.
type Member interface {
	ID() string
	Name() string
	// Place is where the leader is. Its Leader.Address is "https://host:port".
	Place() forward.Place
	// Changed is closed at the next change of the leader, of the term, or of this node's readiness to lead.
	Changed() <-chan struct{}
	// Stopping is closed when this node is about to stop.
	Stopping() <-chan struct{}
}

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
	// HashAt waits until the state is exactly at index; fsm.ErrIndexPassed when it is past it.
	HashAt(ctx context.Context, index uint64) (string, error)
}

// Blobs is the cluster's blobs. Its errors wrap the outcomes of blobs that package command declares,
// where they apply.
type Blobs interface {
	procedure.BlobStore
	// Put stores what r holds, of that digest, for the caller of that name, on a majority and returns its size; size is
	// what r is said to hold, -1 when that is not known. Nothing is kept when the content has another digest.
	// *LimitReached when the caller has uploaded too much that nothing names.
	Put(ctx context.Context, by, digest string, size int64, r io.Reader) (int64, error)
}

// Cluster is the cluster as an operator sees it. Its errors wrap command.ErrUnknownMember or ErrRefused where they
// apply.
type Cluster interface {
	Status(ctx context.Context) (wire.ClusterStatus, error)
	// Peers are the addresses of the voters, "host:port".
	Peers() []string
	// Masters are the addresses that workers shall use, "https://host:port".
	Masters() []string
	// Transfer hands leadership to a member by id or name; "" lets the leader choose.
	Transfer(ctx context.Context, to string) error
	// Remove takes a member by id or name out of the configuration; force does so even when blobs lose their majority.
	Remove(ctx context.Context, member string, force bool) error
}

// Config is everything that an API needs. Unless marked optional, a field is required.
type Config struct {
	Member   Member
	Proposer Proposer
	State    State
	Workers  service.Workers
	Blobs    Blobs
	Cluster  Cluster
	// Backups makes backups and restores them; optional.
	Backups Backups
	// Debug is this master for a bundle, its goroutines excepted; optional.
	Debug func() wire.Debug

	// Identify tells whose certificate chain (leaf first, as the peer sent it) this is. Its errors wrap
	// ErrCertificateRequired or ErrUnknownCluster where they apply, with the fingerprint in the latter's text; others
	// mean a certificate that is not valid now.
	Identify func(chain []*x509.Certificate) (command.Caller, error)
	// Peer tells whether a request came over a connection that another master authenticated with its certificate, and
	// that master's id. Only there are the forwarding headers believed.
	Peer func(*http.Request) (node string, ok bool)
	// PeerTransport reaches other masters; PeerURL is a leader's base URL for it.
	PeerTransport http.RoundTripper
	PeerURL       func(wire.Leader) string

	// Live is the leader's memory; optional.
	Live view.Live
	// Messages opens message segments; optional.
	Messages view.MessageSource
	// Seal and Open are the key ring.
	Seal func(plaintext []byte, associated string) (*command.Sealed, error)
	Open func(s *command.Sealed, associated string) ([]byte, error)
	// Settings are those that plans use.
	Settings func() procedure.Config

	// Ready lists the conditions of readiness. The node is ready when all are OK.
	Ready func(ctx context.Context) []wire.Check
	// Version is shown in the OpenAPI document.
	Version string
	// MetricsOpen lets anybody read /metrics.
	MetricsOpen bool
	Gatherer    prometheus.Gatherer
	Registerer  prometheus.Registerer // optional
	Logger      *slog.Logger          // optional

	// Limits bound what one caller may take of this master; optional.
	Limits Limits

	// Reached tells the limit that leaves no room for a request's connection, nil for none; optional.
	Reached func(*http.Request) *LimitReached
	// BodyTime is how long a caller may take to send a body that is read into memory; optional, 30 s.
	BodyTime time.Duration
	// UploadRate is how many bytes a second a streamed body must bring; optional, 4 KiB. It may fall behind by a minute.
	UploadRate int64
	// Hold is how long a call waits for a leader; optional, 10 s.
	Hold time.Duration
	// Timeout is how long a call may take on the leader once it got there, waiting calls excepted; optional, 30 s.
	Timeout time.Duration
	// Processing is after how long a caller without an answer is told that the call is being worked on; optional, 200 ms.
	Processing time.Duration
}

func (c *Config) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Member", c.Member == nil}, {"Proposer", c.Proposer == nil}, {"State", c.State == nil},
		{"Workers", c.Workers == nil},
		{"Blobs", c.Blobs == nil}, {"Cluster", c.Cluster == nil}, {"Identify", c.Identify == nil}, {"Peer", c.Peer == nil},
		{"PeerTransport", c.PeerTransport == nil}, {"PeerURL", c.PeerURL == nil},
		{"Seal", c.Seal == nil}, {"Open", c.Open == nil},
		{"Settings", c.Settings == nil},
		{"Ready", c.Ready == nil}, {"Gatherer", c.Gatherer == nil},
	} {
		if f.missing {
			return errors.New("httpapi: " + f.name + " is required")
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Hold <= 0 {
		c.Hold = 10 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Processing <= 0 {
		c.Processing = 200 * time.Millisecond
	}
	return nil
}
