package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"scaleout/fsm/logkey"
)

// Errors of a node's own certificate files.
var (
	ErrBadCredentials     = errors.New("the certificate files cannot be used")
	ErrThumbprintMismatch = errors.New("the certificate's thumbprint is not the configured one")
)

const (
	// A renewed certificate is to be in use within seconds.
	defaultPoll = 2 * time.Second
	// ExpiryWarning is how long before its end a certificate is warned about.
	ExpiryWarning = 30 * 24 * time.Hour
	warnEvery     = 24 * time.Hour
)

// Files are the PEM files of one node: the CAs to trust, the certificate with
// its intermediates, and its private key.
type Files struct{ CA, Cert, Key string }

// CredentialsConfig says which files to use and how to check them.
type CredentialsConfig struct {
	Files
	// Thumbprint is SSLCertThumbprint: empty for no check, else the SHA-1 or
	// SHA-256 that the own certificate must have.
	Thumbprint string
	// Pins is MasterHttpsCertThumbprint: empty, or a comma-separated list of
	// thumbprints of which a server's certificate or one of its CAs must have one.
	Pins   string
	Logger *slog.Logger  // nil: slog.Default()
	Poll   time.Duration // how often Run looks at the files; 0: 2 s
}

// Credentials are one node's certificate files as they are now: reloaded while
// the process runs, and never replaced by a set that could not be used. Safe for
// concurrent use.
type Credentials struct {
	cfg  CredentialsConfig
	log  *slog.Logger
	pins Pins

	set    atomic.Pointer[fileSet]
	reload sync.Mutex // one load at a time

	mu      sync.Mutex
	changed chan struct{}
}

// OpenCredentials reads and checks the files. Its errors wrap ErrBadCredentials
// (or ErrThumbprintMismatch) and name the file, what is wrong with it and what
// would be right. It starts nothing; Run watches.
func OpenCredentials(cfg CredentialsConfig) (*Credentials, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Poll <= 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Thumbprint != "" {
		if err := checkThumbprint(cfg.Thumbprint, normalizeThumbprint(cfg.Thumbprint)); err != nil {
			return nil, fmt.Errorf("SSLCertThumbprint: %w", err)
		}
	}
	pins, err := ParsePins(cfg.Pins)
	if err != nil {
		return nil, fmt.Errorf("MasterHttpsCertThumbprint: %w", err)
	}
	c := &Credentials{cfg: cfg, log: cfg.Logger, pins: pins, changed: make(chan struct{})}
	set, err := loadSet(cfg.Files, cfg.Thumbprint, time.Now())
	if err != nil {
		return nil, err
	}
	c.set.Store(set)
	return c, nil
}

// Identity is who the current certificate says that this node is.
func (c *Credentials) Identity() Identity { return c.set.Load().identity }

// Leaf is the current certificate. It must not be changed.
func (c *Credentials) Leaf() *x509.Certificate { return c.set.Load().cert.Leaf }

// NotAfter is when the current certificate expires.
func (c *Credentials) NotAfter() time.Time { return c.Leaf().NotAfter }

// CAs are the certificates that are trusted now. They must not be changed.
func (c *Credentials) CAs() []*x509.Certificate { return c.set.Load().roots }

// Changed is closed when the files have been reloaded and differ; each later
// change has its own channel, so ask again after each.
func (c *Credentials) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Reload reads the files now. If they cannot be used the old set stays and the
// error says why. Unchanged files are no change.
func (c *Credentials) Reload(ctx context.Context) error {
	c.reload.Lock()
	defer c.reload.Unlock()
	set, err := loadSet(c.cfg.Files, c.cfg.Thumbprint, time.Now())
	if err != nil {
		return err
	}
	old := c.set.Load()
	if set.identity.Cluster != old.identity.Cluster {
		return fmt.Errorf("%w: %s is for cluster %s, this node belongs to %s", ErrBadCredentials, c.cfg.Cert,
			set.identity.Cluster, old.identity.Cluster)
	}
	if set.identity.Role != old.identity.Role || set.identity.Name != old.identity.Name {
		return fmt.Errorf("%w: %s is for %s, this node is %s", ErrBadCredentials, c.cfg.Cert, set.identity, old.identity)
	}
	if set.same(old) {
		return nil
	}
	c.set.Store(set)
	c.mu.Lock()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	_, print := Thumbprints(set.cert.Leaf)
	c.log.LogAttrs(ctx, slog.LevelInfo, "certificate files reloaded",
		slog.String(logkey.Name, set.identity.String()), slog.String(logkey.Thumbprint, print),
		slog.Time(logkey.NotAfter, set.cert.Leaf.NotAfter), slog.Int(logkey.CAs, len(set.roots)))
	return nil
}

