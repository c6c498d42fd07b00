package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// serve runs an HTTP server until the test ends.
func serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestHTTPConnections(t *testing.T) {
	ca := newTestCA(t)
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), &book{}, nil)
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Error("the request has no TLS state")
			return
		}
		if _, ok := PeerID(r); ok {
			t.Error("a worker counts as a peer")
		}
		if len(r.TLS.PeerCertificates) > 0 {
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.OrganizationalUnit[0])
		}
	})
	serve(t, n.HTTP(), who)
	serve(t, n.Strangers(), who)
	worker := newSecurity(t, ca, testCluster, "worker")
	anonymous := worker.ClientTLS()
	anonymous.GetClientCertificate = nil
	for name, tc := range map[string]struct {
		cfg  *tls.Config
		want string
	}{
		"worker":    {worker.ClientTLS(ALPNHTTP), "worker"},
		"no ALPN":   {worker.ClientTLS(), "worker"},
		"anonymous": {anonymous, ""},
		"h2 first":  {worker.ClientTLS("h2", ALPNHTTP), "worker"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &http.Transport{TLSClientConfig: tc.cfg}
			defer tr.CloseIdleConnections()
			if got, err := get(t, &http.Client{Transport: tr}, "https://"+n.addr+"/"); err != nil || got != tc.want {
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

// TestHandshakeNeedsMaster goes by hand, as somebody would who wants in.
func TestHandshakeNeedsMaster(t *testing.T) {
	ca := newTestCA(t)
	reg := prometheus.NewRegistry()
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), &book{}, func(c *Config) { c.Registerer = reg })
	n.Raft()
	none := newSecurity(t, ca, testCluster, "master")
	for _, alpn := range []string{ALPNRaft, ALPNPeer} {
		for name, cfg := range map[string]*tls.Config{
			"worker":        newSecurity(t, ca, testCluster, "worker").ClientTLS(alpn),
			"user":          newSecurity(t, ca, testCluster, "user").ClientTLS(alpn),
			"other cluster": newSecurity(t, ca, "cluster-b", "master").ClientTLS(alpn),
			"no certificate": func() *tls.Config {
				c := none.ClientTLS(alpn)
				c.GetClientCertificate = nil
				return c
			}(),
			"other CA": func() *tls.Config {
				c := newSecurity(t, newTestCA(t), testCluster, "master").ClientTLS(alpn)
				c.RootCAs = ca.pool
				return c
			}(),
		} {
			c, err := tls.Dial("tcp", n.addr, withName(cfg))
			if err == nil {
				_, _ = c.Write(preamble{Cluster: testCluster, From: "evil", Wanted: "m1"}.marshal())
				err = readVerdict(c)
				_ = c.Close()
			}
			if err == nil {
				t.Errorf("%s: %s got in", alpn, name)
			}
		}
		c, err := tls.Dial("tcp", n.addr, withName(none.ClientTLS(alpn)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(preamble{Cluster: testCluster, From: "m2", Wanted: "m1"}.marshal())
		if err := readVerdict(c); err != nil {
			t.Errorf("%s: a master is refused: %v", alpn, err)
		}
		_ = c.Close()
	}
	// A caller may have its refusal before the server has counted it.
	refused := func() float64 { return testutil.ToFloat64(n.metrics.refuses.WithLabelValues("certificate")) }
	eventually(t, "ten refusals to be counted", func() bool { return refused() >= 10 })
	if got := refused(); got != 10 {
		t.Errorf("refused for their certificate: %v, want 10", got)
	}
}

func withName(c *tls.Config) *tls.Config {
	c.ServerName = "127.0.0.1"
	return c
}

func TestPeerCalls(t *testing.T) {
	nodes, b := masters(t, "m1", "m2", "m3")
	for id, n := range nodes {
		serve(t, n.Peer(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, ok := PeerID(r)
			if !ok || r.TLS == nil || r.TLS.PeerCertificates[0].Subject.OrganizationalUnit[0] != "master" {
				http.Error(w, "who?", http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, from+" asked "+id+" for "+r.URL.Path)
		}))
	}
	client := nodes["m1"].PeerClient()
	if got, err := get(t, client, "https://m2/a/b"); err != nil || got != "m1 asked m2 for /a/b" {
		t.Fatal(got, err)
	}
	if _, err := get(t, client, "https://m9/"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := get(t, client, "http://m2/"); err == nil {
		t.Error("a peer call without TLS")
	}
	// An address that has moved to another node is not taken for the wanted one.
	right, _ := b.resolve("m2")
	wrong, _ := b.resolve("m3")
	nodes["m1"].ClosePeerConnections()
	b.set("m2", wrong)
	if _, err := get(t, client, "https://m2/"); !errors.Is(err, ErrWrongNode) || !strings.Contains(err.Error(), "m3") {
		t.Errorf("wrong node: %v", err)
	}
	// And it is resolved again at the next dial.
	_, port, _ := net.SplitHostPort(right)
	b.set("m2", "localhost:"+port)
	if got, err := get(t, client, "https://m2/x"); err != nil || got != "m1 asked m2 for /x" {
		t.Errorf("%q %v", got, err)
	}
}

func TestWrongCluster(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	var log bytes.Buffer
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), b, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	// The certificate says cluster A, the node believes that it is in B: a data
	// directory that was copied.
	stray := start(t, "m2", newSecurity(t, ca, testCluster, "master"), b, func(c *Config) { c.ClusterID = "cluster-b" })
	if _, err := get(t, stray.PeerClient(), "https://m1/"); !errors.Is(err, ErrWrongCluster) ||
		!strings.Contains(err.Error(), "cluster-a") {
		t.Errorf("%v", err)
	}
	n.stop()
	if !strings.Contains(log.String(), "wrong_cluster") {
		t.Errorf("log says nothing: %s", &log)
	}
}

func TestSilentClientsAreBounded(t *testing.T) {
	ca := newTestCA(t)
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), &book{}, func(c *Config) {
		c.Handshake = 300 * time.Millisecond
	})
	serve(t, n.HTTP(), http.NotFoundHandler())
	mute, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	_ = mute.SetReadDeadline(time.Now().Add(waitLimit))
	if _, err := mute.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a client that says nothing is kept: %v", err)
	}
	// Silent after TLS, where the preamble should come.
	half, err := tls.Dial("tcp", n.addr, withName(newSecurity(t, ca, testCluster, "master").ClientTLS(ALPNPeer)))
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_ = half.SetReadDeadline(time.Now().Add(waitLimit))
	if err := readVerdict(half); isTimeout(err) {
		t.Errorf("a master that says nothing is kept: %v", err)
	}
}

