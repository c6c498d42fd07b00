package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a CA for tests. Certificates carry the cluster as organization and
// the role as organizational unit.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

var serials atomic.Int64

func newTestCA(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
}

func (a *authority) issue(tb testing.TB, cluster, role string) tls.Certificate {
	tb.Helper()
	return a.issueFor(tb, cluster, role, net.IPv4(127, 0, 0, 1))
}

func (a *authority) issueFor(tb testing.TB, cluster, role string, ip net.IP) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)),
		Subject:      pkix.Name{Organization: []string{cluster}, OrganizationalUnit: []string{role}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth,
			x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{ip},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// security is a node's certificate, replaceable while it is in use.
type security struct {
	ca      *authority
	cluster string
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex
	changed chan struct{}
	seen    map[string]int // serials of the masters that were verified
}

func newSecurity(tb testing.TB, ca *authority, cluster, role string) *security {
	tb.Helper()
	s := &security{ca: ca, cluster: cluster, changed: make(chan struct{}), seen: map[string]int{}}
	cert := ca.issue(tb, cluster, role)
	s.current.Store(&cert)
	return s
}

func (s *security) rotate(tb testing.TB) string {
	tb.Helper()
	cert := s.ca.issue(tb, s.cluster, "master")
	s.current.Store(&cert)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return cert.Leaf.SerialNumber.String()
}

func (s *security) ServerTLS(alpn ...string) *tls.Config {
	perClient := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn, ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil },
	}
	cfg := perClient.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return perClient, nil }
	return cfg
}

func (s *security) ClientTLS(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn, RootCAs: s.ca.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.current.Load(), nil },
	}
}

func (s *security) VerifyPeer(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.ca.pool,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	if leaf.Subject.Organization[0] != s.cluster || leaf.Subject.OrganizationalUnit[0] != "master" {
		return fmt.Errorf("%s of %s is no master of ours", leaf.Subject.OrganizationalUnit, leaf.Subject.Organization)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[leaf.SerialNumber.String()]++
	return nil
}

// Holder names holders by their role: all workers share a name here.
func (s *security) Holder(cs tls.ConnectionState) (string, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", errors.New("no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.ca.pool,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return "", err
	}
	return leaf.Subject.OrganizationalUnit[0], nil
}

func (s *security) hasSeen(serial string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[serial] > 0
}

func (s *security) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// book says where nodes are; tests move and cut them.
type book struct {
	mu    sync.Mutex
	addrs map[string]string
}

func (b *book) set(id, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.addrs == nil {
		b.addrs = map[string]string{}
	}
	b.addrs[id] = addr
}

func (b *book) resolve(id string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := b.addrs[id]
	return addr, ok
}

type node struct {
	*Transport
	id   string
	addr string
	sec  *security
	stop func()
}

const testCluster = "cluster-a"

func discard() *slog.Logger {
	if os.Getenv("TRANSPORT_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// start runs a transport until the test ends or stop is called.
func start(tb testing.TB, id string, sec *security, b *book, change func(*Config)) *node {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	cfg := Config{Listener: l, Security: sec, NodeID: id, ClusterID: sec.cluster, Resolve: b.resolve, Logger: discard()}
	if change != nil {
		change(&cfg)
	}
	t, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	n := &node{Transport: t, id: id, addr: cfg.Listener.Addr().String(), sec: sec}
	b.set(id, n.addr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- t.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("Run of %s: %v", id, err)
			}
		case <-time.After(waitLimit):
			tb.Errorf("Run of %s does not end", id)
		}
	})
	tb.Cleanup(n.stop)
	return n
}

func masters(tb testing.TB, ids ...string) (map[string]*node, *book) {
	tb.Helper()
	ca, b, nodes := newTestCA(tb), &book{}, map[string]*node{}
	for _, id := range ids {
		nodes[id] = start(tb, id, newSecurity(tb, ca, testCluster, "master"), b, nil)
	}
	return nodes, b
}

// eventually waits for a condition that has no channel.
// patience bounds every wait. It is reached only when a test fails, so it leaves room for the busiest machine.
const waitLimit = 2 * time.Minute

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatal("timed out: " + what)
		}
	}
}
