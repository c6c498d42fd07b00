package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster/gossip"
	"scaleout/cluster/pki"
	"scaleout/cluster/transport"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/store"
)

func TestMain(m *testing.M) {
	// memberlist's Shutdown does not wait for a probe that is under way; it ends with its own time-out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// world is some masters in one process, with real TLS, real disks and a network that can be cut.
type world struct {
	t      *testing.T
	ca     *pki.Authority
	key    []byte
	timing Timing
	logs   *logBuffer
	joins  []string // gossip addresses of the first masters

	mu      sync.Mutex
	hosts   []*host
	blocked map[[2]int]bool
	refused map[[2]int]bool
	conns   map[[2]int]map[net.Conn]bool
}

// host is one master.
type host struct {
	w       *world
	i       int
	name    string
	path    string
	options []func(*Config)
	wrap    func(store.LogStore) store.LogStore
	gport   int

	dir       *store.Dir
	transport *transport.Transport
	gossip    *gossip.Gossip
	node      *Node
	fsm       *fsm.FSM
	address   string
	exits     chan int

	stopNode func()
	stopRest func()
	done     chan error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel() // masters mostly wait: for disks and for time-outs
	return newLoneWorld(t)
}

// newLoneWorld is for tests that count goroutines.
func newLoneWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.Init(filepath.Join(dir, "ca"), time.Now())
	must(t, err)
	key, err := pki.LoadGossipKey(filepath.Join(dir, "ca", pki.FileGossipKey))
	must(t, err)
	timing, err := TimingProfile("lan") // "fast" leaders do not keep their place on a busy machine
	must(t, err)
	w := &world{t: t, ca: ca, key: key, timing: timing, logs: &logBuffer{}, blocked: map[[2]int]bool{},
		refused: map[[2]int]bool{}, conns: map[[2]int]map[net.Conn]bool{}}
	t.Cleanup(func() {
		for _, h := range w.hosts {
			h.stop()
		}
		if path := os.Getenv("CLUSTER_TEST_LOG"); path != "" {
			_ = os.WriteFile(path, []byte(w.logs.String()), 0o600)
		}
		if t.Failed() {
			t.Logf("logs:\n%s", w.logs.String())
		}
	})
	return w
}

// add makes a master and does not start it.
func (w *world) add(options ...func(*Config)) *host {
	w.t.Helper()
	h := &host{w: w, i: len(w.hosts), name: fmt.Sprintf("master-%d", len(w.hosts)+1), path: w.t.TempDir(),
		options: options, gport: freePort(w.t)}
	w.mu.Lock()
	w.hosts = append(w.hosts, h)
	w.mu.Unlock()
	w.joins = append(w.joins, net.JoinHostPort("127.0.0.1", strconv.Itoa(h.gport)))
	issued, err := w.ca.Issue(pki.Request{Role: pki.RoleMaster, Name: h.name, Hosts: []string{"127.0.0.1", "localhost"}},
		time.Now())
	must(w.t, err)
	must(w.t, issued.WriteFiles(filepath.Join(h.path, "certs")))
	return h
}

// start starts n masters that expect n.
func (w *world) start(n int, options ...func(*Config)) []*host {
	w.t.Helper()
	for range n {
		w.add(append([]func(*Config){func(c *Config) { c.BootstrapExpect = n }}, options...)...)
	}
	for _, h := range w.hosts {
		h.start()
	}
	return w.hosts
}

var lastPort atomic.Int32

// freePort is free for TCP and UDP, below the range from which the kernel takes ports for others, and above those of
// package testcluster.
func freePort(t *testing.T) int {
	t.Helper()
	for range 2000 {
		port := 26000 + (os.Getpid()*37+int(lastPort.Add(1)))%6000
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		l.Close()
		if err != nil {
			continue
		}
		u.Close()
		return port
	}
	t.Fatal("no free port")
	return 0
}

// security is what the transport needs, from the node's certificate files.
type security struct{ *pki.Credentials }

