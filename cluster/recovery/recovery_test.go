package recovery

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A mark outlives the process, stops the next start, and is gone when it is cleared.
func TestTheMarkOfAnInstall(t *testing.T) {
	path := t.TempDir()
	for _, step := range []struct {
		name    string
		do      func(*store.Dir) error
		pending bool
	}{
		{"none", func(*store.Dir) error { return nil }, false},
		{"marked", func(d *store.Dir) error { return MarkInstalling(d, time.Now()) }, true},
		{"still marked", func(*store.Dir) error { return nil }, true},
		{"cleared", ClearInstalling, false},
	} {
		t.Run(step.name, func(t *testing.T) {
			dir, err := store.Open(path, store.Options{})
			must(t, err)
			defer func() { must(t, dir.Close()) }()
			must(t, step.do(dir))
			err = CheckInstalling(dir)
			if errors.Is(err, ErrInstalling) != step.pending || err != nil != step.pending {
				t.Errorf("%v", err)
			}
			if step.pending && !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not say which directory", err)
			}
		})
	}
}

func TestAnEmptyDirectoryIsNoMaster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if _, err := Inspect(path, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "holds nothing of a cluster") {
		t.Errorf("inspected: %v", err)
	}
}
