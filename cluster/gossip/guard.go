package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"scaleout/cluster/admission"
	"scaleout/fsm/logkey"
)

// The settings of a master that hold the limits. Refusals are logged and counted under these names.
const (
	LimitConnections = "MaxGossipConnections"
	LimitBytes       = "MaxGossipBytes"
	LimitFrom        = "GossipOnlyFrom"
)

// Limits bound what arrives at the gossip port before the key is checked. Zero means the default.
type Limits struct {
	Connections int   // TCP connections from addresses that are not masters', and as many again from masters'; 32
	Bytes       int64 // of one connection; 128 KiB
	// OnlyFrom are the networks that may gossip, besides the addresses of known masters. If it is empty, all may.
	OnlyFrom []netip.Prefix
}

// perAddress is the part of Limits.Connections that one address may have.
const perAddress = 4 // a quarter

// guard stands in front of memberlist, which would take any number of connections, and up to 20 MiB of each, before it
// checks the key.
type guard struct {
	*memberlist.NetTransport
	limits   Limits
	master   func(net.Addr) bool
	log      *slog.Logger
	refusals admission.Throttle
	refused  *prometheus.CounterVec
	outside  *admission.Pool
	inside   *admission.Pool // from masters' addresses: strangers elsewhere cannot keep masters out

	streams chan net.Conn
	packets chan *memberlist.Packet
	done    chan struct{}
	group   sync.WaitGroup
}

func newGuard(inner *memberlist.NetTransport, l Limits, master func(net.Addr) bool, log *slog.Logger,
	refused *prometheus.CounterVec) *guard {
	if l.Connections == 0 {
		l.Connections = 32
	}
	if l.Bytes == 0 {
		l.Bytes = 128 << 10
	}
	if master == nil {
		master = func(net.Addr) bool { return false }
	}
	g := &guard{
		NetTransport: inner, limits: l, master: master, log: log, refused: refused,
		outside: admission.New(admission.Limits{Max: l.Connections, PerKey: max(1, l.Connections/perAddress)}),
		inside:  admission.New(admission.Limits{Max: l.Connections}),
		streams: make(chan net.Conn), packets: make(chan *memberlist.Packet), done: make(chan struct{}),
	}
	g.group.Go(g.takeStreams)
	g.group.Go(g.takePackets)
	return g
}

// newRefused makes the counter of what the guard refuses.
func newRefused(reg prometheus.Registerer) (*prometheus.CounterVec, error) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scaleout_gossip_refused_total",
		Help: "Gossip connections that were refused or closed, and packets that were dropped, by the setting that says so.",
	}, []string{"reason"})
	for _, reason := range []string{LimitConnections, LimitBytes, LimitFrom} {
		v.WithLabelValues(reason)
	}
	if reg == nil {
		return v, nil
	}
	return v, reg.Register(v)
}

// StreamCh and PacketCh are the channels that memberlist reads.
func (g *guard) StreamCh() <-chan net.Conn           { return g.streams }
func (g *guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

func (g *guard) takeStreams() {
	for {
		select {
		case <-g.done:
			return
		case raw := <-g.NetTransport.StreamCh():
			s := g.admit(raw)
			if s == nil {
				continue
			}
			select {
			case g.streams <- s:
			case <-g.done:
				_ = s.Close()
			}
		}
	}
}

func (g *guard) takePackets() {
	for {
		select {
		case <-g.done:
			return
		case p := <-g.NetTransport.PacketCh():
			if !g.allowed(p.From) {
				g.refuse(p.From, LimitFrom)
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
			}
		}
	}
}

func (g *guard) allowed(a net.Addr) bool {
	if len(g.limits.OnlyFrom) == 0 || g.master(a) {
		return true
	}
	ip := admission.Address(a).Addr()
	if x, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ip = x.AddrPort().Addr().Unmap().WithZone("")
	}
	for _, p := range g.limits.OnlyFrom {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// admit finds a place for a connection. If there is none, it closes the connection and returns nil.
func (g *guard) admit(raw net.Conn) *stream {
	from := raw.RemoteAddr()
	if !g.allowed(from) {
		g.refuse(from, LimitFrom)
		reset(raw)
		return nil
	}
	pool := g.outside
	if g.master(from) {
		pool = g.inside
	}
	s := &stream{Conn: raw, guard: g, left: g.limits.Bytes}
	place, _ := pool.Enter(admission.Address(from).String(), false, func(admission.Full) {
		g.refuse(from, LimitConnections)
		reset(raw)
	})
	s.place = place
	return s
}

func (g *guard) refuse(from net.Addr, setting string) {
	g.refused.WithLabelValues(setting).Inc()
	if silent, due := g.refusals.Due(setting, time.Now()); due {
		g.log.LogAttrs(context.Background(), slog.LevelWarn, "gossip refused", slog.String(logkey.Reason, setting),
			slog.String(logkey.Remote, from.String()), slog.Int(logkey.MoreSinceLast, silent))
	}
}

// DialAddressTimeout and DialTimeout bound what the other side may answer, because whoever answers at a master's
// address need not be a master.
func (g *guard) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	raw, err := g.NetTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return &stream{Conn: raw, guard: g, left: g.limits.Bytes}, nil
}

func (g *guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// Shutdown closes the port. Transfers that are under way end with their connections.
func (g *guard) Shutdown() error {
	err := g.NetTransport.Shutdown() // its goroutines only end while somebody receives what they send
	close(g.done)
	g.group.Wait()
	return err
}

// reset closes a connection by a TCP reset, so that nothing of it stays in the kernel.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

var errTooMuch = errors.New("more bytes than one gossip connection may bring")

// stream is one inbound connection with a bound on its bytes. memberlist bounds its time.
type stream struct {
	net.Conn
	guard *guard
	place *admission.Place
	left  int64
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.guard.refuse(s.RemoteAddr(), LimitBytes)
		return 0, fmt.Errorf("%w: %d is %s", errTooMuch, s.guard.limits.Bytes, LimitBytes)
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.Conn.Read(p)
	s.left -= int64(n)
	return n, err
}

func (s *stream) Close() error {
	s.place.Leave()
	return s.Conn.Close()
}
