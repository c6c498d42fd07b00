package testcluster_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// The bounds that must hold during every attack. They were chosen before the attacks were run.
const (
	attackP99    = time.Second // of the waiting times of honest callers
	attackMemory = 256 << 20   // of each master, above what it had before the attack
)

// attack is what a caller without a certificate, or with one that permits nothing, does to a cluster.
type attack struct {
	name string
	// prepare makes what the attack needs while the cluster is still quiet, such as folders with certificates, and returns
	// arguments for the attackers; nil: nothing.
	prepare func(t *testing.T, c *testcluster.Cluster) map[string]string
	// attack runs until ctx ends, in the attackers' process, at nice 19 and on one thread. It gets the masters' addresses
	// and the arguments. It counts its actions with x.did and must bound what it holds at a time.
	attack func(ctx context.Context, x *attacker) error
	// least is the smallest number of actions: an attack that did nothing proves nothing.
	least int64
	// after checks more than the common bounds; nil: nothing more.
	after func(t *testing.T, c *testcluster.Cluster)
}

// attacks lists all attacks; SCALEOUT_ATTACK_ONLY selects those whose names contain a text. To add one, write a
// function func(ctx, *attacker) error and add a line here: the test prepares, measures, checks and reports all attacks
// alike. Connections from x.dial come from 127.0.0.2; honest callers and masters use 127.0.0.1.
var attacks = slices.Concat(strangersAttacks, callersAttacks)

// TestAttacks runs the attacks one after the other, for SCALEOUT_ATTACK each, against three masters in processes, while
// honest callers measure.
func TestAttacks(t *testing.T) {
	text := os.Getenv("SCALEOUT_ATTACK")
	if text == "" {
		t.Skip("make attack runs it")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	c := testcluster.Start(t, 3, testcluster.Processes(), testcluster.Profile("lan"),
		testcluster.Settings(func(_ int, cfg *master.Config) {
			// The attackers run on this machine, but the masters must treat them like strangers on another one.
			cfg.Connections.Unlimited = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
		}))
	if _, err := rss(c.PID(0)); err != nil {
		t.Skipf("the memory of processes cannot be read here: %v", err)
	}
	for i := range attacks {
		a := &attacks[i]
		if !strings.Contains(a.name, os.Getenv("SCALEOUT_ATTACK_ONLY")) {
			continue
		}
		t.Run(a.name, func(t *testing.T) { underAttack(t, c, a, length) })
	}
}

// mostRounds is how often an attack is repeated that was too weak to be one.
const mostRounds = 10

// underAttack runs one attack and checks the bounds.
func underAttack(t *testing.T, c *testcluster.Cluster, a *attack, length time.Duration) {
	var args map[string]string
	if a.prepare != nil {
		args = a.prepare(t, c)
	}
	leader, before, quiet := calm(t, c, length)
	idle := memory(t, c)

	honest := newHonest(t, c)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	peaks := make([]int64, len(idle))
	group.Go(func() { watchMemory(ctx, t, c, peaks) })
	ended := make(chan struct{})
	group.Go(func() { honest.runUntil(ended) })
	// The attackers run at the lowest priority: where something else keeps the processors busy they need longer.
	did, err := runAttacker(t, c, a, args, length)
	for more := 0; err == nil && did < a.least && more < mostRounds; more++ {
		var n int64
		n, err = runAttacker(t, c, a, args, length)
		did += n
	}
	close(ended)
	stop()
	group.Wait()
	if err != nil {
		t.Errorf("the attackers: %v", err)
	}
	if did < a.least {
		t.Errorf("the attackers did it %d times; at least %d are an attack", did, a.least)
	}

	after, err := leads(t.Context(), c, leader)
	if err != nil || after.ID != before.ID || after.Term != before.Term {
		t.Errorf("leadership changed: %s in term %d before, %s in term %d after (%v)", before.Name, before.Term, after.Name,
			after.Term, err)
	}
	for _, e := range honest.failures() {
		t.Errorf("an honest caller: %v", e)
	}
	if p99 := honest.percentile(99); p99 >= attackP99 {
		t.Errorf("honest callers waited %v (99th percentile), %v before the attack; less than %v was expected", p99,
			quiet.percentile(99), attackP99)
	}
	most := int64(0)
	for i := range idle {
		grown := peaks[i] - idle[i]
		most = max(most, grown)
		if grown > attackMemory {
			t.Errorf("%s grew by %d MiB; at most %d were expected", c.Name(i), grown>>20, attackMemory>>20)
		}
	}
	if a.after != nil {
		a.after(t, c)
	}
	t.Logf("%d acts of attackers; honest callers: %d calls, median %v, 99th percentile %v (before: %v), slowest %v; "+
		"memory at most +%d MiB",
		did, honest.calls(), honest.percentile(50), honest.percentile(99), quiet.percentile(99), honest.percentile(100),
		most>>20)
}

// calm measures without an attack, for the same time, and returns the leader. If the machine alone exceeds the bounds,
// no attack can be judged.
func calm(t *testing.T, c *testcluster.Cluster, length time.Duration) (leader int, before wire.Leader, quiet *honest) {
	t.Helper()
	for try := 1; ; try++ {
		leader = c.Leader()
		var err error
		if before, err = leads(t.Context(), c, leader); err != nil {
			t.Fatal(err)
		}
		quiet = newHonest(t, c)
		quiet.run(t.Context(), length)
		after, err := leads(t.Context(), c, leader)
		if err == nil && after.ID == before.ID && after.Term == before.Term && quiet.percentile(99) < attackP99 &&
			len(quiet.failures()) == 0 {
			return leader, before, quiet
		}
		if try == 3 {
			t.Fatalf("this machine is too busy to judge an attack: without one, %s led in term %d before and %s in term %d "+
				"after (%v), and callers waited %v (99th percentile); failures: %v",
				before.Name, before.Term, after.Name, after.Term, err, quiet.percentile(99), quiet.failures())
		}
	}
}

func leads(ctx context.Context, c *testcluster.Cluster, i int) (wire.Leader, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return c.Client(i).Leader(ctx)
}

// honest callers make calls, on kept and on new connections, and record how long each waited.
type honest struct {
	c     *testcluster.Cluster
	kinds []func(ctx context.Context) error

	mu     sync.Mutex
	waited []time.Duration
	failed []error
}

func newHonest(t *testing.T, c *testcluster.Cluster) *honest {
	t.Helper()
	h := &honest{c: c}
	admin := c.Admin()
	h.kinds = append(h.kinds,
		func(ctx context.Context) error { _, err := admin.Call(ctx, "enable_scaleout", nil); return err },
		func(ctx context.Context) error { _, err := admin.View(ctx, "folders", client.Query{}); return err },
	)
	for i := range c.Masters() {
		one, fresh := c.Client(i), c.Nobody()
		fresh.Transport.(*http.Transport).DisableKeepAlives = true
		h.kinds = append(h.kinds,
			func(ctx context.Context) error { _, err := one.Leader(ctx); return err },
			func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.Address(i)+"/livez", nil)
				if err != nil {
					return err
				}
				resp, err := fresh.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("/livez of %s: %s", c.Name(i), resp.Status)
				}
				return nil
			})
	}
	return h
}

