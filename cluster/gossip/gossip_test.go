package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// memberlist's Shutdown does not wait for a probe that is under way; it ends with its own time-out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

var key = bytes.Repeat([]byte{7}, 32)

// party is a running Gossip.
type party struct {
	*Gossip
	stop func()
}

// freePort is free for TCP and UDP, and below the range from which the kernel takes ports for others.
func freePort(t *testing.T) int {
	t.Helper()
	for i := range 2000 {
		port := 10000 + (os.Getpid()*41+i)%1900
		addr := fmt.Sprintf("127.0.0.1:%d", port)
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

func run(t *testing.T, id string, change func(*Config)) *party {
	t.Helper()
	cfg := Config{
		Self: Meta{ID: id, Name: "name-" + id, Address: id + ".example:8391", Version: "1.0", Level: 1,
			BootstrapExpect: 3},
		ClusterID: "cluster-1",
		Key:       key, BindAddress: "127.0.0.1", Fast: true, RetryInterval: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	select {
	case <-g.Started():
	case err := <-done:
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &party{g, stop}
}

func joining(others ...*party) func(*Config) {
	return func(c *Config) {
		for _, o := range others {
			c.RetryJoin = append(c.RetryJoin, o.Addr())
		}
	}
}

// until waits for a condition, looking again at every change.
func (p *party) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		changed := p.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("not in time: %s; members %+v", what, p.Members())
		}
	}
}

func names(ms []Member) string {
	var s []string
	for _, m := range ms {
		s = append(s, m.ID)
	}
	return strings.Join(s, " ")
}

func TestMembersHearOfEachOther(t *testing.T) {
	var mu sync.Mutex
	var events []string
	a := run(t, "a", func(c *Config) {
		c.OnEvent = func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf("%s %s", e.Kind, e.ID))
		}
	})
	b := run(t, "b", joining(a))
	c := run(t, "c", joining(a))
	for _, p := range []*party{a, b, c} {
		p.until(t, "three members", func() bool { return len(p.Members()) == 3 })
	}
	if got := names(b.Members()); got != "b a c" {
		t.Errorf("b lists %q; want itself first", got)
	}
	if addr, ok := c.Address("b"); !ok || addr != "b.example:8391" {
		t.Errorf("address of b: %q", addr)
	}
	if _, ok := c.Address("nobody"); ok {
		t.Error("an address of nobody")
	}
	if err := b.Update(func(m *Meta) { m.Stopping, m.HasState = true, true }); err != nil {
		t.Fatal(err)
	}
	a.until(t, "b's update", func() bool { m, _ := a.Member("b"); return m.Stopping && m.HasState && m.Version == "1.0" })

	b.stop()
	a.until(t, "b left", func() bool { return len(a.Members()) == 2 })
	if addr, ok := a.Address("b"); !ok || addr != "b.example:8391" {
		t.Errorf("the address of one that left: %q", addr)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(events, ", "); !strings.Contains(got, "joined b") || !strings.Contains(got, "updated b") ||
		!strings.Contains(got, "left b") {
		t.Errorf("events %s", got)
	}
}

func TestAnIDComesBackAtAnotherAddress(t *testing.T) {
	a := run(t, "a", nil)
	b := run(t, "b", joining(a))
	a.until(t, "b", func() bool { return len(a.Members()) == 2 })
	first := b.Addr()
	b.stop()
	again := run(t, "b", func(c *Config) {
		joining(a)(c)
		c.Self.Address = "elsewhere:8391"
	})
	a.until(t, "b at its new address", func() bool { addr, _ := a.Address("b"); return addr == "elsewhere:8391" })
	if again.Addr() == first {
		t.Skip("the kernel gave the same port again")
	}
}

