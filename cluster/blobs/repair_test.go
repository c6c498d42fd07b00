package blobs_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/blobs"
	"scaleout/store"
)

func (c *cluster) file(node, digest string) string {
	return filepath.Join(c.dirs[node], "blobs", digest[:2], digest)
}

func (c *cluster) bend(node, digest string, at int64) {
	c.t.Helper()
	f, err := os.OpenFile(c.file(node, digest), os.O_RDWR, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		c.t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		c.t.Fatal(err)
	}
}

// Whoever reads a blob that is damaged meanwhile reads on from a fresh copy, and does not notice.
func TestDamageIsMendedWhileABlobIsRead(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	content := strings.Repeat("0123456789", 40_000)
	digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader(content), 0)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "all three hold it", func() bool { return c.holders(digest) == 3 })
	b, err := c.keepers["a"].Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	c.bend("a", digest, 300_000)
	c.bend("b", digest, 5)
	rest, err := io.ReadAll(b)
	if err != nil || string(head)+string(rest) != content {
		t.Errorf("%d bytes, %v", len(head)+len(rest), err)
	}
	if n := c.keepers["a"].DamagedSinceStart(); n != 1 {
		t.Errorf("a says that it found %d damaged ones", n)
	}
	wait(t, "a has a good copy again", func() bool { return c.disks["a"].Verify(t.Context(), digest) == nil })
	// B hears of its own damage when it is asked for the blob, if not before.
	if got := read(t, c.keepers["b"], digest); got != content {
		t.Errorf("b reads %d bytes", len(got))
	}
}

// A copy that cannot be mended is not given out, and counts as missing.
func TestDamageWithoutAnotherHolder(t *testing.T) {
	c := start(t, []string{"a", "b"}, nil, time.Hour)
	close(c.caught)
	digest, _, err := c.disks["a"].Create(t.Context(), strings.NewReader("precious"), 0)
	if err != nil {
		t.Fatal(err)
	}
	c.name(digest, true)
	c.cutOff("b")
	b, err := c.keepers["a"].Open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c.bend("a", digest, 3)
	if got, err := io.ReadAll(b); !errors.Is(err, store.ErrCorrupt) || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
	wait(t, "it counts as missing", func() bool { return c.keepers["a"].Missing() == 1 })
}

// endsInCheck is a disk whose caller goes away at the moment when the check has ended well.
type endsInCheck struct {
	disk
	gone func()
}

func (d endsInCheck) Check(ctx context.Context, digest string) error {
	defer d.gone()
	return d.disk.Check(ctx, digest)
}

func TestTheCallerGoesAwayAsTheCheckEnds(t *testing.T) {
	c := start(t, []string{"a"}, nil, 0)
	digest, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader("project"), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	k := blobs.New(blobs.Config{Disk: endsInCheck{c.disks["a"], cancel}, Membership: membership{c, "a"}, Names: c})
	if blob, err := k.Open(ctx, digest); !errors.Is(err, context.Canceled) {
		t.Errorf("blob %v, error %v", blob, err)
	}
	if err := k.Ensure(ctx, digest); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A copy that nobody has read since its master began may be damaged. It does not make a majority before it has been
// read.
func TestADamagedCopyMakesNoMajority(t *testing.T) {
	c := start(t, []string{"a", "b", "c"}, nil, time.Hour)
	c.cutOff("c")
	const content = "precious"
	digest := sum(content)
	if err := os.MkdirAll(filepath.Dir(c.file("b", digest)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file("b", digest), []byte("precioux"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.keepers["a"].Store(t.Context(), strings.NewReader(content), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(c.file("b", digest)); string(got) != content {
		t.Errorf("stored by a majority, and b has %q, %v", got, err)
	}
}
