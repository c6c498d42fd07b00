package testcluster

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func httpClient(t http.RoundTripper) *http.Client { return &http.Client{Transport: t} }

// network is the links between the masters of one process. Only the dialling side is wrapped: every connection between
// two masters has one.
type network struct {
	mu     sync.Mutex
	places map[string]int
	cut    map[[2]int]bool
	slow   map[[2]int]time.Duration
	conns  map[*link]bool
}

func newNetwork() *network {
	return &network{places: map[string]int{}, cut: map[[2]int]bool{}, slow: map[[2]int]time.Duration{}, conns: map[*link]bool{}}
}

func (n *network) place(addr string, i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[addr] = i
}

// dialer is the way out of one master.
func (n *network) dialer(from int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		to, known := n.places[addr]
		blocked := known && (n.cut[[2]int{from, to}] || n.cut[[2]int{to, from}])
		n.mu.Unlock()
		if blocked {
			// A cut network does not refuse: nobody answers.
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil || !known {
			return conn, err
		}
		l := &link{Conn: conn, net: n, from: from, to: to, dead: make(chan struct{})}
		n.mu.Lock()
		n.conns[l] = true
		n.mu.Unlock()
		return l, nil
	}
}

func (n *network) set(from, to int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]int{from, to}] = cut
}

func (n *network) delay(from, to int, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[[2]int{from, to}] = d
}

func (n *network) state(from, to int) (cut bool, slow time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]int{from, to}], n.slow[[2]int{from, to}]
}

// heal lets everything through again. Connections that lost bytes stay dead, as they would.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.slow)
	for l := range n.conns {
		if l.lost {
			l.Conn.Close()
		}
	}
}

// sever closes every connection of one master.
func (n *network) sever(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.conns {
		if l.from == i || l.to == i {
			l.Conn.Close()
		}
	}
}

// link is one connection between two masters.
type link struct {
	net.Conn
	net      *network
	from, to int
	dead     chan struct{}
	once     sync.Once
	lost     bool // bytes were swallowed; guarded by net.mu
}

func (l *link) lose() {
	l.net.mu.Lock()
	l.lost = true
	l.net.mu.Unlock()
}

func (l *link) Write(b []byte) (int, error) {
	cut, slow := l.net.state(l.from, l.to)
	if cut {
		l.lose()
		return len(b), nil
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-l.dead:
			return 0, net.ErrClosed
		}
	}
	return l.Conn.Write(b)
}

func (l *link) Read(b []byte) (int, error) {
	for {
		n, err := l.Conn.Read(b)
		if err != nil {
			return n, err
		}
		if cut, _ := l.net.state(l.to, l.from); cut {
			l.lose()
			continue // what arrives from there is swallowed
		}
		return n, nil
	}
}

func (l *link) Close() error {
	l.once.Do(func() {
		close(l.dead)
		l.net.mu.Lock()
		delete(l.net.conns, l)
		l.net.mu.Unlock()
	})
	return l.Conn.Close()
}

// Cut cuts the link between two masters, both ways. In process only.
func (c *Cluster) Cut(i, j int) {
	c.net.set(i, j, true)
	c.net.set(j, i, true)
}

// CutOneWay drops what master i sends to master j.
func (c *Cluster) CutOneWay(i, j int) { c.net.set(i, j, true) }

// Isolate cuts a master off from all others.
func (c *Cluster) Isolate(i int) {
	for _, nd := range c.all() {
		if nd.i != i {
			c.Cut(i, nd.i)
		}
	}
}

// Slow delays each write of master i to master j.
func (c *Cluster) Slow(i, j int, d time.Duration) { c.net.delay(i, j, d) }

// Heal mends every link, lets stalled disks go on and paused processes run.
func (c *Cluster) Heal() {
	c.net.heal()
	for _, nd := range c.all() {
		nd.heal()
	}
}
