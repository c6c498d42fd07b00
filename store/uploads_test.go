package store

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scaleout/fsm/command"
)

func TestWhoUploadedABlob(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	b := d.Blobs()
	kept, gone, never, bent := put(t, b, "kept"), put(t, b, "gone"), digestOf("never came"), put(t, b, "bent")
	for _, digest := range []string{kept, gone, never, bent} {
		must(t, b.Mark(digest, Upload{By: "anna", Size: 4}))
	}
	must(t, b.Mark(kept, Upload{By: "bert", Size: 5}))
	if ok, err := b.Delete(gone, time.Now().Add(time.Hour)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want := map[string]Upload{kept: {"bert", 5}, never: {"anna", 4}, bent: {"anna", 4}}
	if got := b.Marked(); !maps.Equal(got, want) {
		t.Errorf("marked %v, want %v", got, want)
	}
	wantErr(t, b.Mark("x", Upload{}), command.ErrDigest)
	closeDir(t, d)
	flip(t, filepath.Join(path, blobsName, uploadsName, bent+".json"), 30)
	must(t, os.WriteFile(filepath.Join(path, blobsName, uploadsName, "orphan"), nil, 0o600))

	d = open(t, path)
	b = d.Blobs()
	if got, want := b.Marked(), (map[string]Upload{kept: {"bert", 5}}); !maps.Equal(got, want) {
		t.Errorf("after a restart %v are marked, want %v", got, want)
	}
	if left, err := os.ReadDir(filepath.Join(path, blobsName, uploadsName)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v are left", left, err)
	}
	must(t, b.Unmark(kept))
	must(t, b.Unmark(kept))
	if len(b.Marked()) != 0 || !b.Has(kept) {
		t.Error("unmarking took the wrong thing away")
	}
	d.Freeze()
	wantErr(t, b.Mark(kept, Upload{By: "anna"}), ErrFrozen)
}
