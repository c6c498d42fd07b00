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

// Config says which masters there are and how to talk to them. The zero durations mean the defaults.
type Config struct {
	// Masters are the masters' addresses, "https://host:port". At least one; others can come later (SetMasters).
	Masters []string
	// TLS holds the caller's certificate and the cluster's CA. Not used when HTTPClient is set.
	TLS *tls.Config
	// HTTPClient replaces the client's own transport.
	HTTPClient *http.Client
	// UserAgent is sent with each call; default "scaleout-client".
	UserAgent string
	Logger    *slog.Logger

	// Silence is how long a master may stay silent after it got the whole request before the next one is tried: 1 s.
	Silence time.Duration
	// Quiet is how long a master may stay silent after a sign of life (102 Processing, repeated every 3 s): 10 s.
	Quiet time.Duration
	// Patience is how long a call is tried without success when its context does not end it before: 30 s. It also ends an
	// attempt that has not reached its master yet. A call whose key the library made is tried again for at most 90 s
	// after a try that may have been applied, and its last try ends 150 s after that one, since the masters may forget
	// such keys after 3 min.
	Patience time.Duration
	// LeaderWait is how long a master may hold a call while nobody leads before it says so. 0: as long as masters do by
	// themselves, 10 s.
	LeaderWait time.Duration
	// Waiting, when set, is told that a call has no answer yet and is tried on: after the first round through the masters
	// that failed or after a second without a sign of life, whichever is first, and not again before a call was answered.
	// The error says who was tried and how that ended (ErrUnreachable, or a master's own words); left is for how long the
	// call will be tried. It may be called from another goroutine and must return soon.
	Waiting func(err error, left time.Duration)
	// Backoff is the first pause after a round through all masters: 50 ms; pauses grow to MaxBackoff (2 s), each with a
	// jitter of half its length.
	Backoff, MaxBackoff time.Duration
}

const (
	defaultSilence    = time.Second
	defaultQuiet      = 10 * time.Second
	defaultPatience   = 30 * time.Second
	defaultBackoff    = 50 * time.Millisecond
	defaultMaxBackoff = 2 * time.Second
	libraryPatience   = 90 * time.Second       // after a try that may have been applied, no further one begins
	libraryEnd        = 150 * time.Second      // and the last one ends
	longestHold       = 30 * time.Second       // a call that a master works on for longer does not wait for a leader
	noticeAfter       = time.Second            // without a sign of life: Config.Waiting is told
	leastShare        = 250 * time.Millisecond // for reaching one master
	stall             = 15 * time.Second       // a body that does not move for so long is given up
	exchangeGrace     = 5 * time.Second        // beyond an exchange's own hold
)

// Client calls the masters. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
	log  *slog.Logger
	// grace is how long an exchange's final status may take beyond its own hold.
	grace time.Duration

	mu      sync.Mutex
	masters []string
	good    string // the one that answered last
	told    bool   // Config.Waiting was told of this outage
}

// New checks the configuration and makes a client. It opens no connection.
func New(cfg Config) (*Client, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.Silence, defaultSilence)
	def(&cfg.Quiet, defaultQuiet)
	def(&cfg.Patience, defaultPatience)
	def(&cfg.Backoff, defaultBackoff)
	def(&cfg.MaxBackoff, defaultMaxBackoff)
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
	masters, err := clean(cfg.Masters)
	if err != nil {
		return nil, err
	}
	c.masters = masters
	return c, nil
}

// NewTransport is the transport that masters are talked to with: HTTP/1.1 with keep-alive (faster here than HTTP/2,
// whose connections all calls would share), no proxy, and bounds on connecting.
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

// A redirect would send the caller's certificate and secrets to whoever the answer names.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes idle connections. Calls may still be made afterwards.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Masters returns the masters that the client knows.
func (c *Client) Masters() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.masters)
}

// SetMasters replaces the list of masters, as an exchange's answer brings it. An empty or faulty list is refused and
// changes nothing: a client without masters could never learn of one again.
func (c *Client) SetMasters(list []string) error {
	masters, err := clean(list)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.masters = masters
	return nil
}

// At returns a client of one master alone that shares this one's connections.
func (c *Client) At(master string) (*Client, error) {
	masters, err := clean([]string{master})
	if err != nil {
		return nil, err
	}
	return &Client{cfg: c.cfg, http: c.http, log: c.log, grace: c.grace, masters: masters}, nil
}

// Patient returns a client of the same masters with another patience that shares this one's connections: for what has
// begun and shall outlast an absence of the masters.
func (c *Client) Patient(patience time.Duration) *Client {
	cfg := c.cfg
	cfg.Patience = patience
	return &Client{cfg: cfg, http: c.http, log: c.log, grace: c.grace, masters: c.Masters()}
}

func clean(list []string) ([]string, error) {
	var out []string
	for _, m := range list {
		m = strings.TrimRight(strings.TrimSpace(m), "/")
		u, err := url.Parse(m)
		if err != nil {
			return nil, fmt.Errorf("client: master %q: %w", m, err)
		}
		if u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("client: master %q: an address like https://host:8391 was expected", m)
		}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("client: no masters; at least one address like https://host:8391 is needed")
	}
	return out, nil
}

// round is the order in which masters are tried: the one that answered last, then the others in their order.
func (c *Client) round() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := max(slices.Index(c.masters, c.good), 0)
	return slices.Concat(c.masters[i:], c.masters[:i])
}

func (c *Client) remember(master string) {
	c.mu.Lock()
	c.good, c.told = master, false
	c.mu.Unlock()
}
