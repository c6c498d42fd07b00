package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster/admission"
	"scaleout/fsm/logkey"
)

// Config of a Gossip.
type Config struct {
	// Self is the first announcement; ID, Name and Address are required. Update changes it.
	Self Meta
	// ClusterID labels every packet: others are dropped. Required.
	ClusterID string
	// Key encrypts all gossip: 16, 24 or 32 bytes. Required.
	Key []byte
	// BindAddress is an IP address, default 0.0.0.0. Port is for TCP and UDP; 0 takes a free one.
	BindAddress string
	Port        int
	// AdvertiseAddress is the host name or IP address at which others reach this node's gossip. A name is resolved
	// once at start. Empty: the bind address, or the first private address of this machine.
	AdvertiseAddress string
	// RetryJoin are "host" or "host:port" of other masters; Port is the default port. Names are resolved anew at every
	// attempt, because the addresses behind them change.
	RetryJoin []string
	// RetryInterval is the pause between tries while some listed master is not among the members. Default 2 s.
	RetryInterval time.Duration
	// Fast shortens memberlist's intervals for clusters on one machine; Slow lengthens them for wide areas.
	Fast, Slow bool
	// OnEvent is called for every change, in order, from memberlist's goroutines. It must not block.
	OnEvent func(Event)
	// Limits bound what strangers may send. Master reports whether an address is a known master's; nil: none is known.
	Limits     Limits
	Master     func(net.Addr) bool
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Gossip is one master's part in the gossip.
type Gossip struct {
	cfg     Config
	log     *slog.Logger
	book    *book
	started chan struct{}
	asked   chan struct{}

	refused *prometheus.CounterVec

	mu   sync.Mutex
	self Meta
	addr string // where Run listens; "" until it does

	updates chan struct{}
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Gossip, error) {
	var errs []error
	for _, need := range []struct{ field, value string }{
		{"Self.ID", cfg.Self.ID}, {"Self.Name", cfg.Self.Name}, {"Self.Address", cfg.Self.Address}, {"ClusterID",
			cfg.ClusterID},
	} {
		if need.value == "" {
			errs = append(errs, fmt.Errorf("%s is empty", need.field))
		}
	}
	if err := memberlist.ValidateKey(cfg.Key); err != nil {
		errs = append(errs, fmt.Errorf("the gossip key has %d bytes; want 16, 24 or 32", len(cfg.Key)))
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		errs = append(errs, fmt.Errorf("gossip port %d: want 0 to 65535", cfg.Port))
	}
	if cfg.BindAddress == "" {
		cfg.BindAddress = "0.0.0.0"
	}
	if net.ParseIP(cfg.BindAddress) == nil {
		errs = append(errs, fmt.Errorf("gossip bind address %q is not an IP address", cfg.BindAddress))
	}
	for _, j := range cfg.RetryJoin {
		if _, err := withPort(j, max(cfg.Port, 1)); err != nil {
			errs = append(errs, fmt.Errorf("RetryJoin %q: want \"host\" or \"host:port\": %w", j, err))
		}
	}
	if len(cfg.ClusterID) > memberlist.LabelMaxSize {
		errs = append(errs, fmt.Errorf("cluster id of %d characters; want at most %d", len(cfg.ClusterID),
			memberlist.LabelMaxSize))
	}
	if _, err := cfg.Self.encode(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("gossip: %w", errors.Join(errs...))
	}
	if cfg.RetryInterval <= 0 {
		cfg.RetryInterval = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	g := &Gossip{cfg: cfg, log: cfg.Logger, self: cfg.Self, started: make(chan struct{}), asked: make(chan struct{}),
		updates: make(chan struct{}, 1)}
	var err error
	if g.refused, err = newRefused(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.book = newBook(cfg.Self.ID, cfg.Logger, cfg.OnEvent)
	return g, nil
}

// Run gossips until ctx ends, then announces that this node leaves, and stops. It fails at once if the port cannot be
// bound.
func (g *Gossip) Run(ctx context.Context) error {
	cfg, err := g.config(ctx)
	if err != nil {
		return err
	}
	port, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{cfg.BindAddr}, BindPort: cfg.BindPort, Logger: cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("gossip on %s port %d: %w", g.cfg.BindAddress, g.cfg.Port, err)
	}
	cfg.BindPort, cfg.AdvertisePort = port.GetAutoBindPort(), port.GetAutoBindPort()
	guard := newGuard(port, g.cfg.Limits, g.cfg.Master, g.log, g.refused)
	cfg.Transport = guard
	list, err := memberlist.Create(cfg)
	if err != nil {
		_ = guard.Shutdown()
		return fmt.Errorf("gossip on %s port %d: %w", g.cfg.BindAddress, g.cfg.Port, err)
	}
	// The address is read once, before anything can change it: memberlist goes on writing to the nodes that it returns.
	local := list.LocalNode()
	g.mu.Lock()
	g.addr = local.Address()
	g.mu.Unlock()
	close(g.started)

	var wg sync.WaitGroup
	wg.Go(func() { g.announce(ctx, list) })
	wg.Go(func() { g.join(ctx, list, int(local.Port)) })
	<-ctx.Done()
	wg.Wait()

	// After a goodbye the others accept the name at a new address at once, instead of after DeadNodeReclaimTime.
	if err := list.Leave(2 * time.Second); err != nil {
		g.log.LogAttrs(ctx, slog.LevelDebug, "gossip: the goodbye may not have reached anyone", slog.Any(logkey.Err, err))
	}
	if err := list.Shutdown(); err != nil {
		return fmt.Errorf("gossip: stop: %w", err)
	}
	return nil
}

// config returns memberlist's configuration.
func (g *Gossip) config(ctx context.Context) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	switch {
	case g.cfg.Fast:
		c = memberlist.DefaultLocalConfig()
		c.ProbeInterval, c.ProbeTimeout = 500*time.Millisecond, 200*time.Millisecond
		c.GossipInterval, c.PushPullInterval = 50*time.Millisecond, 5*time.Second
	case g.cfg.Slow:
		c = memberlist.DefaultWANConfig()
	}
	c.Name = g.cfg.Self.ID
	c.Label = g.cfg.ClusterID
	c.SecretKey = g.cfg.Key
	c.BindAddr, c.BindPort = g.cfg.BindAddress, g.cfg.Port
	c.DeadNodeReclaimTime = 30 * time.Second
	if g.cfg.Fast {
		c.DeadNodeReclaimTime = time.Second
	}
	c.Logger = log.New(lineWriter{g.log, &admission.Throttle{}}, "", 0)
	c.Delegate = delegate{g}
	c.Events = g.book
	c.Alive = g.book
	c.Conflict = g.book
	if g.cfg.AdvertiseAddress != "" {
		ip, err := resolve(ctx, g.cfg.AdvertiseAddress)
		if err != nil {
			return nil, fmt.Errorf("gossip: advertise address %q: %w", g.cfg.AdvertiseAddress, err)
		}
		c.AdvertiseAddr = ip.String()
	}
	return c, nil
}

func resolve(ctx context.Context, host string) (net.IP, error) {
	if ip := net.ParseIP(host); ip != nil {
		return ip, nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if ip.IP.To4() != nil {
			return ip.IP, nil
		}
	}
	if len(ips) > 0 {
		return ips[0].IP, nil
	}
	return nil, errors.New("the name has no address")
}

// join never stops trying: after a long partition both sides have forgotten each other, and only the list of RetryJoin
// brings them together again.
func (g *Gossip) join(ctx context.Context, list *memberlist.Memberlist, port int) {
	quiet := false
	for ctx.Err() == nil {
		missing := g.missing(ctx, port)
		if len(missing) > 0 {
			n, err := list.Join(missing)
			switch {
			case err != nil && n == 0 && !quiet:
				g.log.LogAttrs(ctx, slog.LevelInfo, "gossip: no listed master answers yet; trying on",
					slog.Any(logkey.Masters, missing), slog.String(logkey.Err, firstLine(err)))
				quiet = true
			case n > 0:
				quiet = false
			}
		}
		select {
		case <-g.asked:
		default:
			close(g.asked)
		}
		select {
		case <-ctx.Done():
		case <-time.After(g.cfg.RetryInterval):
		}
	}
}

// Asked reports whether every listed master has been called once since Run began, with or without success.
func (g *Gossip) Asked() bool {
	select {
	case <-g.asked:
		return true
	default:
		return false
	}
}

// missing returns the addresses behind RetryJoin at which no living member gossips.
func (g *Gossip) missing(ctx context.Context, port int) []string {
	known := make(map[string]bool)
	for _, m := range g.Members() {
		known[m.GossipAddress] = true
	}
	var missing []string
	for _, entry := range g.cfg.RetryJoin {
		hostport, err := withPort(entry, port)
		if err != nil {
			continue // New has refused these
		}
		host, p, _ := net.SplitHostPort(hostport)
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		if err != nil {
			missing = append(missing, hostport) // memberlist resolves it in other ways, and says why that fails
			continue
		}
		// A name with several addresses is a headless service: each address is a master's.
		for _, ip := range ips {
			if a := net.JoinHostPort(ip.IP.String(), p); !known[a] && !slices.Contains(missing, a) {
				missing = append(missing, a)
			}
		}
	}
	return missing
}

// withPort adds the port if entry has none.
func withPort(entry string, port int) (string, error) {
	if entry == "" {
		return "", errors.New("it is empty")
	}
	if strings.Contains(entry, "/") {
		return "", errors.New("it contains a slash")
	}
	if ip := net.ParseIP(entry); ip != nil || !strings.Contains(entry, ":") {
		return net.JoinHostPort(entry, strconv.Itoa(port)), nil
	}
	host, p, err := net.SplitHostPort(entry)
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 || host == "" {
		return "", fmt.Errorf("host %q, port %q", host, p)
	}
	return entry, nil
}

// announce spreads changes of this node's own announcement, one at a time.
func (g *Gossip) announce(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.updates:
			if err := list.UpdateNode(time.Second); err != nil {
				g.log.LogAttrs(ctx, slog.LevelDebug, "gossip: an update of this master's announcement spreads slowly",
					slog.Any(logkey.Err, err))
			}
		}
	}
}