func (s security) VerifyPeer(cs tls.ConnectionState) error {
	id, err := s.Verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
	if err == nil && id.Role != pki.RoleMaster {
		err = pki.ErrNotMaster
	}
	return err
}

func (s security) Holder(cs tls.ConnectionState) (string, error) {
	id, err := s.Verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
	return id.Name, err
}

func (h *host) logger() *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("CLUSTER_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(h.w.logs, &slog.HandlerOptions{Level: level})).With("on", h.name)
}

func (h *host) start() {
	t := h.w.t
	t.Helper()
	log := h.logger()
	var err error
	h.dir, err = store.Open(filepath.Join(h.path, "data"),
		store.Options{Logger: log, WrapLog: h.wrap, CheckSnapshot: fsm.CheckHeader})
	must(t, err)
	certs := filepath.Join(h.path, "certs")
	creds, err := pki.OpenCredentials(pki.CredentialsConfig{Files: pki.Files{
		CA: filepath.Join(certs, pki.FileCA), Cert: filepath.Join(certs, pki.FileCert),
		Key: filepath.Join(certs, pki.FileKey),
	}, Logger: log})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.w.mu.Lock()
	h.address = listener.Addr().String()
	h.w.mu.Unlock()

	var node *Node
	var cfg Config
	h.transport, err = transport.New(transport.Config{
		Listener: listener, Security: security{creds}, NodeID: h.dir.ID(), ClusterID: h.w.ca.ClusterID(),
		Advertise: h.address,
		Resolve:   func(id string) (string, bool) { return node.Address(id) }, Dial: h.dial, Logger: log,
		RaftTimeout: 2 * time.Second, Handshake: 2 * time.Second,
	})
	must(t, err)
	cfg = Config{
		Dir: h.dir, Transport: h.transport, Name: h.name, ClusterID: h.w.ca.ClusterID(), AdvertiseAddress: h.address,
		Timing: h.w.timing, Version: "1.0.0", Logger: log,
		FSM: func(applied func(Applied), failed func(error)) (Machine, error) {
			h.fsm = fsm.New(fsm.Config{Level: cfg.Level, Logger: log, Failed: failed, Applied: func(a fsm.Applied) {
				applied(Applied{Index: a.Index, Term: a.Term, Proposer: a.Proposer, First: a.First, Results: a.Results})
			}})
			return catalogMachine{h.fsm}, nil
		},
	}
	for _, o := range h.options {
		o(&cfg)
	}
	if cfg.Level == 0 {
		cfg.Level = command.Level
	}
	h.gossip, err = gossip.New(gossip.Config{
		Self: gossip.Meta{ID: h.dir.ID(), Name: cfg.Name, Address: h.address, Version: cfg.Version, Level: cfg.Level,
			BootstrapExpect: cfg.BootstrapExpect, HasState: !h.dir.New()},
		ClusterID: cfg.ClusterID, Key: h.w.key, BindAddress: "127.0.0.1", Port: h.gport, RetryJoin: h.w.joins,
		RetryInterval: 100 * time.Millisecond, Fast: true, Logger: log,
	})
	must(t, err)
	cfg.Gossip = h.gossip
	exits := make(chan int, 4)
	if cfg.Exit == nil {
		cfg.Exit = func(code int) { exits <- code }
	}
	h.exits = exits
	node, err = New(cfg)
	must(t, err)
	h.node = node
	node.levelEvery = 50 * time.Millisecond

	run, stop := context.WithCancel(context.Background())
	rest, stopRest := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.transport.Run(rest) })
	server := &http.Server{Handler: h.transport.PeerHandler(h.node.PeerHandler()),
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	wg.Go(func() { _ = server.Serve(h.transport.Peer()) })
	h.done = make(chan error, 1)
	go func() {
		err := node.Run(run)
		log.Info("Run ended", "err", err)
		h.done <- err
	}()
	h.stopNode = stop
	h.stopRest = func() {
		_ = server.Close()
		stopRest()
		wg.Wait()
	}
}

// catalogMachine is the state machine as the node needs it.
type catalogMachine struct{ *fsm.FSM }

