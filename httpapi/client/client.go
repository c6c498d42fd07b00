package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says which masters there are and how to call them. Zero durations mean the defaults.
type Config struct {
	// Masters are the masters' addresses, "https://host:port". At least one is needed; SetMasters replaces the list.
	Masters []string
	// TLS holds the caller's certificate and the cluster's CA. Not used when HTTPClient is set.
	TLS *tls.Config
	// HTTPClient replaces the client's own transport.
	HTTPClient *http.Client
	// UserAgent is sent with each call; default "scaleout-client".
	UserAgent string
	Logger    *slog.Logger

	// Silence is how long a master may stay silent after it has got the whole request, before the next one is tried: 1 s.
	Silence time.Duration
	// Quiet is how long a master may stay silent after a sign of life (102 Processing, repeated every 3 s): 10 s.
	Quiet time.Duration
	// Timeout is how long a call is tried without success, unless its context ends earlier: 30 s. It also ends an attempt
	// that has not reached its master yet. The masters may forget a key that the library made after 3 min. So after an
	// attempt that may have been applied, such a call is tried again for at most 90 s, and its last attempt ends after at
	// most 150 s.
	Timeout time.Duration
	// LeaderWait is how long a master may hold a call while there is no leader. 0: the masters' own limit, 10 s.
	LeaderWait time.Duration
	// Waiting, if set, is called when a call has no answer yet and is tried further: after the first failed round through
	// the masters or after a second without a sign of life, whichever comes first. It is called once per outage, and again
	// only after a call was answered. The error names the masters that were tried and the result (ErrUnreachable, or a
	// master's own error); left is how long the call will be tried. Waiting may be called from another goroutine and must
	// return soon.
	Waiting func(err error, left time.Duration)
	// Backoff is the first pause after a round through all masters: 50 ms. The pauses grow to MaxBackoff: 2 s. Each has a
	// jitter of half its length.
	Backoff, MaxBackoff time.Duration
}

const (
	defaultSilence    = time.Second
	defaultQuiet      = 10 * time.Second
	defaultTimeout    = 30 * time.Second
	defaultBackoff    = 50 * time.Millisecond
	defaultMaxBackoff = 2 * time.Second
	libraryRetries    = 90 * time.Second       // so long after an attempt that may have been applied, no other one begins
	libraryEnd        = 150 * time.Second      // and so long after it, the last attempt ends
	longestHold       = 30 * time.Second       // a call that a master works on for longer does not wait for a leader
	noticeAfter       = time.Second            // so long without a sign of life, Config.Waiting is called
	minShare          = 250 * time.Millisecond // the shortest time for reaching one master
	stallTimeout      = 15 * time.Second       // a transfer that stands still for so long is given up
	exchangeGrace     = 5 * time.Second        // how much longer than its hold an exchange may take
)

// Client calls the masters. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
	log  *slog.Logger
	// grace is how much longer than its hold an exchange's final status may take.
	grace time.Duration

	mu           sync.Mutex
	masters      []string
	lastAnswered string // the master that answered last
	notified     bool   // Config.Waiting was called in this outage
}

// New checks the configuration and returns a client. It opens no connection.
func New(cfg Config) (*Client, error) {
	setDefault := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	setDefault(&cfg.Silence, defaultSilence)
	setDefault(&cfg.Quiet, defaultQuiet)
	setDefault(&cfg.Timeout, defaultTimeout)
	setDefault(&cfg.Backoff, defaultBackoff)
	setDefault(&cfg.MaxBackoff, defaultMaxBackoff)
	if cfg.UserAgent == "" {
		cfg.UserAgent = "scaleout-client"
	}
	c := &Client{cfg: cfg, http: cfg.HTTPClient, log: cfg.Logger, grace: exchangeGrace}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.http == nil {
		c.http = &http.Client{Transport: NewTransport(cfg.TLS), CheckRedirect: noRedirect}
	}
	masters, err := parseMasters(cfg.Masters)
	if err != nil {
		return nil, err
	}
	c.masters = masters
	return c, nil
}

// NewTransport returns the transport for calls to masters: HTTP/1.1 with keep-alive, no proxy, and bounds on
// connecting. HTTP/2 is slower here, since all calls would share one connection.
func NewTransport(conf *tls.Config) *http.Transport {
	if conf == nil {
		conf = &tls.Config{}
	}
	conf = conf.Clone()
	conf.MinVersion = tls.VersionTLS13
	conf.NextProtos = []string{"http/1.1"}
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 3 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// noRedirect follows no redirect: it would send the caller's certificate and secrets to an address that the answer
// names.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes idle connections. Calls may still be made afterwards.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Masters returns the addresses of the masters that the client knows.
func (c *Client) Masters() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.masters)
}

// SetMasters replaces the masters' addresses with those in the answer to an exchange. It refuses an empty or invalid
// list and changes nothing then: a client without masters could never learn of one again.
func (c *Client) SetMasters(addresses []string) error {
	masters, err := parseMasters(addresses)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.masters = masters
	return nil
}

// At returns a client of one master alone that shares this client's connections.
func (c *Client) At(master string) (*Client, error) {
	masters, err := parseMasters([]string{master})
	if err != nil {
		return nil, err
	}
	return &Client{cfg: c.cfg, http: c.http, log: c.log, grace: c.grace, masters: masters}, nil
}

// WithTimeout returns a client of the same masters with another Config.Timeout that shares this client's connections.
// It serves work that has begun and shall outlast an outage of the masters.
func (c *Client) WithTimeout(timeout time.Duration) *Client {
	cfg := c.cfg
	cfg.Timeout = timeout
	return &Client{cfg: cfg, http: c.http, log: c.log, grace: c.grace, masters: c.Masters()}
}

// parseMasters checks addresses and removes duplicates.
func parseMasters(addresses []string) ([]string, error) {
	var masters []string
	for _, m := range addresses {
		m = strings.TrimRight(strings.TrimSpace(m), "/")
		u, err := url.Parse(m)
		if err != nil {
			return nil, fmt.Errorf("client: master %q: %w", m, err)
		}
		if u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("client: master %q: an address like https://host:8391 was expected", m)
		}
		if !slices.Contains(masters, m) {
			masters = append(masters, m)
		}
	}
	if len(masters) == 0 {
		return nil, errors.New("client: no masters; at least one address like https://host:8391 is needed")
	}
	return masters, nil
}

// tryOrder returns the masters in the order in which a call tries them: the one that answered last, then the others in
// turn.
func (c *Client) tryOrder() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := max(slices.Index(c.masters, c.lastAnswered), 0)
	return slices.Concat(c.masters[i:], c.masters[:i])
}

// answeredBy makes further calls begin with this master, and ends an outage.
func (c *Client) answeredBy(master string) {
	c.mu.Lock()
	c.lastAnswered, c.notified = master, false
	c.mu.Unlock()
}