func TestJoinIsTriedUntilSomeoneIsThere(t *testing.T) {
	port := freePort(t)
	a := run(t, "a", func(c *Config) { c.RetryJoin = []string{fmt.Sprintf("127.0.0.1:%d", port)} })
	b := run(t, "b", func(c *Config) { c.Port = port }) // knows nobody
	b.until(t, "a", func() bool { return len(b.Members()) == 2 })
	a.until(t, "b", func() bool { return len(a.Members()) == 2 })
}

func TestOtherClustersAndKeysStayOut(t *testing.T) {
	a := run(t, "a", nil)
	other := run(t, "b", func(c *Config) { joining(a)(c); c.ClusterID = "cluster-2" })
	wrong := run(t, "c", func(c *Config) { joining(a)(c); c.Key = bytes.Repeat([]byte{8}, 32) })
	good := run(t, "d", joining(a))
	good.until(t, "a", func() bool { return len(good.Members()) == 2 })
	// The others have had more tries than this one, which comes last.
	last := run(t, "e", joining(a))
	last.until(t, "a and d", func() bool { return len(last.Members()) == 3 })
	a.until(t, "a, d and e alone", func() bool { return names(a.Members()) == "a d e" })
	for _, p := range []*party{other, wrong} {
		if n := len(p.Members()); n != 1 {
			t.Errorf("%s sees %d members", p.Self().ID, n)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no id":         {func(c *Config) { c.Self.ID = "" }, "Self.ID"},
		"short key":     {func(c *Config) { c.Key = []byte("short") }, "5 bytes"},
		"bad port":      {func(c *Config) { c.Port = 70000 }, "70000"},
		"bind name":     {func(c *Config) { c.BindAddress = "host" }, `"host"`},
		"bad join":      {func(c *Config) { c.RetryJoin = []string{"host:99999"} }, "host:99999"},
		"empty join":    {func(c *Config) { c.RetryJoin = []string{""} }, "empty"},
		"node in join":  {func(c *Config) { c.RetryJoin = []string{"name/host"} }, "slash"},
		"long name":     {func(c *Config) { c.Self.Name = strings.Repeat("x", 600) }, "at most 512"},
		"long cluster":  {func(c *Config) { c.ClusterID = strings.Repeat("x", 300) }, "300"},
		"no cluster id": {func(c *Config) { c.ClusterID = "" }, "ClusterID"},
	} {
		cfg := Config{Self: Meta{ID: "a", Name: "a", Address: "a:1"}, ClusterID: "c", Key: key}
		c.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if bytes.Contains([]byte(fmt.Sprint(New(Config{Key: []byte("secret-key")}))), []byte("secret-key")) {
		t.Error("the key stands in the error")
	}
}

func TestATakenPortIsAnError(t *testing.T) {
	a := run(t, "a", nil)
	_, p, _ := net.SplitHostPort(a.Addr())
	var port int
	fmt.Sscan(p, &port)
	g, err := New(Config{Self: Meta{ID: "b", Name: "b", Address: "b:1"}, ClusterID: "c", Key: key,
		BindAddress: "127.0.0.1", Port: port, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), p) {
		t.Errorf("%v", err)
	}
}

func TestUpdateRefusesWhatDoesNotFit(t *testing.T) {
	g, err := New(Config{Self: Meta{ID: "a", Name: "a", Address: "a:1"}, ClusterID: "c", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Update(func(m *Meta) { m.Name = strings.Repeat("x", 600) }); err == nil || g.Self().Name != "a" {
		t.Errorf("%v, name %q", err, g.Self().Name)
	}
	if err := g.Update(func(m *Meta) { m.ID = "b"; m.Level = 2 }); err != nil || g.Self().ID != "a" ||
		g.Self().Level != 2 {
		t.Errorf("%v, %+v", err, g.Self())
	}
}

func TestWithPort(t *testing.T) {
	for in, want := range map[string]string{
		"host": "host:8392", "host:1": "host:1", "10.0.0.1": "10.0.0.1:8392", "::1": "[::1]:8392", "[::1]:5": "[::1]:5",
	} {
		if got, err := withPort(in, 8392); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}
