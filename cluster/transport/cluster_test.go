package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/store/hclog"
)

// voter is a real Raft node over a transport, with everything else in memory.
type voter struct {
	*node
	raft *raft.Raft
	net  *network
}

// network is where nodes dial; a node can be taken off it.
type network struct {
	mu    sync.Mutex
	away  string // address
	wires []wire

	refused map[string]int // dials, by who dialled
}

type wire struct {
	net.Conn
	from, to string
}

func (n *network) dial(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, proto, to string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, proto, to)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.away == from || n.away == to {
			_ = c.Close()
			n.refused[from]++
			return nil, errors.New("cut off")
		}
		n.wires = append(n.wires, wire{c, from, to})
		return c, nil
	}
}

func (n *network) refusedTo(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refused[addr]
}

// takeOff cuts a node off; with no address, everybody is back.
func (n *network) takeOff(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = addr
	for _, w := range n.wires {
		if w.from == addr || w.to == addr {
			_ = w.Close()
		}
	}
}

type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }

func startRaft(t *testing.T, ids ...string) (map[string]*voter, []raft.ServerID) {
	t.Helper()
	ca, b, wires := newTestCA(t), &book{}, &network{refused: map[string]int{}}
	voters, servers := map[string]*voter{}, []raft.Server{}
	var all []raft.ServerID
	for _, id := range ids {
		v := &voter{net: wires}
		v.node = start(t, id, newSecurity(t, ca, testCluster, "master"), b, func(c *Config) {
			c.Dial = wires.dial(c.Listener.Addr().String())
		})
		voters[id] = v
		all = append(all, raft.ServerID(id))
		// The addresses are wrong on purpose: nodes are found by id.
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress("wrong." + id + ":1")})
	}
	for _, id := range ids {
		v := voters[id]
		cfg := raft.DefaultConfig()
		cfg.LocalID = raft.ServerID(id)
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout, cfg.CommitTimeout = time.Second, time.Second, 500*
			time.Millisecond, 5*time.Millisecond
		cfg.Logger = hclog.New(discard())
		store := raft.NewInmemStore()
		snaps := raft.NewInmemSnapshotStore()
		tr := v.Raft()
		if err := raft.BootstrapCluster(cfg, store, store, snaps, tr, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(cfg, nothing{}, store, store, snaps, tr)
		if err != nil {
			t.Fatal(err)
		}
		v.raft = r
		t.Cleanup(func() {
			v.CutRaft()
			if err := r.Shutdown().Error(); err != nil {
				t.Error(err)
			}
		})
	}
	return voters, all
}

func leaderOf(t *testing.T, voters map[string]*voter, except string) *voter {
	t.Helper()
	var leader *voter
	eventually(t, "a leader", func() bool {
		for id, v := range voters {
			if id != except && v.raft.State() == raft.Leader && v.raft.VerifyLeader().Error() == nil {
				leader = v
				return true
			}
		}
		return false
	})
	return leader
}

func apply(t *testing.T, v *voter) {
	t.Helper()
	if err := v.raft.Apply([]byte("x"), waitLimit).Error(); err != nil {
		t.Fatal(err)
	}
}

// proves waits for a proof for a moment.
func proves(v *voter, all []raft.ServerID, moment time.Time, wait time.Duration) bool {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		answered := v.Raft().Answered()
		if moment.Before(v.Raft().Proof(v.raft.CurrentTerm(), raft.ServerID(v.id), all)) {
			return true
		}
		select {
		case <-answered:
		case <-timeout.C:
			return false
		}
	}
}

func TestLeaderProvesAndLosesProof(t *testing.T) {
	voters, all := startRaft(t, "a", "b", "c")
	leader := leaderOf(t, voters, "")
	apply(t, leader)
	if !proves(leader, all, time.Now(), waitLimit) {
		t.Fatal("the leader cannot prove the present")
	}
	for _, id := range all {
		if string(id) == leader.id {
			continue
		}
		eventually(t, "contact with "+string(id), func() bool {
			at, ok := leader.Raft().Contact(id)
			return ok && time.Since(at) < waitLimit
		})
		if p := voters[string(id)].Raft().Proof(leader.raft.CurrentTerm(), id, all); !p.IsZero() {
			t.Errorf("follower %s has a proof", id)
		}
	}
	leader.CutRaft()
	cut := time.Now()
	next := leaderOf(t, voters, leader.id)
	apply(t, next)
	if proves(leader, all, cut, 0) {
		t.Error("the old leader proves a moment after it was cut off")
	}
	if !proves(next, all, cut, waitLimit) {
		t.Error("the new leader cannot prove")
	}
}

// TestPreVoteIsUsed: without pre-vote, a node that was cut off returns with a
// higher term and deposes the leader.
func TestPreVoteIsUsed(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	voters, _ := startRaft(t, "a", "b", "c")
	leader := leaderOf(t, voters, "")
	apply(t, leader)
	var lost *voter
	for _, v := range voters {
		if v != leader {
			lost = v
		}
	}
	term := leader.raft.CurrentTerm()
	lost.net.takeOff(lost.addr)
	// Each campaign asks both others: four of them are eight dials.
	eventually(t, "the lost node to campaign", func() bool {
		return lost.raft.State() == raft.Candidate && lost.net.refusedTo(lost.addr) >= 8
	})
	if got := lost.raft.CurrentTerm(); got > term { // it may have been cut off before it heard of the term
		t.Errorf("the lost node raised its term from %d to %d: it campaigned without pre-vote", term, got)
	}
	lost.net.takeOff("")
	eventually(t, "the lost node to follow again", func() bool {
		_, id := lost.raft.LeaderWithID()
		return lost.raft.State() == raft.Follower && string(id) == leader.id
	})
	if leader.raft.CurrentTerm() != term || leader.raft.State() != raft.Leader {
		t.Error("the return of the lost node deposed the leader")
	}
}

