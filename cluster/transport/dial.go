package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dialError marks a connection that never came up, as against one that broke.
type dialError struct {
	node, addr string
	err        error
}

func (e *dialError) Error() string {
	if e.addr == "" {
		return fmt.Sprintf("dial node %s: %v", e.node, e.err)
	}
	return fmt.Sprintf("dial node %s at %s: %v", e.node, e.addr, e.err)
}

func (e *dialError) Unwrap() error { return e.err }

// dial connects to a node. fallback is an address to use for a node that Resolve
// does not know yet.
func (t *Transport) dial(ctx context.Context, p proto, node, fallback string) (*conn, error) {
	addr, ok := t.cfg.Resolve(node)
	if !ok || addr == "" {
		addr = fallback
	}
	c, err := t.dialAddr(ctx, p, node, addr)
	if err != nil {
		t.metrics.dialFailed(p)
		return nil, &dialError{node: node, addr: addr, err: err}
	}
	return c, nil
}

func (t *Transport) dialAddr(ctx context.Context, p proto, node, addr string) (*conn, error) {
	if addr == "" {
		return nil, ErrUnknownNode
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Handshake)
	defer cancel()
	if p == protoRaft && t.raftCut.Load() {
		return nil, ErrCut
	}
	raw, err := t.cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l, err := t.links.add(raw, p, false)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = l.SetDeadline(deadline)
	client := tls.Client(l, t.clientConfig(p, host))
	if err := t.introduce(ctx, client, node); err != nil {
		l.sever()
		return nil, err
	}
	t.known.note(l.address)
	_ = l.SetDeadline(time.Time{})
	c := newConn(client, l, p, node)
	l.upper.Store(c)
	return c, nil
}

func (t *Transport) introduce(ctx context.Context, client *tls.Conn, node string) error {
	if err := client.HandshakeContext(ctx); err != nil {
		return err
	}
	hello := preamble{Cluster: t.cfg.ClusterID, From: t.cfg.NodeID, Wanted: node}
	if _, err := client.Write(hello.marshal()); err != nil {
		return err
	}
	return readVerdict(client)
}

func (t *Transport) clientConfig(p proto, host string) *tls.Config {
	alpn := ALPNPeer
	if p == protoRaft {
		alpn = ALPNRaft
	}
	cfg := t.cfg.Security.ClientTLS(alpn).Clone()
	cfg.ServerName = host
	first := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if first != nil {
			if err := first(cs); err != nil {
				return err
			}
		}
		if cs.NegotiatedProtocol != alpn {
			return fmt.Errorf("the server does not speak %s", alpn)
		}
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the server presented no certificate")
		}
		// Again, for hosts that are IP addresses: crypto/tls does not tell those to
		// the verifier of Security.
		if err := cs.PeerCertificates[0].VerifyHostname(host); err != nil {
			return err
		}
		return t.cfg.Security.VerifyPeer(cs)
	}
	return cfg
}
