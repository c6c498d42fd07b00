package transport

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// follower answers the Raft messages that reach a node, in a way that the test sets.
type follower struct {
	got    chan raft.RPC
	answer chan raft.AppendEntriesResponse
	stop   chan struct{}
	ended  chan struct{}
}

func follow(t *testing.T, n *node) *follower {
	t.Helper()
	f := &follower{got: make(chan raft.RPC, 16), answer: make(chan raft.AppendEntriesResponse, 16),
		stop: make(chan struct{}), ended: make(chan struct{})}
	consumer := n.Raft().Consumer()
	go func() {
		defer close(f.ended)
		for {
			select {
			case rpc := <-consumer:
				f.got <- rpc
				switch rpc.Command.(type) {
				case *raft.AppendEntriesRequest:
					select {
					case a := <-f.answer:
						rpc.Respond(&a, nil)
					case <-f.stop:
						return
					}
				case *raft.RequestVoteRequest:
					rpc.Respond(&raft.RequestVoteResponse{Granted: true}, nil)
				case *raft.RequestPreVoteRequest:
					rpc.Respond(&raft.RequestPreVoteResponse{Granted: true}, nil)
				case *raft.TimeoutNowRequest:
					rpc.Respond(&raft.TimeoutNowResponse{}, nil)
				case *raft.InstallSnapshotRequest:
					_, err := io.Copy(io.Discard, rpc.Reader)
					rpc.Respond(&raft.InstallSnapshotResponse{Success: err == nil}, err)
				}
			case <-f.stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(f.stop)
		<-f.ended
	})
	return f
}

func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(waitLimit):
		t.Fatal("timed out: " + what)
		panic("unreachable")
	}
}

// entry makes an AppendEntries that the library does not take for a heartbeat.
func entry(term uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}, Term: term,
		Entries: []*raft.Log{{Index: 1, Term: term, Data: []byte("x")}}}
}

