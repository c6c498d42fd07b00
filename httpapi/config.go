package httpapi

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"scaleout/fsm/command"
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

// Throttle says which log lines are written where strangers decide how often there is something to log.
type Throttle interface {
	// Due reports whether a line with the reason may be written now, and how many were left out since the last one.
	Due(reason string, now time.Time) (silent int, ok bool)
}

// Config is everything that an API needs. Unless marked optional, a field is required.
type Config struct {
	Member  Member
	Service *service.Service
	Cluster Cluster
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
	// Refusals is for the log lines about callers who are not of this cluster; the reasons are codes.
	Refusals Throttle
	// PeerTransport reaches other masters; PeerURL is a leader's base URL for it.
	PeerTransport http.RoundTripper
	PeerURL       func(wire.Leader) string

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
	Reached func(*http.Request) *service.LimitReached
	// BodyTime is how long a caller may take to send a body that is read into memory; optional, 30 s.
	BodyTime time.Duration
	// UploadRate is how many bytes a second a streamed body must bring; optional, 4 KiB. It may fall behind by a minute.
	UploadRate int64
	// Hold is how long a call waits for a leader; optional, 10 s.
	Hold time.Duration
	// Processing is after how long a caller without an answer is told that the call is being worked on; optional, 200 ms.
	Processing time.Duration
}

func (c *Config) check() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Member", c.Member == nil}, {"Service", c.Service == nil}, {"Cluster", c.Cluster == nil},
		{"Identify", c.Identify == nil}, {"Peer", c.Peer == nil}, {"Refusals", c.Refusals == nil},
		{"PeerTransport", c.PeerTransport == nil}, {"PeerURL", c.PeerURL == nil},
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
	if c.Processing <= 0 {
		c.Processing = 200 * time.Millisecond
	}
	return nil
}