// Run watches the files until ctx ends and takes up a new set when there is a
// usable one. Files are replaced one after the other, so a set that does not fit
// together is warned about only once it has stopped changing. It also warns,
// daily, of a certificate that is about to expire.
func (c *Credentials) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Poll)
	defer tick.Stop()
	w := watcher{c: c, taken: c.set.Load().stamps}
	w.warnOfExpiry(ctx, time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			w.look(ctx)
			w.warnOfExpiry(ctx, now)
		}
	}
}

type watcher struct {
	c      *Credentials
	taken  stamps // of the last set that was loaded
	failed stamps // of the last set that could not be
	logged bool   // that the failed set is unusable
	warned time.Time
}

func (w *watcher) look(ctx context.Context) {
	seen := stampsOf(w.c.cfg.Files)
	if seen == w.taken {
		return
	}
	// A set that failed is tried again each time: it may have been not valid yet.
	err := w.c.Reload(ctx)
	switch {
	case err == nil:
		w.taken = seen
	case seen != w.failed:
		w.failed, w.logged = seen, false
	case !w.logged:
		w.logged = true
		w.c.log.LogAttrs(ctx, slog.LevelWarn,
			"new certificate files cannot be used; the old ones stay in use", slog.Any(logkey.Err, err))
	}
}

func (w *watcher) warnOfExpiry(ctx context.Context, now time.Time) {
	left := w.c.NotAfter().Sub(now)
	if left > ExpiryWarning || (!w.warned.IsZero() && now.Sub(w.warned) < warnEvery) {
		return
	}
	w.warned = now
	w.c.log.LogAttrs(ctx, slog.LevelWarn,
		"this node's certificate expires soon; `scaleout ca renew` makes a new one",
		slog.String(logkey.Name, w.c.Identity().String()), slog.Time(logkey.NotAfter, w.c.NotAfter()),
		slog.Duration(logkey.Left, left.Round(time.Minute)))
}

// ServerTLS is a TLS 1.3 server configuration that presents the certificate of
// the moment. Client certificates are asked for but not judged in the handshake:
// the caller gives them to Verify, and can so answer with a proper error.
func (c *Credentials) ServerTLS(alpn ...string) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		ClientAuth: tls.RequestClientCert,
		// A resumed session would carry the verdict of an older CA file.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.set.Load().cert, nil
		},
	}
	config := base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return base, nil
	}
	return config
}

// ClientTLS is a TLS 1.3 client configuration: it presents the certificate of the
// moment and accepts only a master of this cluster, by the CAs of the moment,
// whose certificate names the host that was dialled and matches the pins.
//
// crypto/tls does not tell its verifier a host that is an IP address; for those
// the address is not compared unless the connection is made with DialTLS.
func (c *Credentials) ClientTLS(alpn ...string) *tls.Config {
	return c.clientTLS("", alpn)
}

func (c *Credentials) clientTLS(host string, alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             alpn,
		ServerName:             host,
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// Always ours, even if the server hints at other CAs: its own error is
			// clearer than "no certificate".
			return &c.set.Load().cert, nil
		},
		// RootCAs would be fixed for as long as this value is used. The check is made in
		// VerifyConnection, against the CAs of the moment.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			name := host
			if name == "" {
				name = cs.ServerName
			}
			if err := c.verifyServer(cs.PeerCertificates, name); err != nil {
				// As crypto/tls would say it, so that callers can tell it from a master that is not there.
				return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
			}
			return nil
		},
	}
}
