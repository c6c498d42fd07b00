package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// conn is a connection between masters after TLS and preamble. It is not a
// *tls.Conn on purpose: net/http closes those whose ALPN it does not know. From
// the embedded one it has ConnectionState, by which net/http fills a request's TLS.
type conn struct {
	*tls.Conn
	link  *link
	proto proto
	peer  string // node id of the other side

	// busy is true within an exchange: from the first byte of a request to the
	// first byte of its answer, and until the first exchange: the side that dialled is
	// about to send. With pipelined requests it may be false too early, which costs
	// a repeated message, never a wrong one.
	busy atomic.Bool
	// stall bounds silence within an inbound Raft message; 0 is no bound. Without
	// it, a leader that freezes while it sends a snapshot would hold this node's
	// Raft, and with it the election of another leader, for as long as it is frozen.
	stall time.Duration
	// released is called once, when the user closes the connection.
	released func()
	closed   atomic.Bool
}

func newConn(tc *tls.Conn, l *link, p proto, peer string) *conn {
	c := &conn{Conn: tc, link: l, proto: p, peer: peer}
	c.busy.Store(true)
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	if c.stall > 0 {
		var until time.Time
		if c.busy.Load() {
			until = time.Now().Add(c.stall)
		}
		_ = c.Conn.SetReadDeadline(until)
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.busy.Store(c.link.inbound)
	}
	switch {
	case err == nil:
	case c.link.severed.Load():
		// This node cut it. Its user sees the same as if the other side had closed it.
		err = io.EOF
	case c.stall > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		// The rest of the message can no longer be found; later reads must fail too.
		c.link.sever()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.busy.Store(!c.link.inbound)
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.Conn.Close()
	_ = c.link.Close()
	if c.released != nil {
		c.released()
	}
	return err
}

// LocalAddr is what net/http puts into a request's context; see PeerID.
func (c *conn) LocalAddr() net.Addr { return peerAddr{Addr: c.Conn.LocalAddr(), conn: c} }

// peerAddr carries a connection's identity to where a request is handled.
type peerAddr struct {
	net.Addr
	conn *conn
}
