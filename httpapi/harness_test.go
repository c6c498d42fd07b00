package httpapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"scaleout/cluster/admission"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
	"scaleout/httpapi/client"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster of nodes that share one state machine: what Raft would keep equal.
type world struct {
	t     testing.TB
	ca    *authority
	nodes []*node

	mu      sync.Mutex
	leader  int // -1: none
	term    uint64
	index   uint64
	changed chan struct{}
	fsm     *fsm.FSM
	results []command.Result
	keys    []command.Key // of the proposals, in order
	gens    []context.CancelFunc
	reign   context.Context
}

// node is one member: every interface of Config, and its server.
type node struct {
	*world
	i        int
	api      *API
	srv      *httptest.Server
	registry *prometheus.Registry
	stop     chan struct{}
	believes atomic.Pointer[forward.Place] // instead of the truth
	propose  atomic.Pointer[func(command.Envelope) error]
	exchange atomic.Pointer[func(context.Context, command.Poll) (command.Answer, error)]
	register atomic.Pointer[func(*command.RegisterWorker) (command.Registration, error)]
	accept   atomic.Pointer[func(string, []segment.Part) ([]command.Accepted, error)]
	transfer atomic.Pointer[func(string) error]
	blobs    blobs
	ready    atomic.Bool
}

var (
	root    = command.Caller{Kind: "user", Name: "root", Roles: []string{command.RoleAdmin}}
	runner  = command.Caller{Kind: "user", Name: "runner", Roles: []string{command.RoleExecutor}}
	nobody  = command.Caller{Kind: "user", Name: "nobody"}
	monitor = command.Caller{Kind: "user", Name: "monitor", Roles: []string{command.RoleMonitor}}
	worker1 = command.Caller{Kind: "worker", Name: "worker-1"}
)

const agent = "11111111-1111-4111-8111-111111111111"

// parts is what a node's API and its service are made of.
type parts struct {
	Config
	calls service.Config
}

func newWorld(t testing.TB, n int, spoil ...func(*parts)) *world {
	w := &world{t: t, ca: newAuthority(t, "c1"), leader: -1, term: 1, changed: make(chan struct{})}
	w.reign = context.Background()
	w.fsm = fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler),
		Applied: func(a fsm.Applied) { w.results = a.Results }})
	t.Cleanup(w.fsm.Stop)
	for i := range n {
		w.start(i, spoil...)
	}
	w.elect(0)
	w.apply(root, &command.InitCluster{ClusterID: "c1", Level: command.Level, KeySecret: []byte("0123456789abcdef")})
	return w
}

