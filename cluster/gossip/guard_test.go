package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// lines is a log that counts.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// stranger connects to a party's gossip port from an address of this machine.
func stranger(t *testing.T, p *party, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
	c, err := d.Dial("tcp", p.Addr())
	if err != nil {
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skipf("this system has no %s: %v", from, err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ended waits until the other side has closed a connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection is still open")
	}
}

// announced is the beginning of an encrypted message of 20 MiB less a byte, which memberlist takes before it looks at
// the key.
func announced(t *testing.T) []byte {
	t.Helper()
	const encryptMsg = 10
	head := append([]byte{244, byte(len("cluster-1"))}, "cluster-1"...)
	return binary.BigEndian.AppendUint32(append(head, encryptMsg), 20<<20-1)
}

func (g *Gossip) refusals(setting string) float64 {
	return testutil.ToFloat64(g.refused.WithLabelValues(setting))
}

func TestAConnectionBringsFewBytesBeforeTheKeyIsChecked(t *testing.T) {
	p := run(t, "a", func(c *Config) { c.Limits.Bytes = 64 << 10 })
	c := stranger(t, p, "127.0.0.1")
	sent := make(chan int, 1)
	go func() {
		n, _ := c.Write(announced(t))
		block := make([]byte, 64<<10)
		for range 320 {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			k, err := c.Write(block)
			if n += k; err != nil {
				break
			}
		}
		sent <- n
	}()
	ended(t, c)
	// What the kernels buffer comes on top.
	if n := <-sent; n >= 20<<20 || p.refusals(LimitBytes) != 1 {
		t.Errorf("%d bytes were taken, %v refused", n, p.refusals(LimitBytes))
	}
}

func TestStrangersKeepNobodyOutOfTheGossip(t *testing.T) {
	p := run(t, "a", func(c *Config) {
		c.Limits.Connections = 8
		c.Master = func(a net.Addr) bool { return strings.HasPrefix(a.String(), "127.0.0.1:") }
	})
	var held []net.Conn
	for range 6 {
		held = append(held, stranger(t, p, "127.0.0.2"))
	}
	for _, c := range held[:4] {
		ended(t, c) // two of eight places for one address
	}
	p.until(t, "four refusals", func() bool { return p.refusals(LimitConnections) == 4 })
	b := run(t, "b", joining(p))
	p.until(t, "b", func() bool { return names(p.Members()) == "a b" })
	b.until(t, "a", func() bool { return names(b.Members()) == "b a" })
}

func TestOnlyFromIsAnAllowList(t *testing.T) {
	p := run(t, "a", func(c *Config) {
		c.Limits.OnlyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.3/32")}
		c.Master = func(a net.Addr) bool { return strings.HasPrefix(a.String(), "127.0.0.1:") }
	})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}, Timeout: 20 * time.Second}
	if c, err := d.Dial("tcp", p.Addr()); err == nil { // else it was refused before that was known here
		defer c.Close()
		ended(t, c)
	}
	p.until(t, "the connection to be refused", func() bool { return p.refusals(LimitFrom) == 1 })
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.0.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	to, err := net.ResolveUDPAddr("udp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the packet to be dropped", func() bool { return p.refusals(LimitFrom) == 2 })
	b := run(t, "b", joining(p)) // at a master's address
	b.until(t, "a", func() bool { return names(b.Members()) == "b a" })
}

func TestBadPacketsAreLoggedOnceInAWhile(t *testing.T) {
	log := &lines{}
	p := run(t, "a", func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	u, err := net.Dial("udp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for i := range 300 {
		for _, packet := range [][]byte{{byte(i), 1, 2, 3}, append([]byte{244, 3}, byte('a'+i%26), byte('a'+i/26), 'x', 1)} {
			if _, err := u.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.until(t, "a line", func() bool { return log.with("packet") > 0 })
	p.stop() // it takes what has come before it ends, or nothing more
	if n := log.with("packet"); n == 0 || n > 4 {
		t.Errorf("%d lines about packets: %s", n, log.buf.String())
	}
}

func TestKindsOfLines(t *testing.T) {
	for _, x := range []struct {
		a, b string
		same bool
	}{
		{`discarding packet with unacceptable label "a": from=1.2.3.4:5`,
			`discarding packet with unacceptable label "b\"c": from=9.9.9.9:1`, true},
		{"Suspect x has failed, no acks received", "Suspect y has failed, no acks received", false},
		{"UDP packet too short (1 bytes) from=1.2.3.4:5", "UDP packet too short (0 bytes) from=1.2.3.4:6", true},
	} {
		if (kindOf(x.a) == kindOf(x.b)) != x.same {
			t.Errorf("%q and %q: %q, %q", x.a, x.b, kindOf(x.a), kindOf(x.b))
		}
	}
}

var _ memberlist.NodeAwareTransport = (*guard)(nil)
