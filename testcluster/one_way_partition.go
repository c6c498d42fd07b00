package testcluster

import (
	"context"
	"net"
	"slices"
	"sync"
)

// oneWayPartition can drop what the masters send to one worker of this process, while the worker's requests still
// arrive.
type oneWayPartition struct {
	mu     sync.Mutex
	active bool
	conns  map[*partitionedConn]bool
}

// dial is the dial function of the worker.
func (p *oneWayPartition) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &partitionedConn{Conn: conn, partition: p}
	p.conns[c] = true
	return c, nil
}

// partitionedConn is a connection whose incoming bytes are dropped while its partition is active.
type partitionedConn struct {
	net.Conn
	partition *oneWayPartition
	lost      bool // bytes were dropped; guarded by partition.mu
}

func (c *partitionedConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.partition.mu.Lock()
		active := c.partition.active
		c.lost = c.lost || active && n > 0
		c.partition.mu.Unlock()
		if err != nil || !active {
			return n, err
		}
	}
}

func (c *partitionedConn) Close() error {
	c.partition.mu.Lock()
	delete(c.partition.conns, c)
	c.partition.mu.Unlock()
	return c.Conn.Close()
}

// DropAnswers drops what the masters send to a worker of this process, until DeliverAnswers.
func (w *Worker) DropAnswers() {
	w.partition.mu.Lock()
	defer w.partition.mu.Unlock()
	w.partition.active = true
}

// DeliverAnswers ends DropAnswers. It closes the connections that lost bytes: a real connection would not survive the
// loss either.
func (w *Worker) DeliverAnswers() {
	w.partition.mu.Lock()
	defer w.partition.mu.Unlock()
	w.partition.active = false
	for c := range w.partition.conns {
		if c.lost {
			_ = c.Conn.Close() // its reader calls Close, which also removes it from conns
		}
	}
}

// ConnectedTo lists the addresses of the masters to which a worker of this process has a connection.
func (w *Worker) ConnectedTo() []string {
	w.partition.mu.Lock()
	defer w.partition.mu.Unlock()
	var addresses []string
	for c := range w.partition.conns {
		if a := c.RemoteAddr().String(); !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	slices.Sort(addresses)
	return addresses
}