func (w *world) start(i int, spoil ...func(*parts)) {
	t := w.t
	n := &node{world: w, i: i, stop: make(chan struct{}), registry: prometheus.NewRegistry()}
	n.ready.Store(true)
	w.nodes = append(w.nodes, n)
	cert := w.ca.issue(t, command.Caller{Kind: "master", Name: n.Name()})
	peers := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: w.ca.pool}}
	cfg := parts{Config: Config{
		Member: n, Cluster: n,
		Identify: w.ca.identify,
		Peer: func(r *http.Request) (string, bool) {
			if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
				return "", false
			}
			c, err := w.ca.identify(r.TLS.PeerCertificates)
			return c.Name, err == nil && c.Kind == "master"
		},
		Refusals:      &admission.Throttle{},
		PeerTransport: peers, PeerURL: func(l wire.Leader) string { return l.Address },
		Ready: func(context.Context) []wire.Check {
			return []wire.Check{{Name: "caught_up", OK: n.ready.Load(), Detail: "d"}}
		},
		Gatherer: n.registry, Registerer: n.registry, Logger: slog.New(slog.DiscardHandler),
		Hold: 2 * time.Second, Processing: 100 * time.Millisecond,
	}, calls: service.Config{
		Proposer: n, State: w.fsm, Workers: n, Blobs: &n.blobs,
		Seal: func(s sqltype.Secret[string], aad string) (*command.Sealed, error) {
			return &command.Sealed{KeyID: "k", Nonce: []byte(aad), Ciphertext: []byte(strings.ToUpper(s.Reveal()))}, nil
		},
		Open: func(s *command.Sealed, aad string) (sqltype.Secret[string], error) {
			if string(s.Nonce) != aad {
				return sqltype.Secret[string]{}, errors.New("not sealed for this")
			}
			return sqltype.NewSecret(strings.ToLower(string(s.Ciphertext))), nil
		},
		Settings: func() procedure.Config {
			return procedure.Config{RetryDelay: time.Second, MaxProjectBytes: 1 << 20, Server: "S"}
		},
		Logger: slog.New(slog.DiscardHandler), Timeout: 5 * time.Second,
	}}
	for _, f := range spoil {
		f(&cfg)
	}
	var err error
	if cfg.Service, err = service.New(cfg.calls); err != nil {
		t.Fatal(err)
	}
	if n.api, err = New(cfg.Config); err != nil {
		t.Fatal(err)
	}
	n.srv = httptest.NewUnstartedServer(nil)
	n.srv.Config = NewServer(n.api.Handler(), slog.New(slog.DiscardHandler), Bounds{}).Server
	n.srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	n.srv.StartTLS()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); n.api.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		n.srv.CloseClientConnections()
		peers.CloseIdleConnections()
		n.srv.Close()
	})
}

// elect makes node i the leader of the next term; -1 leaves the cluster without one.
func (w *world) elect(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leader = i
	w.term++
	for _, cancel := range w.gens {
		cancel()
	}
	w.gens = nil
	w.poke()
}