// TestProofCountsFromSending: an answer that arrives after T to a message sent
// before T proves nothing for T.
func TestProofCountsFromSending(t *testing.T) {
	nodes, _ := masters(t, "a", "b", "c")
	f := follow(t, nodes["b"])
	r, voters := nodes["a"].Raft(), []raft.ServerID{"a", "b", "c"}

	sendAndProve := func(send func() error) {
		t.Helper()
		before := time.Now()
		done := make(chan error, 1)
		go func() { done <- send() }()
		within(t, "message", f.got)
		moment := time.Now() // the message is on its way, the answer is not
		answered := r.Answered()
		f.answer <- raft.AppendEntriesResponse{Term: 7, Success: true}
		if err := within(t, "answer", done); err != nil {
			t.Fatal(err)
		}
		within(t, "Answered", answered)
		proof := r.Proof(7, "a", voters)
		if !before.Before(proof) || !proof.Before(moment) {
			t.Errorf("proof %v is not between %v and %v", proof, before, moment)
		}
		if p := r.Proof(8, "a", voters); !p.IsZero() {
			t.Errorf("it proves another term: %v", p)
		}
	}
	sendAndProve(func() error {
		return r.AppendEntries("b", raft.ServerAddress(nodes["b"].addr), entry(7), &raft.AppendEntriesResponse{})
	})
	pipe, err := r.AppendEntriesPipeline("b", raft.ServerAddress(nodes["b"].addr))
	if err != nil {
		t.Fatal(err)
	}
	sendAndProve(func() error {
		if _, err := pipe.AppendEntries(entry(7), &raft.AppendEntriesResponse{}); err != nil {
			return err
		}
		future := <-pipe.Consumer()
		if !future.Response().Success {
			return errors.New("the future lost its answer")
		}
		return nil
	})
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}

	// A refusal, and success in another term, prove nothing new but are contact.
	last := r.Proof(7, "a", voters)
	for _, a := range []raft.AppendEntriesResponse{{Term: 7}, {Term: 9, Success: true}} {
		f.answer <- a
		if err := r.AppendEntries("b", raft.ServerAddress(nodes["b"].addr), entry(7),
			&raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	if now := r.Proof(7, "a", voters); !now.Equal(last) {
		t.Error("a refusal counts")
	}
	if highest, _ := r.HigherTerm(); highest != 9 {
		t.Errorf("highest term %d, want 9", highest)
	}
}

// TestPipelineCloseWithoutReader: the library stops reading before it closes.
func TestPipelineCloseWithoutReader(t *testing.T) {
	nodes, _ := masters(t, "a", "b")
	f := follow(t, nodes["b"])
	pipe, err := nodes["a"].Raft().AppendEntriesPipeline("b", raft.ServerAddress(nodes["b"].addr))
	if err != nil {
		t.Fatal(err)
	}
	answered := nodes["a"].Raft().Answered()
	f.answer <- raft.AppendEntriesResponse{Term: 1, Success: true}
	if _, err := pipe.AppendEntries(entry(1), &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	within(t, "noted although nobody reads", answered)
	done := make(chan error, 1)
	go func() { done <- pipe.Close() }()
	if err := within(t, "Close", done); err != nil {
		t.Error(err)
	}
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}
}

// TestPipelineAfterANo: the library reads no answer after one that says no, and may send on. Whoever sends must not
// wait for an answer that nobody takes: it would wait for ever, and with it replication to this follower.
func TestPipelineAfterANo(t *testing.T) {
	nodes, _ := masters(t, "a", "b")
	f := follow(t, nodes["b"])
	pipe, err := nodes["a"].Raft().AppendEntriesPipeline("b", raft.ServerAddress(nodes["b"].addr))
	if err != nil {
		t.Fatal(err)
	}
	const sent = 5
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		for range sent {
			select {
			case f.answer <- raft.AppendEntriesResponse{Term: 1}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	done := make(chan error, 1)
	go func() {
		for range sent {
			if _, err := pipe.AppendEntries(entry(1), &raft.AppendEntriesResponse{}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	if no := within(t, "the answer that says no", pipe.Consumer()); no.Response().Success {
		t.Fatal("it says yes")
	}
	if err := within(t, "the sender", done); err != nil && !errors.Is(err, raft.ErrPipelineShutdown) {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- pipe.Close() }()
	if err := within(t, "Close", closed); err != nil {
		t.Error(err)
	}
}

func TestCutRaft(t *testing.T) {
	nodes, _ := masters(t, "a", "b")
	follow(t, nodes["a"])
	follow(t, nodes["b"])
	a, b := nodes["a"].Raft(), nodes["b"].Raft()
	vote := func(r *Raft, to string) error {
		return r.RequestVote(raft.ServerID(to), raft.ServerAddress(nodes[to].addr), &raft.RequestVoteRequest{Term: 1},
			&raft.RequestVoteResponse{})
	}
	if err := errors.Join(vote(a, "b"), vote(b, "a")); err != nil {
		t.Fatal(err)
	}
	if n := openLinks(nodes["a"].Transport, protoRaft); n != 2 {
		t.Fatalf("%d raft connections, want one each way", n)
	}
	nodes["a"].CutRaft()
	if n := openLinks(nodes["a"].Transport, protoRaft); n != 0 {
		t.Errorf("%d raft connections survive the cut", n)
	}
	if err := vote(a, "b"); !errors.Is(err, ErrCut) {
		t.Errorf("dial after the cut: %v", err)
	}
	if err := vote(b, "a"); !errors.Is(err, ErrNotReady) {
		t.Errorf("being dialled after the cut: %v", err)
	}
}

// TestSnapshotDoesNotBlock: a sender that stops in the middle of a snapshot holds
// the receiver neither at shutdown (CutRaft) nor for ever (stall).
func TestSnapshotDoesNotBlock(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		end     func(receiver *node)
	}{
		"cut":   {0, func(n *node) { n.CutRaft() }},
		"stall": {200 * time.Millisecond, func(*node) {}},
	} {
		t.Run(name, func(t *testing.T) {
			ca, b := newTestCA(t), &book{}
			sender := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, nil)
			receiver := start(t, "b", newSecurity(t, ca, testCluster, "master"), b,
				func(c *Config) { c.RaftTimeout = tc.timeout })
			consumer := receiver.Raft().Consumer()

			data, feed := io.Pipe()
			sent := make(chan error, 1)
			go func() {
				sent <- sender.Raft().InstallSnapshot("b", "", &raft.InstallSnapshotRequest{Size: 1 << 20},
					&raft.InstallSnapshotResponse{}, data)
			}()
			// More than the sender buffers, less than all of it.
			if _, err := feed.Write(make([]byte, 512<<10)); err != nil {
				t.Fatal(err)
			}
			rpc := within(t, "snapshot", consumer)
			received := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, rpc.Reader)
				if err == nil {
					err = io.ErrUnexpectedEOF // the copy ended early, or well
				}
				rpc.Respond(&raft.InstallSnapshotResponse{}, err)
				received <- err
			}()
			tc.end(receiver)
			within(t, "end of the receiver", received)
			_ = feed.CloseWithError(io.ErrUnexpectedEOF)
			if err := within(t, "end of the sender", sent); err == nil {
				t.Error("the sender believes that the snapshot was installed")
			}
		})
	}
}

// TestIdleConnectionsLive: the bound on silence counts within a message, not
// between two.
func TestIdleConnectionsLive(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	x := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, nil)
	y := start(t, "b", newSecurity(t, ca, testCluster, "master"), b,
		func(c *Config) { c.RaftTimeout = 100 * time.Millisecond })
	f := follow(t, y)
	send := func() {
		t.Helper()
		f.answer <- raft.AppendEntriesResponse{Term: 1, Success: true}
		if err := x.Raft().AppendEntries("b", "", entry(1), &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	send()
	idle := x.links.all(protoRaft)[0]
	// Two that fall silent within a message, one after the other, are the clock.
	for range 2 {
		c, err := x.dial(t.Context(), protoRaft, "b", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(waitLimit))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("silence within a message is not bounded: %v", err)
		}
		_ = c.Close()
	}
	send()
	if now := x.links.all(protoRaft); len(now) != 1 || now[0] != idle {
		t.Error("the idle connection was replaced")
	}
}

// TestDeadPool: after a restart of the other side every pooled connection is dead;
// a vote gets through all the same.
func TestDeadPool(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	sec := newSecurity(t, ca, testCluster, "master")
	x := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, nil)
	y := start(t, "b", sec, b, nil)
	f := follow(t, y)
	// Several at once, so that there are several connections.
	done := make(chan error, 3)
	for range cap(done) {
		go func() {
			done <- x.Raft().AppendEntries("b", "", entry(1), &raft.AppendEntriesResponse{})
		}()
	}
	eventually(t, "three connections", func() bool { return openLinks(x.Transport, protoRaft) == 3 })
	for range cap(done) {
		f.answer <- raft.AppendEntriesResponse{Term: 1, Success: true}
	}
	for range cap(done) {
		if err := within(t, "answer", done); err != nil {
			t.Fatal(err)
		}
	}
	y.stop()
	y = start(t, "b", sec, b, nil)
	follow(t, y)
	var resp raft.RequestVoteResponse
	if err := x.Raft().RequestVote("b", "", &raft.RequestVoteRequest{Term: 2}, &resp); err != nil || !resp.Granted {
		t.Errorf("%+v %v", resp, err)
	}
	if err := x.Raft().TimeoutNow("b", "", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}); err != nil {
		t.Error(err)
	}
}

