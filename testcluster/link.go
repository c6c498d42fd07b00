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

// network holds the links between the masters of one process. Only the dialling side is wrapped, since every connection
// between two masters has exactly one.
type network struct {
	mu     sync.Mutex
	places map[string]int
	cut    map[[2]int]int // how many faults cut the direction: faults may overlap
	slow   map[[2]int]time.Duration
	conns  map[*link]bool
}

func newNetwork() *network {
	return &network{
		places: map[string]int{}, cut: map[[2]int]int{}, slow: map[[2]int]time.Duration{}, conns: map[*link]bool{},
	}
}

func (n *network) place(addr string, i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[addr] = i
}

// dialer returns the dial function of one master.
func (n *network) dialer(from int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		to, known := n.places[addr]
		blocked := known && n.blocked(from, to)
		n.mu.Unlock()
		if blocked {
			// A partitioned network refuses nothing: the connection attempt just gets no answer.
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

// blocked reports whether at least one direction between two masters is cut. The caller holds the lock.
func (n *network) blocked(i, j int) bool { return n.cut[[2]int{i, j}] > 0 || n.cut[[2]int{j, i}] > 0 }

// partition drops what each pair's first master sends to the second. The returned function undoes this cut and no
// other.
func (n *network) partition(pairs ...[2]int) (heal func()) {
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
		n.closeDamaged()
	}
}

// closeDamaged closes the healed connections that lost bytes: a real connection would not survive the loss either. The
// caller holds the lock.
func (n *network) closeDamaged() {
	for l := range n.conns {
		if l.lost && !n.blocked(l.from, l.to) {
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

// heal undoes every cut and delay.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.slow)
	n.closeDamaged()
}

// closeConnections closes every connection of one master.
func (n *network) closeConnections(i int) {
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
	lost     bool // bytes were dropped; guarded by net.mu
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
			continue // drop what arrives from there
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

// Cut cuts the link between two masters in both directions, until Heal or a call of the returned function. In process
// only, like everything that concerns links.
func (c *Cluster) Cut(i, j int) (heal func()) {
	return c.net.partition([2]int{i, j}, [2]int{j, i})
}

// CutOneWay drops what master i sends to master j.
func (c *Cluster) CutOneWay(i, j int) (heal func()) { return c.net.partition([2]int{i, j}) }

// Isolate cuts a master off from all others.
func (c *Cluster) Isolate(i int) (heal func()) {
	var pairs [][2]int
	for _, j := range c.Others(i) {
		pairs = append(pairs, [2]int{i, j}, [2]int{j, i})
	}
	return c.net.partition(pairs...)
}

// Slow delays each write of master i to master j by d.
func (c *Cluster) Slow(i, j int, d time.Duration) { c.net.delay(i, j, d) }

// Heal heals every link, lets stalled and full disks write again and resumes paused processes.
func (c *Cluster) Heal() {
	c.net.heal()
	for _, nd := range c.all() {
		nd.heal()
	}
}
