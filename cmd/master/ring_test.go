package master

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"scaleout/cluster/pki"
)

// A key that could not be kept is not used, and is taken when it comes again and there is room.
func TestKeysThatCouldNotBeKeptAreNotTaken(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	had := pki.NewKeyRing()
	r := &ring{KeyRing: had, path: filepath.Join(folder, ringFile), log: slog.New(slog.DiscardHandler)}
	raw, err := pki.NewKeyRing().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Merge(raw); err == nil || r.Len() != 1 {
		t.Fatalf("there is no folder to keep the keys in: %d keys, %v", r.Len(), err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Merge(raw); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := pki.LoadKeyRing(r.path)
	if err != nil || r.Len() != 2 || !slices.Equal(kept.KeyIDs(), r.KeyIDs()) {
		t.Fatalf("%d keys in use, on disk %v, %v", r.Len(), kept, err)
	}
}
