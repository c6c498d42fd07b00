package backup

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scaleout/cluster/archive"
	"scaleout/fsm/fsmtest"
)

var update = flag.Bool("update", false, "make the fixture if it is missing; it is never replaced")

// Backups of format 1, with the state that package fsm recorded, are read and restored for ever.
func TestFormat1IsRestored(t *testing.T) {
	catalog := filepath.Join("..", "..", "fsm", "testdata", "format-1")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(catalog, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	file := fsmtest.Fixture(t, filepath.Join("testdata", "format-1", "backup.tar"), *update, func() []byte {
		old := newCluster(t, "old")
		if err := old.state.Restore(io.NopCloser(bytes.NewReader(read("snapshot")))); err != nil {
			t.Fatal(err)
		}
		return save(t, old, withKey(t))
	})

	kept := newCluster(t, "kept").state
	var ring []byte
	if _, err := archive.Read(bytes.NewReader(file), func(e archive.Entry, content io.Reader) (err error) {
		switch e.Name {
		case archive.NameState:
			err = kept.Restore(io.NopCloser(content))
		case archive.NameKeyRing:
			ring, err = io.ReadAll(content)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	key, err := mustLock(t, ring).Key([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	_, hash, err := kept.Hash(t.Context())
	if want := strings.TrimSpace(string(read("hash"))); err != nil || hash != want {
		t.Errorf("the state has the hash %s, %v; want %s", hash, err, want)
	}

	fresh := newCluster(t, "fresh")
	out, err := fresh.backups(t, Schedule{}).Restore(t.Context(), bytes.NewReader(file), key)
	if err != nil {
		t.Fatal(err)
	}
	if out.Cluster != "c1" || out.Index != kept.Index() || !out.KeyRing || fresh.ring.Len() != 2 {
		t.Errorf("restored %+v, %d keys", out, fresh.ring.Len())
	}
	if named := slices.Sorted(kept.Reader().Blobs()); !slices.Equal(out.Missing, named) {
		t.Errorf("missing %v, the state names %v", out.Missing, named)
	}
}