// Update changes what this node announces and spreads it soon. It refuses names and addresses that are too long to
// spread.
func (g *Gossip) Update(change func(*Meta)) error {
	g.mu.Lock()
	next := g.self
	change(&next)
	next.ID = g.self.ID
	if next == g.self {
		g.mu.Unlock()
		return nil
	}
	if _, err := next.encode(); err != nil {
		g.mu.Unlock()
		return fmt.Errorf("gossip: %w", err)
	}
	g.self = next
	g.mu.Unlock()
	select {
	case g.updates <- struct{}{}:
	default:
	}
	return nil
}

// Self returns what this node announces.
func (g *Gossip) Self() Meta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self
}

// Members returns the living members: this node first, the others sorted by id.
func (g *Gossip) Members() []Member {
	self := Member{Meta: g.Self(), Alive: true, GossipAddress: g.Addr()}
	return append([]Member{self}, g.book.living()...)
}

// Member returns what was last heard of one node, whether or not it is alive.
func (g *Gossip) Member(id string) (Member, bool) {
	if self := g.Self(); id == self.ID {
		return Member{Meta: self, Alive: true, GossipAddress: g.Addr()}, true
	}
	return g.book.member(id)
}

// Address returns the last known "host:port" of a node, even if the node does not answer now.
func (g *Gossip) Address(id string) (string, bool) {
	m, ok := g.Member(id)
	return m.Address, ok && m.Address != ""
}

// Changed is closed at the next change of the members.
func (g *Gossip) Changed() <-chan struct{} { return g.book.waiter() }

// Started is closed when Run listens.
func (g *Gossip) Started() <-chan struct{} { return g.started }

// Addr returns where Run listens, as it is announced to the others, or "" before that.
func (g *Gossip) Addr() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addr
}

// delegate gives this node's announcement to memberlist. The rest of the interface is not used.
type delegate struct{ g *Gossip }

func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	b, err := d.g.self.encode()
	if err != nil {
		return nil // cannot happen: New and Update refuse what does not encode
	}
	return b
}
func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}