func (m catalogMachine) Reader() MachineReader { return m.FSM.Reader() }

// has says whether a folder is in the master's state.
func (h *host) has(name string) bool {
	_, ok := h.fsm.Reader().Folder(name)
	return ok
}

// hash is the hash of the master's state.
func (h *host) hash() string {
	_, hash, err := h.fsm.Hash(h.w.t.Context())
	must(h.w.t, err)
	return hash
}

// stop ends a master and returns what Run returned.
func (h *host) stop() error {
	if h.stopNode == nil {
		return nil
	}
	h.stopNode()
	err := <-h.done
	h.stopRest()
	h.stopNode = nil
	if cerr := h.dir.Close(); cerr != nil && !errors.Is(cerr, store.ErrFrozen) {
		h.w.t.Errorf("%s: close the data directory: %v", h.name, cerr)
	}
	return err
}

// kill is what a crash looks like from outside: nothing more is written or sent.
func (h *host) kill() {
	h.transport.CutRaft()
	h.dir.Freeze()
	h.transport.ClosePeerConnections()
	_ = h.stop()
}

// patience bounds every wait. It is reached only when a test fails, so it leaves room for the busiest machine.
const waitLimit = 2 * time.Minute

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(waitLimit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not within %v: %s", waitLimit, what)
		}
	}
}

// leader waits until exactly one of the given masters (all that run, if none is given) is a ready leader.
func (w *world) leader(among ...*host) *host {
	w.t.Helper()
	if len(among) == 0 {
		among = w.hosts
	}
	var leader *host
	w.until("a ready leader", func() bool {
		leader = nil
		for _, h := range among {
			if h.stopNode == nil {
				continue
			}
			if _, ready := h.node.IsLeader(); ready && h.node.State() == StateLeader {
				leader = h
			}
		}
		return leader != nil
	})
	return leader
}

// voters waits until every running master sees n voters.
func (w *world) voters(n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d voters everywhere", n), func() bool {
		for _, h := range w.hosts {
			if h.stopNode == nil {
				continue
			}
			if _, ids := h.node.Voters(); len(ids) != n {
				return false
			}
		}
		return true
	})
}

// agree waits until all running masters hold the same state.
func (w *world) agree() {
	w.t.Helper()
	w.until("equal states", func() bool {
		hashes := map[string]bool{}
		for _, h := range w.hosts {
			if h.stopNode != nil {
				hashes[h.hash()] = true
			}
		}
		return len(hashes) == 1
	})
}

func (w *world) except(not ...*host) (list []*host) {
	for _, h := range w.hosts {
		keep := true
		for _, n := range not {
			keep = keep && h != n
		}
		if keep {
			list = append(list, h)
		}
	}
	return list
}

// folder proposes a command on h.
func (h *host) folder(ctx context.Context, name string) (command.Result, uint64, error) {
	env, err := command.Wrap(&command.CreateFolder{Name: name})
	if err != nil {
		return command.Result{}, 0, err
	}
	env.Caller = command.Caller{Kind: "user", Name: "test"}
	return h.node.Propose(ctx, env)
}

// write has a folder made by whoever leads, of the given masters or of all that run. On a busy machine that may change
// at any time; a name that an earlier try has made, although its outcome was unknown, is made.
func (w *world) write(name string, among ...*host) {
	w.t.Helper()
	w.until("the folder "+name, func() bool {
		res, _, err := w.leader(among...).folder(within(w.t, waitLimit/4), name)
		return err == nil && (res.Rejection == nil || res.Rejection.Code == "folder_exists")
	})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// patient is the context of a call whose duration is not what the test is about.
func bounded(t *testing.T) context.Context { return within(t, waitLimit) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects what all masters log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*logBuffer)(nil)

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) has(s string) bool { return bytes.Contains([]byte(l.String()), []byte(s)) }

func folderEnvelope(t *testing.T, name string) command.Envelope {
	t.Helper()
	env, err := command.Wrap(&command.CreateFolder{Name: name})
	must(t, err)
	env.Caller = command.Caller{Kind: "user", Name: "test"}
	return env
}
