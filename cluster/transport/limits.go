package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"scaleout/cluster/admission"
)

// The settings of a master that hold the limits. Refusals are logged and counted under these names.
const (
	LimitHandshakes     = "MaxHandshakes"
	LimitConnections    = "MaxConnections"
	LimitPerCertificate = "MaxConnectionsPerCertificate"
	LimitStrangers      = "MaxConnectionsWithoutCertificate"
	LimitPerAddress     = "MaxConnectionsPerAddress"
)

// Limits bound the inbound connections; zero means the default.
type Limits struct {
	Handshakes     int // TLS handshakes at a time; 1,024
	Connections    int // HTTP connections with a valid certificate; 10,000
	PerCertificate int // of them, for one name in a certificate; 512
	Strangers      int // HTTP connections without a valid certificate; 256
	PerAddress     int // of them, from one address; 32
	// Unlimited are the addresses without PerAddress; nil: loopback.
	Unlimited []netip.Prefix
}

func (l *Limits) complete() {
	orInt(&l.Handshakes, 1024)
	orInt(&l.Connections, 10_000)
	orInt(&l.PerCertificate, 512)
	orInt(&l.Strangers, 256)
	orInt(&l.PerAddress, 32)
	if l.Unlimited == nil {
		l.Unlimited = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
}

func (l *Limits) unlimited(address netip.Prefix) bool {
	for _, p := range l.Unlimited {
		if p.Contains(address.Addr()) || address.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// LimitError says which limit left no room for a connection.
type LimitError struct {
	Setting string
	Max     int
}

func (e *LimitError) Error() string {
	switch e.Setting {
	case LimitHandshakes:
		return fmt.Sprintf("%d TLS handshakes are under way, which is %s", e.Max, e.Setting)
	case LimitConnections:
		return fmt.Sprintf("%d connections with a certificate are open, which is %s", e.Max, e.Setting)
	case LimitPerCertificate:
		return fmt.Sprintf("%d connections are open under the name of one certificate, which is %s", e.Max, e.Setting)
	case LimitStrangers:
		return fmt.Sprintf("%d connections without a valid certificate are open, which is %s", e.Max, e.Setting)
	default:
		return fmt.Sprintf("%d connections without a valid certificate are open from one address, which is %s", e.Max,
			e.Setting)
	}
}

// Remedy is what the callers that hold the connections can do about it.
func (e *LimitError) Remedy() string { return "close some, or let them be used again" }

// RetryAfter is when a caller whose connection had no place may try again.
const RetryAfter = 5 * time.Second

// handshakeGrace is how long a handshake is safe from newcomers of its own address. A handshake takes milliseconds if
// nothing else needs the processor, and a rush of workers must be served in order.
const handshakeGrace = time.Second

// crowd is the bounds of connections that have not shown a certificate (yet).
type crowd struct {
	handshakes *admission.Pool
	strangers  *admission.Pool
	turns      *turns
}

// newCrowd makes the bounds of one crowd. The handshakes of masters never pause: a leader needs them to lead.
func newCrowd(l Limits, rests bool) *crowd {
	return &crowd{
		turns:      newTurns(max(1, runtime.GOMAXPROCS(0)/2), rests),
		handshakes: admission.New(admission.Limits{Max: l.Handshakes, Grace: handshakeGrace}),
		strangers:  admission.New(admission.Limits{Max: l.Strangers, PerKey: l.PerAddress}),
	}
}

// crowdOf returns where connections from an address are counted. Connections from masters' addresses are counted apart,
// so that strangers elsewhere cannot keep masters out. They are bounded too, because other programs may run on these
// machines.
func (t *Transport) crowdOf(address netip.Prefix) (c *crowd, exempt bool) {
	if t.known.has(address) {
		return t.inside, true
	}
	return t.outside, t.cfg.Limits.unlimited(address)
}

// admit finds a place for a new connection, without waiting. If there is none, it closes the connection and returns
// nil.
func (t *Transport) admit(ctx context.Context, raw net.Conn) *link {
	l, err := t.links.add(raw, protoNone, true)
	if err != nil {
		return nil
	}
	c, exempt := t.crowdOf(l.address)
	place, full := c.handshakes.Enter(l.address.String(), exempt,
		func(admission.Full) { t.evict(ctx, l, LimitHandshakes, t.cfg.Limits.Handshakes) })
	if full == admission.Free {
		err = l.hold(place)
	} else {
		err = &LimitError{LimitHandshakes, t.cfg.Limits.Handshakes}
	}
	if err != nil {
		l.reset()
		t.refused(ctx, raw.RemoteAddr().String(), err)
		return nil
	}
	return l
}

// evict closes a connection whose place was given to another one.
func (t *Transport) evict(ctx context.Context, l *link, setting string, most int) {
	l.reset()
	t.refused(ctx, l.RemoteAddr().String(), &LimitError{setting, most})
}

// settle gives an HTTP connection its place: under the name in its certificate, or among the strangers if it has none.
func (t *Transport) settle(ctx context.Context, cs tls.ConnectionState, l *link) error {
	if err := t.links.become(l, protoHTTP, 0); err != nil {
		return err
	}
	limits := &t.cfg.Limits
	name, err := t.cfg.Security.Holder(cs)
	if err == nil {
		place, full := t.holders.Take(name)
		if full == admission.Free {
			return l.hold(place)
		}
		l.reached = &LimitError{LimitConnections, limits.Connections}
		if full == admission.FullKey {
			l.reached = &LimitError{LimitPerCertificate, limits.PerCertificate}
		}
		t.refused(ctx, l.RemoteAddr().String(), l.reached)
	}
	l.stranger = true
	c, exempt := t.crowdOf(l.address)
	place, _ := c.strangers.Enter(l.address.String(), exempt, func(full admission.Full) {
		if full == admission.FullKey {
			t.evict(ctx, l, LimitPerAddress, limits.PerAddress)
			return
		}
		t.evict(ctx, l, LimitStrangers, limits.Strangers)
	})
	return l.hold(place)
}

// Reached returns the limit because of which a request's connection has no place among those with a valid certificate.
func Reached(r *http.Request) (*LimitError, bool) {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(linkAddr)
	if !ok || a.link.reached == nil {
		return nil, false
	}
	return a.link.reached, true
}

// linkAddr carries a connection to where a request is handled.
type linkAddr struct {
	net.Addr
	link *link
}

// LocalAddr is what net/http puts into a request's context; see Reached.
func (l *link) LocalAddr() net.Addr { return linkAddr{l.Conn.LocalAddr(), l} }

// reset closes the connection by a TCP reset, so that nothing of it stays in the kernel.
func (l *link) reset() {
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	l.sever()
}