func TestTooManyPeerConnections(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), b, func(c *Config) { c.MaxPeerConns = 1 })
	other := start(t, "m2", newSecurity(t, ca, testCluster, "master"), b, nil)
	held := make(chan struct{})
	serve(t, n.Peer(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-held }))

	first := make(chan error, 1)
	client := other.PeerClient()
	go func() { _, err := get(t, client, "https://m1/"); first <- err }()
	eventually(t, "first peer call to arrive", func() bool { return openLinks(n.Transport, protoPeer) == 1 })
	if _, err := get(t, client, "https://m1/"); !errors.Is(err, ErrBusy) {
		t.Errorf("second peer connection: %v", err)
	}
	close(held)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func openLinks(tr *Transport, p proto) int { return len(tr.links.all(p)) }

func TestRunEndsWithEverything(t *testing.T) {
	ca := newTestCA(t)
	nodes, _ := masters(t, "m1", "m2")
	n := nodes["m1"]
	n.Raft()
	conns := make(chan net.Conn, 1)
	go func() {
		c, err := n.Strangers().Accept() // the worker is of another CA
		if err == nil {
			conns <- c
		}
	}()
	worker, err := tls.Dial("tcp", n.addr, withName(newSecurity(t, ca, testCluster, "worker").insecure()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	server := <-conns
	n.stop()
	_ = server.SetDeadline(time.Now().Add(waitLimit))
	if _, err := server.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a connection outlives the transport: %v", err)
	}
	if _, err := n.Peer().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := get(t, n.PeerClient(), "https://m2/"); !errors.Is(err, ErrStopped) {
		t.Errorf("dial after the end: %v", err)
	}
}

func (s *security) insecure() *tls.Config {
	c := s.ClientTLS(ALPNHTTP)
	c.InsecureSkipVerify = true
	return c
}

func TestNewChecksConfig(t *testing.T) {
	ca := newTestCA(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good := Config{Listener: l, Security: newSecurity(t, ca, testCluster, "master"), NodeID: "n", ClusterID: "c",
		Resolve: (&book{}).resolve}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"Listener":  func(c *Config) { c.Listener = nil },
		"Security":  func(c *Config) { c.Security = nil },
		"NodeID":    func(c *Config) { c.NodeID = "a/b" },
		"ClusterID": func(c *Config) { c.ClusterID = strings.Repeat("x", 200) },
		"Resolve":   func(c *Config) { c.Resolve = nil },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestListenerFailureEndsRun(t *testing.T) {
	ca := newTestCA(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(Config{Listener: l, Security: newSecurity(t, ca, testCluster, "master"), NodeID: "n", ClusterID: "c",
		Resolve: (&book{}).resolve, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := tr.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// trusting leaves the judgement of servers to VerifyPeer, as a Security that
// follows reloads of its CAs must.
type trusting struct{ *security }

func (s trusting) ClientTLS(alpn ...string) *tls.Config {
	c := s.security.ClientTLS(alpn...)
	c.InsecureSkipVerify = true
	return c
}

func TestDiallerChecksServer(t *testing.T) {
	ca, b := newTestCA(t), &book{}
	n := start(t, "a", newSecurity(t, ca, testCluster, "master"), b, func(c *Config) {
		c.Security = trusting{c.Security.(*security)}
	})
	for name, tc := range map[string]struct {
		cert tls.Certificate
		alpn string
		ok   bool
	}{
		"master":          {ca.issue(t, testCluster, "master"), ALPNPeer, true},
		"worker":          {ca.issue(t, testCluster, "worker"), ALPNPeer, false},
		"other cluster":   {ca.issue(t, "cluster-b", "master"), ALPNPeer, false},
		"other CA":        {newTestCA(t).issue(t, testCluster, "master"), ALPNPeer, false},
		"another address": {ca.issueFor(t, testCluster, "master", net.IPv4(10, 9, 8, 7)), ALPNPeer, false},
		"no ALPN":         {ca.issue(t, testCluster, "master"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &tls.Config{Certificates: []tls.Certificate{tc.cert}, ClientAuth: tls.RequestClientCert}
			if tc.alpn != "" {
				cfg.NextProtos = []string{tc.alpn}
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if _, err := readPreamble(c); err == nil {
					_, _ = c.Write(marshalVerdict(verdictOK, ""))
				}
			}()
			b.set("x", l.Addr().String())
			c, err := n.dial(t.Context(), protoPeer, "x", "")
			if tc.ok != (err == nil) {
				t.Errorf("dial: %v", err)
			}
			if err == nil {
				_ = c.Close()
			}
			_ = l.Close()
			<-ended
		})
	}
}