// TestFallbackAddress: before gossip knows a node, the address of the Raft
// configuration is used; afterwards it is not.
func TestFallbackAddress(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	x := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, nil)
	y := start(t, "b", newSecurity(t, ca, testCluster, "master"), &book{}, nil)
	follow(t, y)
	vote := func(addr string) error {
		return x.Raft().RequestPreVote("b", raft.ServerAddress(addr), &raft.RequestPreVoteRequest{},
			&raft.RequestPreVoteResponse{})
	}
	if err := vote(""); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("%v", err)
	}
	if err := vote(y.addr); err != nil {
		t.Error(err)
	}
	x.Raft().DisconnectAll()
	b.set("b", y.addr)
	if err := vote("127.0.0.1:1"); err != nil {
		t.Errorf("the known address was not used: %v", err)
	}
	x.Raft().Disconnect(raft.ServerAddress(y.addr))
	if n := openLinks(x.Transport, protoRaft); n != 0 {
		t.Errorf("%d connections after Disconnect", n)
	}
	if addr, err := x.Raft().ServerAddr("b"); err != nil || string(addr) != y.addr {
		t.Error(addr, err)
	}
	if got := x.Raft().DecodePeer(x.Raft().EncodePeer("b", "host:1")); got != "host:1" {
		t.Error(got)
	}
}

