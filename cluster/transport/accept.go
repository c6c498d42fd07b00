package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"scaleout/fsm/logkey"
)

// accept takes connections until ctx ends and waits for the handshakes that it
// started.
func (t *Transport) accept(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var pause time.Duration
	for {
		raw, err := t.cfg.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("transport: the listener was closed: %w", err)
			}
			// Out of file descriptors, most likely: it passes.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			t.log.LogAttrs(ctx, slog.LevelError, "cannot accept connections", slog.Any(logkey.Err, err),
				slog.Duration(logkey.RetryIn, pause))
			if !sleep(ctx, pause) {
				return nil
			}
			continue
		}
		pause = 0
		t.busy.Store(time.Now().UnixNano())
		if l := t.admit(ctx, raw); l != nil {
			wg.Go(func() { t.receive(ctx, l) })
		}
		t.busy.Store(0)
	}
}

// receive does TLS and preamble and hands the connection to its server.
func (t *Transport) receive(ctx context.Context, l *link) {
	remote := l.RemoteAddr().String()
	_ = l.SetDeadline(time.Now().Add(t.cfg.Handshake))
	server := tls.Server(l, t.server)
	c, _ := t.crowdOf(l.address)
	l.turns.Store(c.turns)
	err := server.Handshake()
	l.turns.Store(nil)
	if err != nil {
		l.endTurn(c.turns)
		l.sever()
		t.refused(ctx, remote, err)
		return
	}
	switch alpn := server.ConnectionState().NegotiatedProtocol; alpn {
	case ALPNRaft:
		l.endTurn(c.turns)
		t.receiveMaster(ctx, server, l, protoRaft, t.raftIn)
	case ALPNPeer:
		l.endTurn(c.turns)
		t.receiveMaster(ctx, server, l, protoPeer, t.peer)
	default:
		t.receiveHTTP(ctx, server, l, c)
	}
}

// receiveHTTP puts a connection among those of its certificate's holder, or among the strangers.
func (t *Transport) receiveHTTP(ctx context.Context, server *tls.Conn, l *link, c *crowd) {
	q := t.http
	err := t.settle(ctx, server.ConnectionState(), l)
	l.endTurn(c.turns)
	if err != nil {
		l.sever()
		t.refused(ctx, l.RemoteAddr().String(), err)
		return
	}
	if l.stranger {
		q = t.strangers
	}
	_ = l.SetDeadline(time.Time{})
	q.put(server, t.cfg.Handshake)
}

func (t *Transport) receiveMaster(ctx context.Context, server *tls.Conn, l *link, p proto, q *queue) {
	remote := l.RemoteAddr().String()
	t.known.note(l.address)
	pre, err := readPreamble(server)
	v := verdictOK
	if err != nil {
		v = verdictBad
	} else if v, err = t.judge(pre, p); err == nil {
		if err = t.links.become(l, p, t.cfg.MaxPeerConns); err != nil {
			v = verdictNotReady
			if errors.Is(err, ErrBusy) {
				v = verdictBusy
			}
		}
	}
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if _, werr := server.Write(marshalVerdict(v, reason)); werr != nil && err == nil {
		l.sever()
		t.refused(ctx, remote, werr)
		return
	}
	if err != nil {
		// Not severed: the answer must still reach the dialler.
		_ = server.Close()
		_ = l.Close()
		t.refused(ctx, remote, err)
		return
	}
	_ = l.hold(nil) // masters are counted by become
	_ = l.SetDeadline(time.Time{})
	c := newConn(server, l, p, pre.From)
	if p == protoRaft {
		c.stall = t.cfg.RaftTimeout
		if !t.Raft().adopt(c) {
			_ = c.Close()
			return
		}
	}
	l.upper.Store(c)
	q.put(c, t.cfg.Handshake)
}

func (t *Transport) judge(pre preamble, p proto) (verdict, error) {
	switch {
	case pre.Cluster != t.cfg.ClusterID:
		return verdictWrongCluster, fmt.Errorf("%w: node %s is of cluster %s, this is %s", ErrWrongCluster, pre.From,
			pre.Cluster, t.cfg.ClusterID)
	case pre.Wanted != t.cfg.NodeID:
		return verdictWrongNode, fmt.Errorf("%w: %s was wanted, this is %s", ErrWrongNode, pre.Wanted, t.cfg.NodeID)
	case p == protoRaft && t.raftCut.Load():
		return verdictNotReady, ErrCut
	case p == protoRaft && !t.raftOpen.Load():
		return verdictNotReady, fmt.Errorf("%w: Raft has not started on %s", ErrNotReady, t.cfg.NodeID)
	}
	return verdictOK, nil
}

// refused counts and logs a connection that did not come up. Strangers' failed
// handshakes are ordinary; a master that is turned away is not.
func (t *Transport) refused(ctx context.Context, remote string, err error) {
	var peer *peerRefusedError
	var limit *LimitError
	reason, loud := "tls", false
	switch {
	case errors.As(err, &limit):
		reason, loud = limit.Setting, true
	case errors.As(err, &peer):
		reason, loud = "certificate", true
	case errors.Is(err, ErrWrongCluster):
		reason, loud = "wrong_cluster", true
	case errors.Is(err, ErrWrongNode):
		reason, loud = "wrong_node", true
	case errors.Is(err, ErrBusy):
		reason, loud = "busy", true
	case errors.Is(err, ErrBadPreamble):
		reason, loud = "preamble", true
	case errors.Is(err, ErrNotReady), errors.Is(err, ErrCut), errors.Is(err, ErrStopped):
		reason = "not_ready"
	case isTimeout(err):
		reason = "timeout"
	}
	t.metrics.refuse(reason)
	if !loud {
		t.log.LogAttrs(ctx, slog.LevelDebug, "connection refused", slog.String(logkey.Remote, remote),
			slog.String(logkey.Reason, reason), slog.Any(logkey.Err, err))
		return
	}
	if silent, now := t.refusals.Due(reason, time.Now()); now {
		t.log.LogAttrs(ctx, slog.LevelWarn, "connection refused", slog.String(logkey.Remote, remote),
			slog.String(logkey.Reason, reason), slog.Any(logkey.Err, err), slog.Int(logkey.MoreSinceLast, silent))
	}
}

// peerRefusedError is a certificate that may not speak Raft or peer.
type peerRefusedError struct {
	alpn string
	err  error
}

func (e *peerRefusedError) Error() string { return e.alpn + ": " + e.err.Error() }
func (e *peerRefusedError) Unwrap() error { return e.err }

// serverConfig adds to s's configuration, and to each that it gives for a single
// client, the check that only masters get past the handshake of Raft and peer.
func serverConfig(s Security) *tls.Config {
	guard := func(cfg *tls.Config) *tls.Config {
		cfg = cfg.Clone()
		first := cfg.VerifyConnection
		cfg.SessionTicketsDisabled = true
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if first != nil {
				if err := first(cs); err != nil {
					return err
				}
			}
			switch cs.NegotiatedProtocol {
			case ALPNRaft, ALPNPeer:
				if err := s.VerifyPeer(cs); err != nil {
					return &peerRefusedError{alpn: cs.NegotiatedProtocol, err: err}
				}
			}
			return nil
		}
		return cfg
	}
	cfg := s.ServerTLS(ALPNHTTP, ALPNRaft, ALPNPeer)
	perClient := cfg.GetConfigForClient
	cfg = guard(cfg)
	if perClient != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := perClient(hello)
			if err != nil || c == nil {
				return nil, err
			}
			return guard(c), nil
		}
	}
	return cfg
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