func (w *world) poke() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) apply(caller command.Caller, cmd command.Command) command.Result {
	env, err := command.Wrap(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	env.Caller = caller
	r, _ := w.commit(env)
	return r
}

func (w *world) commit(env command.Envelope) (command.Result, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	env.Time = command.At(time.Now())
	w.index++
	data, err := command.Encode(command.Entry{Proposer: 1, First: w.index, Commands: []command.Envelope{env}})
	if err != nil {
		w.t.Error(err)
	}
	w.keys = append(w.keys, env.Key)
	w.fsm.Apply(&raft.Log{Index: w.index, Term: w.term, Type: raft.LogCommand, Data: data})
	return w.results[0], w.index
}

func (n *node) ID() string                { return fmt.Sprintf("id-%d", n.i) }
func (n *node) Name() string              { return fmt.Sprintf("master-%d", n.i+1) }
func (n *node) Stopping() <-chan struct{} { return n.stop }
func (n *node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *node) leaderOf(i int) wire.Leader {
	o := n.nodes[i]
	return wire.Leader{ID: o.ID(), Name: o.Name(), Address: o.srv.URL, Term: n.term}
}

func (n *node) Place() forward.Place {
	if p := n.believes.Load(); p != nil {
		return *p
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leader < 0 {
		return forward.Place{Leader: wire.Leader{Term: n.term}}
	}
	return forward.Place{Leader: n.leaderOf(n.leader), Known: true, Here: n.leader == n.i, Contact: time.Now()}
}

func (n *node) leads() bool { return n.Place().Here }

func (n *node) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	if f := n.propose.Load(); f != nil {
		if err := (*f)(env); err != nil {
			return command.Result{}, 0, err
		}
	}
	if !n.leads() {
		return command.Result{}, 0, command.ErrNotLeader
	}
	r, index := n.commit(env)
	return r, index, nil
}

func (n *node) Read(context.Context) error {
	if !n.leads() {
		return command.ErrNotLeader
	}
	return nil
}

func (n *node) Hold(ctx context.Context) (context.Context, context.CancelFunc) {
	held, cancel := context.WithCancelCause(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gens = append(n.gens, func() { cancel(errors.New("leadership lost")) })
	if n.leader != n.i {
		cancel(errors.New("leadership lost"))
	}
	return held, func() { cancel(context.Canceled) }
}

func (n *node) Register(_ context.Context, cmd *command.RegisterWorker, _ time.Time) (command.Registration, error) {
	if f := n.register.Load(); f != nil {
		return (*f)(cmd)
	}
	env, _ := command.Wrap(cmd)
	if r, _ := n.commit(env); r.Rejection != nil {
		return command.Registration{}, r.Rejection
	}
	return command.Registration{Enabled: true}, nil
}

func (n *node) Exchange(ctx context.Context, p command.Poll) (command.Answer, error) {
	if f := n.exchange.Load(); f != nil {
		return (*f)(ctx, p)
	}
	t := time.NewTimer(p.Wait)
	defer t.Stop()
	select {
	case <-t.C:
		return command.Answer{Enabled: true}, nil
	case <-ctx.Done():
		return command.Answer{}, ctx.Err()
	}
}

func (n *node) Messages(_ context.Context, worker string, items []segment.Part) ([]command.Accepted, error) {
	if f := n.accept.Load(); f != nil {
		return (*f)(worker, items)
	}
	var out []command.Accepted
	for _, it := range items {
		ref := command.AttemptRef{TaskID: it.TaskID, Attempt: it.Attempt}
		out = append(out, command.Accepted{AttemptRef: ref, NextSeq: it.FirstSeq + int64(len(it.Messages))})
	}
	return out, nil
}

func (n *node) Status(context.Context) (wire.ClusterStatus, error) {
	return wire.ClusterStatus{ClusterID: "c1", Index: n.fsm.Index()}, nil
}
func (n *node) Peers() []string { return []string{"a:1", "b:2"} }
func (n *node) Masters() []string {
	return []string{"https://a:1"}
}

func (n *node) Transfer(_ context.Context, to string) error {
	if f := n.transfer.Load(); f != nil {
		return (*f)(to)
	}
	n.elect((n.i + 1) % len(n.nodes))
	return nil
}

func (n *node) Remove(_ context.Context, member string, force bool) error {
	if member == "gone" {
		return fmt.Errorf("%w: %q", command.ErrUnknownMember, member)
	}
	if !force {
		return fmt.Errorf("%w: a blob would be held by one master only", command.ErrRefused)
	}
	return nil
}

// as is an HTTP client with a certificate; nil means none.
func (w *world) as(c *command.Caller) *http.Client { return w.with(w.ca, c) }

func (w *world) with(ca *authority, c *command.Caller) *http.Client {
	conf := &tls.Config{RootCAs: w.ca.pool}
	if c != nil {
		cert := ca.issue(w.t, *c)
		// Sent whatever the server says it accepts.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	tr := client.NewTransport(conf)
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (w *world) client(c command.Caller, nodes ...int) *client.Client {
	var masters []string
	for _, i := range nodes {
		masters = append(masters, w.nodes[i].srv.URL)
	}
	cl, err := client.New(client.Config{Masters: masters, HTTPClient: w.as(&c), Timeout: 5 * time.Second,
		Backoff: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// got is an answer with its body.
type got struct {
	*http.Response
	body    string
	problem wire.Problem
}

func do(t testing.TB, c *http.Client, method, url, body string, headers ...string) got {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, resp)
}

// finish reads an answer to its end.
func finish(t testing.TB, resp *http.Response) got {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	g := got{Response: resp, body: string(b)}
	if resp.Header.Get("Content-Type") == wire.ContentProblem {
		if err := json.Unmarshal(b, &g.problem); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if g.problem.Status != resp.StatusCode || g.problem.RequestID == "" ||
			g.problem.RequestID != resp.Header.Get(wire.HeaderRequestID) || g.problem.Title == "" {
			t.Fatalf("problem %+v of a %d", g.problem, resp.StatusCode)
		}
	}
	return g
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
