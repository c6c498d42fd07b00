package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// crowded is a port that others want to themselves.
type crowded struct {
	*node
	t         *testing.T
	worker    *security
	user      *security
	from      net.IP // of the next connection
	conns     []net.Conn
	anonymous *tls.Config
}

func newCrowded(t *testing.T, change func(*Config)) *crowded {
	t.Helper()
	ca := newTestCA(t)
	n := start(t, "m1", newSecurity(t, ca, testCluster, "master"), &book{}, change)
	c := &crowded{node: n, t: t, worker: newSecurity(t, ca, testCluster, "worker"),
		user: newSecurity(t, ca, testCluster, "user")}
	c.anonymous = withName(c.worker.ClientTLS(ALPNHTTP))
	c.anonymous.GetClientCertificate = nil
	serve(t, n.HTTP(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_,
			_ = io.WriteString(w, "known")
	}))
	serve(t, n.Strangers(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if limit, ok := Reached(r); ok {
			_, _ = io.WriteString(w, limit.Setting)
			return
		}
		_, _ = io.WriteString(w, "stranger")
	}))
	t.Cleanup(func() {
		for _, x := range c.conns {
			_ = x.Close()
		}
	})
	return c
}

// dial makes a connection; nil when it was refused before that was known here.
func (c *crowded) dial() net.Conn {
	c.t.Helper()
	d := net.Dialer{Timeout: 20 * time.Second}
	if c.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.from}
	}
	raw, err := d.DialContext(c.t.Context(), "tcp", c.addr)
	if isTimeout(err) {
		c.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	c.conns = append(c.conns, raw)
	return raw
}

// ask makes a connection, asks once on it, and returns what it is taken for.
func (c *crowded) ask(cfg *tls.Config) (*tls.Conn, string) {
	c.t.Helper()
	raw := c.dial()
	if raw == nil {
		return nil, "closed"
	}
	conn := tls.Client(raw, cfg)
	return conn, c.again(conn)
}

func (c *crowded) again(conn net.Conn) string {
	c.t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "closed"
	}
	buf := make([]byte, 1024)
	n, err := conn.Read(buf)
	if isTimeout(err) {
		c.t.Fatal("no answer and not closed")
	}
	if err != nil {
		return "closed"
	}
	for i := range n - 3 {
		if string(buf[i:i+4]) == "\r\n\r\n" {
			return string(buf[i+4 : n])
		}
	}
	return string(buf[:n])
}

func (c *crowded) refusals(setting string) float64 {
	return testutil.ToFloat64(c.metrics.refuses.WithLabelValues(setting))
}

var nobodyUnlimited = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}

func TestConnectionsAreCountedByTheNameInTheirCertificate(t *testing.T) {
	c := newCrowded(t, func(c *Config) { c.Limits = Limits{PerCertificate: 2, Connections: 3} })
	worker, user := withName(c.worker.ClientTLS(ALPNHTTP)), withName(c.user.ClientTLS(ALPNHTTP))
	first, got := c.ask(worker)
	for _, x := range []struct {
		cfg  *tls.Config
		want string
	}{
		{worker, "known"}, {worker, LimitPerCertificate}, {user, "known"}, {user, LimitConnections}, {c.anonymous,
			"stranger"},
	} {
		if _, next := c.ask(x.cfg); next != x.want {
			t.Errorf("%q, want %q", next, x.want)
		}
	}
	if again := c.again(first); got != "known" || again != "known" {
		t.Errorf("the first connection: %q, then %q", got, again)
	}
	if c.refusals(LimitPerCertificate) != 1 || c.refusals(LimitConnections) != 1 {
		t.Error("the refusals are not counted")
	}
	// A place that is given back is given out again.
	_ = first.Close()
	eventually(t, "the place to be free", func() bool { return c.holders.Held() == 2 })
	if _, got := c.ask(worker); got != "known" {
		t.Errorf("%q after a place became free", got)
	}
}

func TestStrangersMakeRoomForStrangers(t *testing.T) {
	for name, x := range map[string]struct {
		limits Limits
		want   string
	}{
		"in all":           {Limits{Strangers: 3}, LimitStrangers},
		"from one address": {Limits{PerAddress: 3, Unlimited: nobodyUnlimited}, LimitPerAddress},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowded(t, func(c *Config) { c.Limits = x.limits })
			_, got := c.ask(withName(c.worker.ClientTLS(ALPNHTTP)))
			if got != "known" {
				t.Fatal(got)
			}
			var conns []*tls.Conn
			for range 5 {
				conn, got := c.ask(c.anonymous)
				if got != "stranger" {
					t.Fatal(got)
				}
				conns = append(conns, conn)
			}
			for i, conn := range conns {
				want := "stranger"
				if i < 2 {
					want = "closed"
				}
				if got := c.again(conn); got != want {
					t.Errorf("connection %d: %q, want %q", i, got, want)
				}
			}
			if got := c.refusals(x.want); got != 2 {
				t.Errorf("%s refused %v, want 2", x.want, got)
			}
		})
	}
}