// TestRotation renews all certificates while Raft commits and masters call one
// another: nothing fails, nobody is deposed, and soon only new ones are in use.
func TestRotation(t *testing.T) {
	voters, _ := startRaft(t, "a", "b", "c")
	for _, v := range voters {
		serve(t, v.Peer(), v.PeerHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})))
	}
	leader := leaderOf(t, voters, "")
	apply(t, leader)
	term := leader.raft.CurrentTerm()

	stop, ended := make(chan struct{}), make(chan error, 7)
	calls := atomic.Int64{}
	loop := func(do func() error) {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := do(); err != nil {
				ended <- err
				return
			}
			calls.Add(1)
		}
	}
	started := 0
	for _, from := range voters {
		client := from.PeerClient()
		for id := range voters {
			if id == from.id {
				continue
			}
			started++
			go loop(func() error {
				_, err := get(t, client, "https://"+id+"/")
				return err
			})
		}
	}
	started++
	go loop(func() error { return leader.raft.Apply([]byte("x"), waitLimit).Error() })
	eventually(t, "some calls", func() bool { return calls.Load() > 100 })

	var old []*link
	for _, v := range voters {
		old = append(old, append(v.links.all(protoRaft), v.links.all(protoPeer)...)...)
	}
	for id, v := range voters {
		serial := v.sec.rotate(t)
		for other, w := range voters {
			if other != id {
				eventually(t, "the new certificate to be seen", func() bool { return w.sec.hasSeen(serial) })
			}
		}
	}
	eventually(t, "old connections to end", func() bool {
		for _, v := range voters {
			open := append(v.links.all(protoRaft), v.links.all(protoPeer)...)
			if slices.ContainsFunc(open, func(l *link) bool { return slices.Contains(old, l) }) {
				return false
			}
		}
		return true
	})
	close(stop)
	for range started {
		if err := <-ended; err != nil {
			t.Errorf("a call failed: %v", err)
		}
	}
	if leader.raft.State() != raft.Leader || leader.raft.CurrentTerm() != term {
		t.Errorf("the rotation cost the leadership (term %d, now %d)", term, leader.raft.CurrentTerm())
	}
}

// TestRotationOfOneSide: the connections of a node are renewed whoever dialled
// them, while calls go on over them.
func TestRotationOfOneSide(t *testing.T) {
	for name, side := range map[string]string{"client": "a", "server": "b"} {
		t.Run(name, func(t *testing.T) {
			nodes, _ := masters(t, "a", "b")
			serve(t, nodes["b"].Peer(), nodes["b"].PeerHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "ok")
			})))
			client := nodes["a"].PeerClient()
			call := func() {
				t.Helper()
				if _, err := get(t, client, "https://b/"); err != nil {
					t.Fatal(err)
				}
			}
			call()
			old := nodes["a"].links.all(protoPeer)[0]
			call()
			if now := nodes["a"].links.all(protoPeer); len(now) != 1 || now[0] != old {
				t.Fatal("connections are not kept")
			}
			nodes[side].sec.rotate(t)
			eventually(t, "the old connection to end", func() bool {
				call()
				return !slices.Contains(nodes["a"].links.all(protoPeer), old)
			})
			call()
		})
	}
}

// TestRetireBound: a call that does not end does not keep an old certificate in
// use for ever.
func TestRetireBound(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	x := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, func(c *Config) { c.Retire = 100 * time.Millisecond })
	y := start(t, "b", newSecurity(t, ca, testCluster, "master"), b, nil)
	arrived, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	serve(t, y.Peer(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	failed := make(chan error, 1)
	go func() {
		resp, err := x.PeerClient().Get("https://b/")
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	within(t, "call", arrived)
	x.sec.rotate(t)
	if err := within(t, "end of the call", failed); err == nil {
		t.Error("the call succeeded")
	}
}

// TestRotationSparesNewConnections: what has just been dialled is about to be used,
// so it is not taken for idle; only its age ends it.
func TestRotationSparesNewConnections(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	const retire = 6 * retireStep
	change := func(c *Config) { c.Retire = retire }
	x := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, change)
	y := start(t, "b", newSecurity(t, ca, testCluster, "master"), b, change)
	follow(t, y)
	c, err := x.dial(t.Context(), protoRaft, "b", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the other end", func() bool { return openLinks(y.Transport, protoRaft) == 1 })
	began := time.Now()
	x.sec.rotate(t)
	y.sec.rotate(t)
	eventually(t, "its end", func() bool { return openLinks(y.Transport, protoRaft) == 0 })
	if lived := time.Since(began); lived < retire {
		t.Errorf("it was closed after %s", lived)
	}
}
