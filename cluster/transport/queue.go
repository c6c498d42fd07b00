package transport

import (
	"net"
	"sync"
	"time"
)

// queue is a net.Listener that is fed with connections.
type queue struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, ch: make(chan net.Conn), done: make(chan struct{})}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case <-q.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-q.ch:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Addr() net.Addr { return q.addr }

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// put hands c to the server that accepts here. If there is none within the time,
// or the queue is closed, it closes c.
func (q *queue) put(c net.Conn, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case q.ch <- c:
		return true
	case <-q.done:
	case <-timer.C:
	}
	_ = c.Close()
	return false
}