func (h *honest) run(ctx context.Context, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	h.runUntil(ctx.Done())
}

// runUntil makes each caller call again and again, with a pause between two calls.
func (h *honest) runUntil(ended <-chan struct{}) {
	var group sync.WaitGroup
	for _, call := range h.kinds {
		group.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				began := time.Now()
				err := call(ctx)
				took := time.Since(began)
				cancel()
				h.mu.Lock()
				h.waited = append(h.waited, took)
				if err != nil {
					h.failed = append(h.failed, err)
				}
				h.mu.Unlock()
				select {
				case <-ended:
					return
				case <-tick.C:
				}
			}
		})
	}
	group.Wait()
}

func (h *honest) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waited)
}

// failures returns the first few failures.
func (h *honest) failures() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed[:min(len(h.failed), 5)]
}

func (h *honest) percentile(p int) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waited) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(h.waited))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)].Round(100 * time.Microsecond)
}

// rss returns the resident memory of a process in bytes.
func rss(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

func memory(t *testing.T, c *testcluster.Cluster) []int64 {
	t.Helper()
	out := make([]int64, len(c.Masters()))
	for i := range out {
		var err error
		if out[i], err = rss(c.PID(i)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// watchMemory records the most memory that each master used until ctx ends.
func watchMemory(ctx context.Context, t *testing.T, c *testcluster.Cluster, peaks []int64) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for i := range peaks {
			now, err := rss(c.PID(i))
			if err != nil {
				t.Errorf("%s: %v", c.Name(i), err)
				return
			}
			peaks[i] = max(peaks[i], now)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
