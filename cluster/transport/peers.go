package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// PeerID is the node id of the master that sent r, for requests that came in
// over Peer. It is false for all others.
func PeerID(r *http.Request) (nodeID string, ok bool) {
	if c := peerConnOf(r); c != nil {
		return c.peer, true
	}
	return "", false
}

// ConnPeerID is the node id of the other side of a connection that Peer or the
// Raft listener gave.
func ConnPeerID(c net.Conn) (nodeID string, ok bool) {
	if pc, is := c.(*conn); is {
		return pc.peer, true
	}
	return "", false
}

func peerConnOf(r *http.Request) *conn {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(peerAddr); ok {
		return addr.conn
	}
	return nil
}

// PeerHandler wraps the handler of the server behind Peer. On connections that
// were made under an earlier certificate, the answer asks the client to close, so
// that no call fails when certificates rotate.
func (t *Transport) PeerHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := peerConnOf(r); c != nil && t.links.isOld(c.link) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// peerRoundTripper sends requests to nodes. Its pool is replaced when the
// certificate changes: net/http cannot be told to stop using one connection, but
// an old pool can be emptied as its calls end.
type peerRoundTripper struct {
	t *Transport

	mu      sync.Mutex
	current *http.Transport
	old     []*http.Transport
}

func newPeerRoundTripper(t *Transport) *peerRoundTripper {
	p := &peerRoundTripper{t: t}
	p.current = p.pool()
	return p
}

func (p *peerRoundTripper) pool() *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			node, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return p.t.dial(ctx, protoPeer, node, "")
		},
		// So many calls of one caller may be under way. With a lower bound, each call beyond it would cost a handshake.
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// The caller may forward what it gets, so it must get it as it was sent.
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
	}
}

// RoundTrip implements http.RoundTripper.
func (p *peerRoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !validNodeID(r.URL.Hostname()) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("peer request to %q: want https://<node-id>/…", r.URL.Redacted())
	}
	p.mu.Lock()
	pool := p.current
	p.mu.Unlock()
	return pool.RoundTrip(r)
}

// renew lets calls that begin from now on use new connections.
func (p *peerRoundTripper) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old = append(p.old, p.current)
	p.current = p.pool()
}

// sweep closes the idle connections of old pools; forget drops these pools.
func (p *peerRoundTripper) sweep(forget bool) {
	p.mu.Lock()
	old := p.old
	if forget {
		p.old = nil
	}
	p.mu.Unlock()
	for _, pool := range old {
		pool.CloseIdleConnections()
	}
}

func (p *peerRoundTripper) closeIdle() {
	p.sweep(false)
	p.mu.Lock()
	current := p.current
	p.mu.Unlock()
	current.CloseIdleConnections()
}