// TestCloseWaitsForHeartbeats: the log store is closed after the transport, so no
// handler may run then.
func TestCloseWaitsForHeartbeats(t *testing.T) {
	nodes, _ := masters(t, "a", "b")
	entered, release := make(chan struct{}), make(chan struct{})
	b := nodes["b"].Raft()
	b.SetHeartbeatHandler(func(rpc raft.RPC) {
		close(entered)
		<-release
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	beat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("a")}, Term: 4}
	sent := make(chan error, 1)
	go func() {
		sent <- nodes["a"].Raft().AppendEntries("b", "", beat, &raft.AppendEntriesResponse{})
	}()
	within(t, "heartbeat", entered)
	if highest, _ := b.HigherTerm(); highest != 4 {
		t.Errorf("highest term %d", highest)
	}
	closed := make(chan struct{})
	go func() {
		_ = b.Close()
		close(closed)
	}()
	within(t, "the sender to be cut off", sent)
	select {
	case <-closed:
		t.Fatal("closed while a handler runs")
	default:
	}
	close(release)
	within(t, "Close", closed)
}

// TestRotationSparesSnapshot: a connection that is busy keeps its certificate
// until it is done, while idle ones beside it are renewed.
func TestRotationSparesSnapshot(t *testing.T) {
	nodes, _ := masters(t, "a", "b")
	a := nodes["a"].Raft()
	consumer := nodes["b"].Raft().Consumer()
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	got := make(chan []byte, 1)
	go func() {
		for rpc := range consumer {
			if rpc.Reader == nil {
				rpc.Respond(&raft.RequestVoteResponse{}, nil)
				continue
			}
			data, _ := io.ReadAll(rpc.Reader)
			rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
			got <- data
			return
		}
	}()
	var resp raft.InstallSnapshotResponse
	data, feed := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		sent <- a.InstallSnapshot("b", "", &raft.InstallSnapshotRequest{Size: int64(len(want))}, &resp, data)
	}()
	half := len(want) / 2
	if _, err := feed.Write(want[:half]); err != nil {
		t.Fatal(err)
	}
	busy := nodes["a"].links.all(protoRaft)[0]
	// An idle connection beside it, renewed in the same sweep.
	idle, err := nodes["a"].dial(t.Context(), protoRaft, "b", "")
	if err != nil {
		t.Fatal(err)
	}
	idle.busy.Store(false)
	nodes["a"].sec.rotate(t)
	nodes["b"].sec.rotate(t)
	eventually(t, "the idle connection to be renewed", func() bool { return idle.link.severed.Load() })
	_ = idle.Close()
	if busy.severed.Load() {
		t.Error("the busy connection was closed")
	}
	if _, err := feed.Write(want[half:]); err != nil {
		t.Fatal(err)
	}
	_ = feed.Close()
	if err := within(t, "end of the sender", sent); err != nil || !resp.Success {
		t.Fatal(resp, err)
	}
	if !bytes.Equal(within(t, "snapshot", got), want) {
		t.Error("the snapshot arrived changed")
	}
}
