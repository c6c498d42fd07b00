package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestOpenCredentialsErrors(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	request := Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}
	good := write(t, issue(t, a, request, now), t.TempDir())
	other := write(t, issue(t, newAuthority(t), request, now), t.TempDir())
	expired := write(t, issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: request.Hosts, Lifetime: time.Hour},
		now.Add(-3*time.Hour)), t.TempDir())
	early := write(t, issue(t, a, request, now.Add(48*time.Hour)), t.TempDir())
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(f Files, change func(*Files)) Files { change(&f); return f }
	leaf := open(t, good).Leaf()
	s1, s256 := Thumbprints(leaf)
	wrong := strings.Repeat("AB", 20)

	for name, tc := range map[string]struct {
		cfg  CredentialsConfig
		is   error
		want []string
	}{
		"unset": {CredentialsConfig{}, ErrBadCredentials, []string{"CACertFile is not set"}},
		"missing": {CredentialsConfig{Files: with(good, func(f *Files) { f.Key = "/nowhere/key.pem" })}, os.ErrNotExist,
			[]string{"KeyFile", "/nowhere/key.pem"}},
		"junk": {CredentialsConfig{Files: with(good, func(f *Files) { f.CA = junk })}, ErrBadCredentials,
			[]string{"CACertFile", junk}},
		"other key": {CredentialsConfig{Files: with(good, func(f *Files) { f.Key = other.Key })}, ErrBadCredentials,
			[]string{other.Key, good.Cert, "does not belong"}},
		"other ca": {CredentialsConfig{Files: with(good, func(f *Files) { f.CA = other.CA })}, ErrBadCredentials,
			[]string{"not issued by", other.CA}},
		"expired":   {CredentialsConfig{Files: expired}, ErrExpired, []string{expired.Cert, "valid until"}},
		"early":     {CredentialsConfig{Files: early}, ErrNotYetValid, []string{early.Cert, "valid from"}},
		"thumb":     {CredentialsConfig{Files: good, Thumbprint: wrong}, ErrThumbprintMismatch, []string{wrong, s1, s256}},
		"thumbform": {CredentialsConfig{Files: good, Thumbprint: "xyz"}, nil, []string{"SSLCertThumbprint", `"xyz"`}},
		"pins":      {CredentialsConfig{Files: good, Pins: "xyz"}, nil, []string{"MasterHttpsCertThumbprint", `"xyz"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenCredentials(tc.cfg)
			if err == nil || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Fatalf("got %v, want %v", err, tc.is)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if key, _ := os.ReadFile(good.Key); strings.Contains(err.Error(), string(key)) {
				t.Error("the error shows the key")
			}
		})
	}
	for _, thumb := range []string{s1, strings.ToLower(s256)} {
		if _, err := OpenCredentials(CredentialsConfig{Files: good, Thumbprint: thumb}); err != nil {
			t.Error(err)
		}
	}
}

func TestVerify(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	node := open(t, write(t, issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}, now),
		t.TempDir()))

	worker := chainOf(t, issue(t, a, Request{Role: RoleWorker, Name: "w"}, now))
	if id, err := node.Verify(worker, x509.ExtKeyUsageClientAuth); err != nil || id.Role != RoleWorker || id.Name != "w" {
		t.Fatal(id, err)
	}
	if _, err := node.Verify(worker, x509.ExtKeyUsageServerAuth); !errors.Is(err, ErrWrongUsage) {
		t.Errorf("a worker as a server: %v", err)
	}
	if _, err := node.Verify(nil, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
	stranger := chainOf(t, issue(t, newAuthority(t), Request{Role: RoleMaster, Name: "m"}, now))
	if _, err := node.Verify(stranger, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrUnknownCluster) ||
		!strings.Contains(err.Error(), fingerprint(stranger[0])) {
		t.Error(err)
	}
	late := chainOf(t, issue(t, a, Request{Role: RoleWorker, Name: "w", Lifetime: time.Minute}, now.Add(-time.Hour)))
	if _, err := node.Verify(late, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	// The same CA, another cluster's id: two clusters that share a CA file stay apart.
	cluster := a.cluster.Cluster
	a.cluster.Cluster = "11111111-2222-4333-8444-555555555555"
	foreign := chainOf(t, issue(t, a, Request{Role: RoleMaster, Name: "m"}, now))
	a.cluster.Cluster = cluster
	if _, err := node.Verify(foreign, x509.ExtKeyUsageClientAuth); !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("another cluster by the same CA: %v", err)
	}
	if _, err := node.Verify([]*x509.Certificate{a.signer}, x509.ExtKeyUsageClientAuth); !errors.Is(err,
		ErrUnknownCluster) {
		t.Errorf("a CA as a client: %v", err)
	}
}

func waitFor(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatal("timed out: " + what)
	}
}

// lines signals each log line that contains a text.
type lines struct {
	mu   sync.Mutex
	text string
	hit  chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(p, []byte(l.text)) {
		select {
		case l.hit <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func TestReloadWhileRunning(t *testing.T) {
	a, now, dir := newAuthority(t), time.Now(), t.TempDir()
	request := Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}
	files := write(t, issue(t, a, request, now), dir)
	log := &lines{text: "cannot be used", hit: make(chan struct{}, 1)}
	c, err := OpenCredentials(CredentialsConfig{Files: files, Poll: 2 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	first, changed := c.Leaf(), c.Changed()
	if err := os.WriteFile(files.Key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "warning about the broken key", log.hit)
	if !c.Leaf().Equal(first) {
		t.Fatal("a broken set was taken up")
	}
	if err := c.Reload(t.Context()); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("Reload: %v", err)
	}
	if err := a.Rotate(now); err != nil {
		t.Fatal(err)
	}
	write(t, issue(t, a, request, now), dir)
	waitFor(t, "reload", changed)
	if c.Leaf().Equal(first) || len(c.CAs()) != 2 {
		t.Fatal("the new set is not in use")
	}
	second := c.Leaf()
	// Somebody else's files do not change who this node is.
	other := t.TempDir()
	write(t, issue(t, a, Request{Role: RoleMaster, Name: "m2", Hosts: []string{"localhost"}}, now), other)
	for _, name := range []string{FileCA, FileKey, FileCert} {
		if err := os.Rename(filepath.Join(other, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "warning about another node's files", log.hit)
	if !c.Leaf().Equal(second) {
		t.Fatal("another node's certificate was taken up")
	}
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "master/m2") {
		t.Errorf("Reload: %v", err)
	}
}

func TestReloadKeepsThumbprint(t *testing.T) {
	a, now, dir := newAuthority(t), time.Now(), t.TempDir()
	request := Request{Role: RoleWorker, Name: "w"}
	i := issue(t, a, request, now)
	files := write(t, i, dir)
	s1, _ := Thumbprints(i.Leaf)
	c, err := OpenCredentials(CredentialsConfig{Files: files, Thumbprint: s1})
	if err != nil {
		t.Fatal(err)
	}
	write(t, issue(t, a, request, now), dir)
	if err := c.Reload(t.Context()); !errors.Is(err, ErrThumbprintMismatch) || !c.Leaf().Equal(i.Leaf) {
		t.Errorf("%v", err)
	}
}

// TestTLS has HTTP go through two rotations and a retirement without restarting
// either side, by ClientTLS and by DialTLS.
// Masters accept each other and nobody else, whichever of them has dialled.
func TestVerifyPeerAndHolder(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	master := issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}, now)
	node := open(t, write(t, master, t.TempDir()))
	foreign := newAuthority(t)
	for _, c := range []struct {
		name   string
		chain  []*x509.Certificate
		peer   error  // of VerifyPeer
		holder string // "": an error
	}{
		{"master", chainOf(t, master), nil, "master m"},
		{"worker", chainOf(t, issue(t, a, Request{Role: RoleWorker, Name: "m"}, now)), ErrNotMaster, "worker m"},
		{"user", chainOf(t, issue(t, a, Request{Role: RoleUser, Name: "m"}, now)), ErrNotMaster, "user m"},
		{"master of another cluster", chainOf(t, issue(t, foreign, Request{Role: RoleMaster, Name: "m"}, now)),
			ErrUnknownCluster, ""},
		{"nobody", nil, ErrNoCertificate, ""},
	} {
		for side, server := range map[string]string{"accepted": "", "dialled": "m"} {
			t.Run(c.name+" "+side, func(t *testing.T) {
				state := tls.ConnectionState{PeerCertificates: c.chain, ServerName: server}
				if err := node.VerifyPeer(state); !errors.Is(err, c.peer) {
					t.Errorf("%v, want %v", err, c.peer)
				}
				if holder, err := node.Holder(state); holder != c.holder || (err == nil) != (c.holder != "") {
					t.Errorf("%q, %v; want %q", holder, err, c.holder)
				}
			})
		}
	}
}

func TestTLS(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	serverDir, clientDir := t.TempDir(), t.TempDir()
	request := Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost", "127.0.0.1"}}
	renew := func() { t.Helper(); write(t, issue(t, a, request, now), serverDir) }
	renewClient := func() {
		t.Helper()
		write(t, issue(t, a, Request{Role: RoleUser, Name: "u"}, now), clientDir)
	}
	renew()
	renewClient()
	server, client := open(t, filesIn(serverDir)), open(t, filesIn(clientDir))

	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := server.Verify(r.TLS.PeerCertificates, x509.ExtKeyUsageClientAuth)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, id.String())
	}))
	srv.TLS = server.ServerTLS("http/1.1")
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Listener = tls.NewListener(srv.Listener, srv.TLS)
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	get := func(tr *http.Transport, host string) (string, error) {
		tr.DisableKeepAlives = true
		resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("https://" + net.JoinHostPort(host,
			port) + "/")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	config := &http.Transport{TLSClientConfig: client.ClientTLS("http/1.1")}
	dialled := &http.Transport{DialTLSContext: client.DialTLS(nil, "http/1.1")}
	check := func(when string) {
		t.Helper()
		for _, host := range []string{"localhost", "127.0.0.1"} {
			for _, tr := range []*http.Transport{config, dialled} {
				if got, err := get(tr, host); err != nil || got != "user/u" {
					t.Errorf("%s, %s: %q %v", when, host, got, err)
				}
			}
		}
	}
	reload := func(c *Credentials) {
		t.Helper()
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check("before")
	if err := a.Rotate(now); err != nil {
		t.Fatal(err)
	}
	renew()
	reload(server)
	check("server renewed")
	renewClient()
	reload(client)
	check("both renewed")
	if _, err := a.Retire(); err != nil {
		t.Fatal(err)
	}
	renew()
	reload(server)
	check("server without the old CA")
	renewClient()
	reload(client)
	check("old CA retired")

	// A master's certificate for another host.
	write(t, issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: []string{"10.1.2.3"}}, now), serverDir)
	reload(server)
	if _, err := get(config, "localhost"); err == nil {
		t.Error("a certificate for another host was accepted")
	}
	if _, err := get(dialled, "127.0.0.1"); err == nil {
		t.Error("a certificate for another address was accepted")
	}
	// A stranger is asked for its certificate and told why it is refused.
	renew()
	reload(server)
	other := newAuthority(t)
	stranger := open(t, write(t, issue(t, other, Request{Role: RoleUser, Name: "u"}, now), t.TempDir()))
	cfg := stranger.ClientTLS("http/1.1")
	cfg.VerifyConnection = nil
	if got, err := get(&http.Transport{TLSClientConfig: cfg}, "localhost"); err != nil ||
		!strings.Contains(got, ErrUnknownCluster.Error()) {
		t.Errorf("%q %v", got, err)
	}
	// And it does not talk to us.
	if _, err := get(&http.Transport{TLSClientConfig: stranger.ClientTLS("http/1.1")}, "localhost"); !errors.Is(err,
		ErrUnknownCluster) {
		t.Error(err)
	}
}

func TestPins(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	master := chainOf(t, issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}, now))
	files := write(t, issue(t, a, Request{Role: RoleWorker, Name: "w"}, now), t.TempDir())
	leaf1, leaf256 := Thumbprints(master[0])
	ca1, _ := Thumbprints(a.signer)
	other := strings.Repeat("12", 20)
	for pins, ok := range map[string]bool{
		"": true, leaf1: true, other + "," + strings.ToLower(leaf256): true, ca1: true, other: false,
	} {
		c, err := OpenCredentials(CredentialsConfig{Files: files, Pins: pins})
		if err != nil {
			t.Fatal(err)
		}
		err = c.verifyServer(master, "localhost")
		if ok != (err == nil) || (!ok && !errors.Is(err, ErrNotPinned)) {
			t.Errorf("pins %q: %v", pins, err)
		}
	}
	// After a rotation, the pinned old CA still vouches for new leaves.
	if err := a.Rotate(now); err != nil {
		t.Fatal(err)
	}
	renewed := chainOf(t, issue(t, a, Request{Role: RoleMaster, Name: "m", Hosts: []string{"localhost"}}, now))
	c, err := OpenCredentials(CredentialsConfig{Files: files, Pins: ca1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.verifyServer(renewed, "localhost"); err != nil {
		t.Error(err)
	}
	worker := chainOf(t, issue(t, a, Request{Role: RoleWorker, Name: "w"}, now))
	if err := c.verifyServer(worker, ""); !errors.Is(err, ErrWrongUsage) {
		t.Errorf("a worker as a master: %v", err)
	}
}

func TestExpiryWarning(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	files := write(t, issue(t, a, Request{Role: RoleWorker, Name: "w", Lifetime: 40 * 24 * time.Hour}, now), t.TempDir())
	log := &lines{text: "expires soon", hit: make(chan struct{}, 1)}
	c, err := OpenCredentials(CredentialsConfig{Files: files, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w := watcher{c: c}
	for _, tc := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {11 * 24 * time.Hour, true}, {11*24*time.Hour + time.Hour, false}, {12*24*time.Hour + time.Hour, true}} {
		w.warnOfExpiry(t.Context(), now.Add(tc.after))
		warned := false
		select {
		case <-log.hit:
			warned = true
		default:
		}
		if warned != tc.want {
			t.Errorf("after %s: warned %v", tc.after, warned)
		}
	}
}

// TestOnlyMastersServe: a certificate that may be a TLS server but is not a
// master's is refused for its role.
func TestOnlyMastersServe(t *testing.T) {
	a, now := newAuthority(t), time.Now()
	c := open(t, write(t, issue(t, a, Request{Role: RoleUser, Name: "u"}, now), t.TempDir()))
	template, err := leafTemplate(Identity{Cluster: a.ClusterID(), Role: RoleWorker, Name: "w"}, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	worker, err := sign(template, a.signer, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.verifyServer([]*x509.Certificate{worker}, "localhost"); !errors.Is(err, ErrNotMaster) {
		t.Error(err)
	}
}
