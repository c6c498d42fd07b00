package testcluster

import (
	"context"
	"net"
	"slices"
	"sync"
)

// ears are the connections of one worker of this process.
type ears struct {
	mu    sync.Mutex
	deaf  bool
	conns map[*ear]bool
}

// dial is the worker's way to the masters.
func (e *ears) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &ear{Conn: conn, of: e}
	e.conns[c] = true
	return c, nil
}

type ear struct {
	net.Conn
	of   *ears
	lost bool // an answer was swallowed; guarded by of.mu
}

func (c *ear) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.of.mu.Lock()
		deaf := c.of.deaf
		c.lost = c.lost || deaf && n > 0
		c.of.mu.Unlock()
		if err != nil || !deaf {
			return n, err
		}
	}
}

func (c *ear) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Deafen drops what the masters answer to a worker of this process; Hear ends that, and the connections with it.
func (w *Worker) Deafen() {
	w.ears.mu.Lock()
	defer w.ears.mu.Unlock()
	w.ears.deaf = true
}

// Hear lets the worker hear again. Connections that lost an answer break, as they would.
func (w *Worker) Hear() {
	w.ears.mu.Lock()
	defer w.ears.mu.Unlock()
	w.ears.deaf = false
	for c := range w.ears.conns {
		if c.lost {
			_ = c.Conn.Close() // whoever reads from it closes it again
		}
	}
}

// Talks are the addresses of the masters that a worker of this process is connected to.
func (w *Worker) Talks() []string {
	w.ears.mu.Lock()
	defer w.ears.mu.Unlock()
	var out []string
	for c := range w.ears.conns {
		if a := c.RemoteAddr().String(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}
