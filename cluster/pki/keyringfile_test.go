package pki

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A key that could not be kept is not used, and is taken when it comes again and there is room.
func TestKeysThatCouldNotBeKeptAreNotTaken(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	had := NewKeyRing()
	r := &KeyRingFile{KeyRing: had, path: filepath.Join(folder, keyRingFile), log: slog.New(slog.DiscardHandler)}
	raw, err := NewKeyRing().MarshalJSON()
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
	kept, err := LoadKeyRing(r.path)
	if err != nil || r.Len() != 2 || !slices.Equal(keyIDs(kept), keyIDs(r.KeyRing)) {
		t.Fatalf("%d keys in use, on disk %v, %v", r.Len(), kept, err)
	}
}

func TestOpenKeyRingFile(t *testing.T) {
	save := func(t *testing.T, k *KeyRing, path string) {
		t.Helper()
		if err := k.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name             string
		own, given       bool // whether there is a ring in the directory, and one in the file to import
		named            bool // whether a file to import is named
		keys             int
		refused, written bool
	}{
		{"the first start", false, true, true, 1, false, true},
		{"the first start without a file", false, false, true, 0, true, false},
		{"the first start without a setting", false, false, false, 0, true, false},
		{"a later start", true, true, true, 2, false, true},
		{"a later start after the file went", true, false, true, 1, false, true},
		{"a later start without a setting", true, true, false, 1, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(t.TempDir(), "given.json")
			if c.own {
				save(t, NewKeyRing(), filepath.Join(dir, keyRingFile))
			}
			if c.given {
				save(t, NewKeyRing(), file)
			}
			if !c.named {
				file = ""
			}
			r, err := OpenKeyRingFile(dir, file, slog.New(slog.DiscardHandler))
			if (err != nil) != c.refused {
				t.Fatal(err)
			}
			if err == nil && r.Len() != c.keys {
				t.Errorf("%d keys, want %d", r.Len(), c.keys)
			}
			kept, err := LoadKeyRing(filepath.Join(dir, keyRingFile))
			if (err == nil) != c.written || c.written && kept.Len() != c.keys {
				t.Errorf("on disk: %v, %v", kept, err)
			}
		})
	}
}

// keyIDs are the ids of all keys, oldest first; the last one seals.
func keyIDs(k *KeyRing) []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.ID
	}
	return ids
}
