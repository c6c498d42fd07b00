package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/logkey"
	"scaleout/store/hclog"
)

// Closing waits this long for the library's handlers. They end at once unless the
// disk stalls, and then nothing is served by waiting.
const closeWait = 5 * time.Second

// Raft is the Raft transport of a node: the library's NetworkTransport over our
// connections, with the bookkeeping that leadership proofs need.
//
// It spells out every optional interface. Embedding raft.Transport would hide
// them, and the library would silently go without pre-vote.
type Raft struct {
	t   *Transport
	net *raft.NetworkTransport
	proofs
	terms

	handlers tally // inbound connections that the library reads
	ended    chan raft.ServerID
	close    sync.Once
}

var (
	_ raft.Transport             = (*Raft)(nil)
	_ raft.WithPreVote           = (*Raft)(nil)
	_ raft.WithPeers             = (*Raft)(nil)
	_ raft.WithClose             = (*Raft)(nil)
	_ raft.ServerAddressProvider = (*Raft)(nil)
)

func newRaft(t *Transport) *Raft {
	r := &Raft{t: t, ended: make(chan raft.ServerID, 16)}
	r.net = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger:  hclog.New(t.cfg.Logger).Named("raft-net"),
		Stream:  stream{t},
		MaxPool: t.cfg.MaxRaftPool,
		Timeout: t.cfg.RaftTimeout,
	})
	return r
}

// adopt counts an inbound connection until the library lets go of it.
func (r *Raft) adopt(c *conn) bool {
	if !r.handlers.add() {
		return false
	}
	c.released = func() {
		r.handlers.done()
		if r.Connected(raft.ServerID(c.peer)) {
			return
		}
		select {
		case r.ended <- raft.ServerID(c.peer):
		default:
		}
	}
	return true
}

// Ended delivers the id of a node whose last inbound connection has ended. Every message that came over it has been
// handled by then. It is a hint: connections end for many reasons, and hints that nobody takes are dropped.
func (r *Raft) Ended() <-chan raft.ServerID { return r.ended }

// Connected reports whether a node has a connection to this one.
func (r *Raft) Connected(id raft.ServerID) bool { return r.t.links.from(protoRaft, string(id)) > 0 }

// RequestElection asks a node to call an election at once, by the message with which a leader hands over: voters then
// do not refuse on the ground that there is a leader already.
func (r *Raft) RequestElection(id raft.ServerID, target raft.ServerAddress) error {
	header := raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(r.t.cfg.NodeID), Addr: r.EncodePeer("", r.LocalAddr()),
	}
	return r.TimeoutNow(id, target, &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{})
}

// Consumer implements raft.Transport.
func (r *Raft) Consumer() <-chan raft.RPC { return r.net.Consumer() }

// LocalAddr implements raft.Transport: the advertised address, by name.
func (r *Raft) LocalAddr() raft.ServerAddress { return raft.ServerAddress(r.t.cfg.Advertise) }

// ServerAddr implements raft.ServerAddressProvider: where the node is now.
func (r *Raft) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if addr, ok := r.t.cfg.Resolve(string(id)); ok {
		return raft.ServerAddress(addr), nil
	}
	return "", &dialError{node: string(id), err: ErrUnknownNode}
}

// AppendEntries implements raft.Transport. Heartbeats come this way too.
func (r *Raft) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse) error {
	return r.again(func() error {
		sent := time.Now()
		if err := r.net.AppendEntries(id, route(id, target), args, resp); err != nil {
			return err
		}
		r.answered(id, args.Term, sent, resp)
		return nil
	})
}

// AppendEntriesPipeline implements raft.Transport.
func (r *Raft) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := r.net.AppendEntriesPipeline(id, route(id, target))
	if err != nil {
		return nil, err
	}
	return newPipeline(r, id, inner), nil
}

func (r *Raft) answered(id raft.ServerID, term uint64, sent time.Time, resp *raft.AppendEntriesResponse) {
	r.raise(resp.Term)
	r.note(id, term, sent, resp)
}

