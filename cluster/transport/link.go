package transport

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"scaleout/cluster/admission"
)

type proto string

const (
	protoNone proto = "handshake"
	protoHTTP proto = "http"
	protoRaft proto = "raft"
	protoPeer proto = "peer"
)

// link is one TCP connection that the transport knows, below its TLS. It is in
// the registry until it is closed.
type link struct {
	net.Conn
	reg     *registry
	inbound bool

	address netip.Prefix // of the other side; zero: unknown

	turns atomic.Pointer[turns] // set while the handshake goes on
	// since when it is this handshake's turn to compute; only the handshake's goroutine uses it
	turn time.Time

	// Set before the connection is handed to its server, by the goroutine of the handshake.
	stranger bool
	reached  *LimitError // the limit for which it is among the strangers

	// Guarded by reg.mu.
	place *admission.Place
	proto proto
	gen   uint64    // certificate generation under which it was made
	aged  time.Time // when it was first found to be of an old generation

	severed atomic.Bool
	once    sync.Once
	upper   atomic.Pointer[conn] // nil for HTTP
}

// Close is called by whoever uses the connection.
func (l *link) Close() error {
	var err error
	l.once.Do(func() {
		l.reg.remove(l)
		err = l.Conn.Close()
	})
	return err
}

// sever closes the connection under its user.
func (l *link) sever() {
	l.severed.Store(true)
	_ = l.Close()
}

// registry knows every open connection.
type registry struct {
	metrics *metrics

	mu      sync.Mutex
	links   map[*link]struct{}
	counts  map[proto]int // inbound
	refused map[proto]bool
	stopped bool
	gen     uint64
}

func newRegistry(m *metrics) *registry {
	return &registry{metrics: m, links: map[*link]struct{}{}, counts: map[proto]int{}, refused: map[proto]bool{}}
}

// add takes up a new connection. It closes it and fails when the transport has
// stopped or, for p, connections are refused.
func (r *registry) add(raw net.Conn, p proto, inbound bool) (*link, error) {
	l := &link{Conn: raw, reg: r, inbound: inbound, proto: p, address: admission.Address(raw.RemoteAddr())}
	r.mu.Lock()
	err := r.refusal(p)
	if err == nil {
		l.gen = r.gen
		r.links[l] = struct{}{}
		r.count(l, 1)
	}
	r.mu.Unlock()
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	keepAlive(raw)
	return l, nil
}

// become says what an inbound connection turned out to be; limit bounds how many of that kind may be open, 0 means no
// limit.
func (r *registry) become(l *link, p proto, limit int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refusal(p); err != nil {
		return err
	}
	if _, open := r.links[l]; !open {
		return net.ErrClosed
	}
	if limit > 0 && r.counts[p] >= limit {
		return ErrBusy
	}
	r.count(l, -1)
	l.proto = p
	r.count(l, 1)
	return nil
}

func (r *registry) refusal(p proto) error {
	switch {
	case r.stopped:
		return ErrStopped
	case r.refused[p]:
		return ErrCut
	}
	return nil
}

func (r *registry) count(l *link, d int) {
	if l.inbound {
		r.counts[l.proto] += d
	}
	r.metrics.open(l.proto, l.inbound, d)
}

func (r *registry) remove(l *link) {
	r.mu.Lock()
	_, ok := r.links[l]
	place := l.place
	l.place = nil
	if ok {
		delete(r.links, l)
		r.count(l, -1)
	}
	r.mu.Unlock()
	place.Leave()
}

// hold takes another place for the one that the link held. It fails, and gives the new one back, when the link is
// closed.
func (l *link) hold(place *admission.Place) error {
	l.reg.mu.Lock()
	_, open := l.reg.links[l]
	old := l.place
	if open {
		l.place = place
	}
	l.reg.mu.Unlock()
	if !open {
		place.Leave()
		return net.ErrClosed
	}
	old.Leave()
	return nil
}

// sever closes all links of p. Closing may block (it does not for TCP, but links
// are whatever Dial returned), so it is done outside the lock.
func (r *registry) sever(p proto) {
	for _, l := range r.all(p) {
		l.sever()
	}
}

func (r *registry) all(p proto) []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.matching(func(l *link) bool { return l.proto == p })
}

// from counts the inbound links of p from a node.
func (r *registry) from(p proto, node string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.matching(func(l *link) bool {
		c := l.upper.Load()
		return l.inbound && l.proto == p && c != nil && c.peer == node
	}))
}

// refuse severs all links of p and lets no more be added.
func (r *registry) refuse(p proto) {
	r.mu.Lock()
	r.refused[p] = true
	found := r.matching(func(l *link) bool { return l.proto == p })
	r.mu.Unlock()
	for _, l := range found {
		l.sever()
	}
}

// stop severs everything, for good.
func (r *registry) stop() {
	r.mu.Lock()
	r.stopped = true
	found := r.matching(func(*link) bool { return true })
	r.mu.Unlock()
	for _, l := range found {
		l.sever()
	}
}

func (r *registry) matching(match func(*link) bool) []*link {
	var found []*link
	for l := range r.links {
		if match(l) {
			found = append(found, l)
		}
	}
	return found
}

// nextGeneration makes every link between masters that is open now an old one.
func (r *registry) nextGeneration() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gen++
}

// old returns the links between masters that were made under an earlier
// certificate, noting the moment at which each was first found to be so.
func (r *registry) old(now time.Time) []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.matching(func(l *link) bool {
		return l.gen < r.gen && (l.proto == protoRaft || l.proto == protoPeer)
	})
	for _, l := range found {
		if l.aged.IsZero() {
			l.aged = now
		}
	}
	return found
}

func (r *registry) isOld(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.gen < r.gen
}

// keepAlive finds dead hosts within half a minute. Silence within a message is
// bounded elsewhere.
func keepAlive(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second,
			Count: 4})
	}
}
