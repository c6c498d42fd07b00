package blobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster/blobs"
	"scaleout/fsm/command"
	"scaleout/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a real data directory's blobs.
type disk struct{ *store.Blobs }

func (d disk) Open(digest string) (blobs.Blob, error) { return d.Blobs.Open(digest) }
func (d disk) Mark(digest string, u blobs.Upload) error {
	return d.Blobs.Mark(digest, store.Upload(u))
}

func (d disk) Marked() map[string]blobs.Upload {
	out := map[string]blobs.Upload{}
	for digest, u := range d.Blobs.Marked() {
		out[digest] = blobs.Upload(u)
	}
	return out
}
func (d disk) Touch(digest string) (bool, error) { return d.Blobs.Touch(digest) }

// net3 is a few masters that reach each other over real HTTP; a cut one answers nobody.
type cluster struct {
	t       *testing.T
	mu      sync.Mutex
	names   map[string]bool
	cut     map[string]bool
	index   uint64
	voters  []string
	others  []string
	servers map[string]*httptest.Server
	keepers map[string]*blobs.Keeper
	disks   map[string]disk
	dirs    map[string]string
	caught  chan struct{} // closed: the masters have caught up
}

type membership struct {
	c    *cluster
	self string
}

func (m membership) Self() string { return m.self }
func (m membership) Configuration() (uint64, []string, []string) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.c.index, slices.Clone(m.c.voters), slices.Clone(m.c.others)
}

func (c *cluster) Named(digest string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[digest]
}

func (c *cluster) Digests() iter.Seq[string] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Values(slices.Sorted(maps.Keys(c.names)))
}

// stall is how long a transfer may stand still in these tests.
const stall = 300 * time.Millisecond

func start(t *testing.T, voters, others []string, keep time.Duration) *cluster {
	c := &cluster{
		t: t, names: map[string]bool{}, cut: map[string]bool{}, voters: voters, others: others,
		servers: map[string]*httptest.Server{}, keepers: map[string]*blobs.Keeper{}, disks: map[string]disk{},
		dirs:   map[string]string{},
		caught: make(chan struct{}),
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			id, _, _ := net.SplitHostPort(addr)
			c.mu.Lock()
			gone := c.cut[id]
			to := c.servers[id].Listener.Addr().String()
			c.mu.Unlock()
			if gone {
				return nil, errors.New("cut off")
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: plain{transport}}
	for _, id := range append(slices.Clone(voters), others...) {
		path := filepath.Join(t.TempDir(), id)
		dir, err := store.Open(path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		c.dirs[id], c.disks[id] = path, disk{dir.Blobs()}
		k := blobs.New(blobs.Config{
			Disk: c.disks[id], Peers: blobs.HTTP{Client: client}, Membership: membership{c, id}, Names: c, Keep: keep,
			Look: 20 * time.Millisecond, Stall: stall, MaxBytes: most, MaxUnnamed: most,
		})
		dir.Blobs().OnDamage(k.Damaged)
		c.keepers[id] = k
		c.servers[id] = httptest.NewServer(k.Handler())
		t.Cleanup(c.servers[id].Close)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := k.Run(ctx, c.caught); err != nil {
				t.Error(err)
			}
		}()
		t.Cleanup(func() { cancel(); <-done })
	}
	return c
}

// plain lets the keeper's https URLs meet the test's plain servers.
type plain struct{ next http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	if !strings.Contains(r.URL.Host, ":") {
		r.URL.Host += ":80"
	}
	return p.next.RoundTrip(r)
}

func (c *cluster) cutOff(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cut)
	for _, id := range ids {
		c.cut[id] = true
	}
}

func (c *cluster) name(digest string, named bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if named {
		c.names[digest] = true
	} else {
		delete(c.names, digest)
	}
}

func (c *cluster) holders(digest string) (n int) {
	for _, d := range c.disks {
		if d.Has(digest) {
			n++
		}
	}
	return n
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: ", what)
		}
		<-tick.C
	}
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func read(t *testing.T, k *blobs.Keeper, digest string) string {
	t.Helper()
	b, err := k.Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	raw, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAMajorityHoldsABlobBeforeStoreReturns(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, []string{"d"}, time.Hour)
	c.cutOff("c")
	digest, size, err := c.keepers["a"].Store(t.Context(), strings.NewReader("project"), 100)
	if err != nil || size != 7 || digest != sum("project") {
		t.Fatal(digest, size, err)
	}
	if !c.disks["a"].Has(digest) || !c.disks["b"].Has(digest) || c.disks["c"].Has(digest) {
		t.Error("want it on a and b, and not on c")
	}
	wait(t, "the non-voter gets what voters get", func() bool { return c.disks["d"].Has(digest) })
}

func TestStoreFailsWithoutAMajorityOfVoters(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, []string{"d"}, time.Hour)
	c.cutOff("b", "c") // the non-voter d takes it, and counts for nothing
	_, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("project"), 100)
	if !errors.Is(err, command.ErrNoMajority) {
		t.Fatalf("%v, want ErrNoMajority", err)
	}
}

func TestALargerBlobThanAllowedIsRefused(t *testing.T) {
	c := start(t, []string{"a"}, nil, time.Hour)
	_, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("project"), 6)
	if !errors.Is(err, command.ErrBlobTooLarge) {
		t.Fatalf("%v, want ErrTooLarge", err)
	}
}