// RequestVote implements raft.Transport.
func (r *Raft) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest,
	resp *raft.RequestVoteResponse) error {
	return r.again(func() error { return r.net.RequestVote(id, route(id, target), args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (r *Raft) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest,
	resp *raft.RequestPreVoteResponse) error {
	return r.again(func() error { return r.net.RequestPreVote(id, route(id, target), args, resp) })
}

// TimeoutNow implements raft.Transport.
func (r *Raft) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest,
	resp *raft.TimeoutNowResponse) error {
	return r.again(func() error { return r.net.TimeoutNow(id, route(id, target), args, resp) })
}

// InstallSnapshot implements raft.Transport. It is not tried again: its data has
// been read.
func (r *Raft) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return r.net.InstallSnapshot(id, route(id, target), args, resp, data)
}

// EncodePeer implements raft.Transport. Addresses travel as they are configured.
func (r *Raft) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (r *Raft) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport.
func (r *Raft) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		r.net.SetHeartbeatHandler(nil)
		return
	}
	r.net.SetHeartbeatHandler(func(rpc raft.RPC) {
		if beat, ok := rpc.Command.(*raft.AppendEntriesRequest); ok {
			r.raise(beat.Term)
		}
		handle(rpc)
	})
}

// Connect implements raft.WithPeers. Connections are made when they are needed.
func (r *Raft) Connect(raft.ServerAddress, raft.Transport) {}

// Disconnect implements raft.WithPeers: it closes the open connections to the
// node at the address; they may be made again.
func (r *Raft) Disconnect(peer raft.ServerAddress) {
	for _, l := range r.t.links.all(protoRaft) {
		c := l.upper.Load()
		if c == nil {
			continue
		}
		if addr, ok := r.t.cfg.Resolve(c.peer); ok && raft.ServerAddress(addr) == peer {
			l.sever()
		}
	}
}

// DisconnectAll implements raft.WithPeers: it closes all open Raft connections,
// which may be made again. CutRaft is for good.
func (r *Raft) DisconnectAll() {
	r.t.links.sever(protoRaft)
}

// Close implements raft.WithClose: it cuts the transport, ends the library's
// goroutines and waits, at most 5 s, for messages that are being handled. The
// library itself would let a heartbeat write to a log store that its owner, after
// the shutdown, has closed already.
func (r *Raft) Close() error {
	r.close.Do(func() {
		r.t.CutRaft()
		_ = r.net.Close()
		deadline := time.NewTimer(closeWait)
		defer deadline.Stop()
		select {
		case <-r.handlers.end():
		case <-deadline.C:
			r.t.log.LogAttrs(context.Background(), slog.LevelWarn, "raft messages are still being handled; closing anyway",
				slog.String(logkey.Waited, closeWait.String()))
		}
	})
	return nil
}

// again repeats a call that failed only because its pooled connection had been
// closed by the other side meanwhile: after a restart a whole pool can be dead,
// and a vote that is lost to it costs an election time-out. All calls that come
// here may safely arrive twice.
func (r *Raft) again(call func() error) error {
	var err error
	for range r.t.cfg.MaxRaftPool + 1 {
		if err = call(); err == nil || !brokenConnection(err) {
			return err
		}
	}
	return err
}

func brokenConnection(err error) bool {
	var dial *dialError
	if errors.As(err, &dial) || isTimeout(err) {
		return false
	}
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &op)
}

// route puts the node id beside the configured address, so that the connection
// can be made to the node, wherever it is, and pooled by it.
func route(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "\x00" + string(target))
}

// stream is the raft.StreamLayer.
type stream struct{ t *Transport }

func (s stream) Accept() (net.Conn, error) { return s.t.raftIn.Accept() }
func (s stream) Close() error              { return s.t.raftIn.Close() }
func (s stream) Addr() net.Addr            { return s.t.raftIn.Addr() }

func (s stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	node, fallback, _ := strings.Cut(string(address), "\x00")
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := s.t.dial(ctx, protoRaft, node, fallback)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// tally counts what is going on until it is ended.
type tally struct {
	mu    sync.Mutex
	n     int
	ended bool
	idle  chan struct{}
}

// add is false once the tally has been ended.
func (t *tally) add() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.n++
	return true
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.ended {
		close(t.idle)
	}
}

// end lets nothing more begin and gives a channel that is closed when all is done.
// It is called once.
func (t *tally) end() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.idle = make(chan struct{})
	if t.n == 0 {
		close(t.idle)
	}
	return t.idle
}
