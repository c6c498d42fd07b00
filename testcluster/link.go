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
	cut    map[[2]int]int // how often; harms may overlap
	slow   map[[2]int]time.Duration
	conns  map[*link]bool
}

func newNetwork() *network {
	return &network{places: map[string]int{}, cut: map[[2]int]int{}, slow: map[[2]int]time.Duration{}, conns: map[*link]bool{}}
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
		blocked := known && n.torn(from, to)
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

// torn says that nothing gets through in at least one direction. The caller holds the lock.
func (n *network) torn(i, j int) bool { return n.cut[[2]int{i, j}] > 0 || n.cut[[2]int{j, i}] > 0 }

// sunder drops what goes from one master to another, for each pair; mend takes back this cut and no other one.
func (n *network) sunder(pairs ...[2]int) (mend func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range pairs {
		n.cut[p]++
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, p := range pairs {
			n.cut[p] = max(0, n.cut[p]-1)
		}
		n.drop()
	}
}

// drop closes the connections that lost bytes and whose way is free again: they stay dead, as they would. The caller
// holds the lock.
func (n *network) drop() {
	for l := range n.conns {
		if l.lost && !n.torn(l.from, l.to) {
			l.Conn.Close()
		}
	}
}

func (n *network) delay(from, to int, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[[2]int{from, to}] = d
}

func (n *network) state(from, to int) (cut bool, slow time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]int{from, to}] > 0, n.slow[[2]int{from, to}]
}

// heal lets everything through again.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.slow)
	n.drop()
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

// Cut cuts the link between two masters, both ways, until Heal or mend. In process only, as all that concerns links.
func (c *Cluster) Cut(i, j int) (mend func()) {
	return c.net.sunder([2]int{i, j}, [2]int{j, i})
}

// CutOneWay drops what master i sends to master j.
func (c *Cluster) CutOneWay(i, j int) (mend func()) { return c.net.sunder([2]int{i, j}) }

// Isolate cuts a master off from all others.
func (c *Cluster) Isolate(i int) (mend func()) {
	var pairs [][2]int
	for _, j := range c.Others(i) {
		pairs = append(pairs, [2]int{i, j}, [2]int{j, i})
	}
	return c.net.sunder(pairs...)
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