// A flood of connections that say nothing takes the places of nobody but its own address, and nobody waits for it.
func TestSilentConnectionsDoNotShutThePort(t *testing.T) {
	for name, silent := range map[string]string{"from elsewhere": "127.0.0.2", "from the same address": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			c := newCrowded(t, func(c *Config) {
				c.Limits = Limits{Handshakes: 8}
				c.Handshake = time.Hour // only the limit closes them
			})
			probe, err := net.Listen("tcp", silent+":0")
			if err != nil {
				t.Skipf("this system has no %s: %v", silent, err)
			}
			_ = probe.Close()
			for round := range 5 {
				c.from = net.ParseIP(silent)
				for range 20 {
					c.dial()
				}
				c.from = nil
				if name == "from the same address" {
					// Its own address is served in order: the places are free again within the grace of each.
					eventually(t, "an answer", func() bool { _, got := c.ask(c.anonymous); return got == "stranger" })
					continue
				}
				if _, got := c.ask(c.anonymous); got != "stranger" {
					t.Fatalf("round %d: %q", round, got)
				}
			}
			if c.refusals(LimitHandshakes) == 0 || c.outside.handshakes.Held() > 8 {
				t.Errorf("%v refused, %d handshakes", c.refusals(LimitHandshakes), c.outside.handshakes.Held())
			}
		})
	}
}

// From where a master is, others take no place of strangers elsewhere.
func TestMastersAddressesAreApart(t *testing.T) {
	c := newCrowded(t, func(c *Config) {
		c.Limits = Limits{Handshakes: 2, Strangers: 2}
		c.Masters = func() []string { return []string{"127.0.0.1:8391"} }
		c.Handshake = time.Hour
	})
	eventually(t, "the address to be known", func() bool {
		return c.MasterAt(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	})
	c.from = net.ParseIP("127.0.0.2")
	for range 3 {
		c.dial()
	}
	eventually(t, "the silent to be refused", func() bool { return c.refusals(LimitHandshakes) == 1 })
	c.from = nil
	if _, got := c.ask(c.anonymous); got != "stranger" {
		t.Errorf("%q at a master's address", got)
	}
	if c.outside.handshakes.Held() != 2 || c.outside.strangers.Held() != 0 || c.inside.strangers.Held() != 1 {
		t.Errorf("handshakes %d, strangers %d and %d", c.outside.handshakes.Held(), c.outside.strangers.Held(),
			c.inside.strangers.Held())
	}
}

func TestAliveAsksInside(t *testing.T) {
	c := newCrowded(t, nil)
	if err := c.Alive(); err != nil {
		t.Error(err)
	}
	conn, err := c.DialStranger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.again(conn); got != "stranger" {
		t.Errorf("%q", got)
	}
	_ = conn.Close()
	c.busy.Store(time.Now().Add(-2 * acceptTime).UnixNano())
	if c.Alive() == nil {
		t.Error("an accepting goroutine that hangs is alive")
	}
	c.busy.Store(0)
	c.stop()
	if _, err := c.DialHTTP(t.Context()); err == nil {
		t.Error("a server that has stopped took a connection")
	}
}

func TestLimitErrorsNameTheirSetting(t *testing.T) {
	for _, setting := range []string{LimitHandshakes, LimitConnections, LimitPerCertificate, LimitStrangers,
		LimitPerAddress} {
		var err error = &LimitError{setting, 7}
		var limit *LimitError
		if !errors.As(err, &limit) || len(err.Error()) < len(setting)+2 || err.Error()[0] != '7' {
			t.Error(err)
		}
	}
}

func TestHostOf(t *testing.T) {
	for entry, want := range map[string]string{
		"m1": "m1", "m1:8391": "m1", "10.0.0.7": "10.0.0.7", "10.0.0.7:1": "10.0.0.7", "fe80::1": "fe80::1",
		"[fe80::1]": "fe80::1", "[fe80::1]:1": "fe80::1", "": "",
	} {
		t.Run(entry, func(t *testing.T) {
			if got := hostOf(entry); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