func TestANewConfigurationIsConfirmedAgain(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	c.cutOff("c")
	digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("x"), 10)
	if err != nil {
		t.Fatal(err)
	}
	c.cutOff("b") // a's confirmation stands while the configuration does
	if err := c.keepers["a"].Ensure(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.index++
	c.mu.Unlock()
	if err := c.keepers["a"].Ensure(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	if !c.disks["c"].Has(digest) {
		t.Error("under the new configuration c should have been given the blob: b does not answer")
	}
}

func TestScrubMendsADamagedAndAMissingBlob(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("precious"), 100)
	if err != nil {
		t.Fatal(err)
	}
	c.name(digest, true)
	wait(t, "all three hold it", func() bool { return c.holders(digest) == 3 })
	var file string
	err = filepath.WalkDir(c.dirs["b"], func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == digest {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatal(file, err)
	}
	if err := os.WriteFile(file, []byte("preciouz"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.keepers["b"].Scrub(t.Context(), true)
	if got := read(t, c.keepers["b"], digest); got != "precious" {
		t.Errorf("after the scrub b reads %q", got)
	}
	missing := sum("never stored")
	c.name(missing, true)
	c.keepers["b"].Scrub(t.Context(), false)
	if n := c.keepers["b"].Missing(); n != 1 {
		t.Errorf("%d blobs missing, want 1", n)
	}
	if lacking := c.keepers["b"].Lacking(); !slices.Equal(lacking, []string{missing}) {
		t.Errorf("lacking %v", lacking)
	}
}

// Who was cut off while a blob was stored gets it soon after, although nothing tells it.
func TestWhoWasCutOffLooksForWhatItLacks(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	close(c.caught)
	c.cutOff("c")
	digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("precious"), 100)
	if err != nil {
		t.Fatal(err)
	}
	c.name(digest, true)
	if few, none := c.keepers["a"].Without(t.Context(), "b"); !slices.Equal(few, []string{digest}) || len(none) > 0 {
		t.Errorf("without b few would hold %v, none %v", few, none)
	}
	removal := func(keeper string, gone, refused bool) {
		t.Helper()
		err := c.keepers[keeper].CheckRemoval(t.Context(), "b", gone)
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), digest) {
			t.Errorf("%s about the removal of b, gone %v: %v; refused was expected: %v", keeper, gone, err, refused)
		}
	}
	removal("a", false, true)
	removal("a", true, false)
	c.cutOff("a")
	removal("c", true, true)
	if few, none := c.keepers["c"].Without(t.Context(), "b"); !slices.Equal(few, []string{digest}) ||
		!slices.Equal(none, few) {
		t.Errorf("without b, and a silent, few would hold %v, none %v", few, none)
	}
	c.cutOff()
	wait(t, "all three hold it", func() bool { return c.holders(digest) == 3 })
	removal("a", false, false)
	if few, none := c.keepers["a"].Without(t.Context(), "b"); len(few)+len(none) > 0 {
		t.Errorf("without b few would hold %v, none %v", few, none)
	}
}

func TestOnlyWhatNothingNamesIsDeletedAndOnlyAfterItsTime(t *testing.T) {
	const keep = 30 * time.Millisecond
	c := start(t, []string{"a"}, nil, keep)
	k := c.keepers["a"]
	named, _, err := k.Store(t.Context(), strings.NewReader("named"), 100)
	if err != nil {
		t.Fatal(err)
	}
	c.name(named, true)
	loose, _, err := k.Store(t.Context(), strings.NewReader("loose"), 100)
	if err != nil {
		t.Fatal(err)
	}
	if k.Collect() != 0 {
		t.Fatal("deleted before this node has passed a barrier")
	}
	ctx, cancel := context.WithCancel(t.Context())
	caught := make(chan struct{})
	close(caught)
	done := make(chan error)
	go func() { done <- k.Run(ctx, caught) }()
	wait(t, "the loose blob goes", func() bool { k.Collect(); return !c.disks["a"].Has(loose) })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !c.disks["a"].Has(named) {
		t.Error("a named blob was deleted")
	}
	again, _, err := k.Store(t.Context(), strings.NewReader("after a restore"), 100)
	if err != nil {
		t.Fatal(err)
	}
	k.Restored()
	deadline := time.Now().Add(keep / 2)
	for time.Now().Before(deadline) {
		if k.Collect(); !c.disks["a"].Has(again) {
			t.Fatal("deleted right after a restore")
		}
	}
}

func TestPromotionWaitsForEveryNamedBlobAndRemovalForAMajority(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, []string{"d"}, time.Hour)
	c.cutOff("d", "c")
	var digests []string
	for _, text := range []string{"one", "two"} {
		digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader(text), 100)
		if err != nil {
			t.Fatal(err)
		}
		c.name(digest, true)
		digests = append(digests, digest)
	}
	if err := c.keepers["a"].Holds(t.Context(), "d"); err == nil {
		t.Error("a node that does not answer was said to hold every blob")
	}
	c.cutOff()
	if err := c.keepers["a"].Holds(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	for _, digest := range digests {
		if !c.disks["d"].Has(digest) {
			t.Error("d was said to hold what it lacks")
		}
	}
	// Only a and b hold the blobs among the voters: without b, a alone is no majority of a and c.
	if few, none := c.keepers["a"].Without(t.Context(), "b"); len(few) != 2 || len(none) > 0 {
		t.Errorf("without b few would hold %v, none %v; want both blobs and none", few, none)
	}
	if few, none := c.keepers["a"].Without(t.Context(), "c"); len(few)+len(none) > 0 {
		t.Errorf("without c few would hold %v, none %v", few, none)
	}
}
