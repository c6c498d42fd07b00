package backup

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"scaleout/cluster/archive"
)

// files returns the names in a folder.
func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// run runs the schedule for d of the bubble's time.
func run(t *testing.T, b *Backups, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestScheduleWritesAndPrunes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "files")
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(strings.Repeat("k", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // begins at midnight of 2000-01-01
		f := newCluster(t, "c1", "one")
		b := f.backups(t, Schedule{Folder: folder, Interval: time.Hour, Retain: 2, KeyFile: keyFile})
		run(t, b, 3*time.Hour+time.Minute)
		want := []string{"m_1-20000101T020000Z.tar", "m_1-20000101T030000Z.tar"}
		if got := files(t, folder); !slices.Equal(got, want) {
			t.Fatalf("the folder holds %q, want %q", got, want)
		}
		if at := testutil.ToFloat64(b.last); at != float64(time.Date(2000, 1, 1, 3, 0, 0, 0, time.UTC).Unix()) {
			t.Errorf("the metric says %v", time.Unix(int64(at), 0).UTC())
		}
		// A restart changes nothing: the next backup is due at 04:00.
		again := f.backups(t, Schedule{Folder: folder, Interval: time.Hour, Retain: 2, KeyFile: keyFile})
		run(t, again, 30*time.Minute)
		if got := files(t, folder); !slices.Equal(got, want) {
			t.Errorf("after a restart the folder holds %q, want %q", got, want)
		}
		newest, err := os.Open(filepath.Join(folder, want[1]))
		if err != nil {
			t.Fatal(err)
		}
		defer newest.Close()
		c, err := Inspect(newest)
		if err != nil || c.Blobs != 1 || c.Metadata.Master != "m/1" {
			t.Errorf("%+v, %v", c, err)
		}
		key, err := mustLock(t, c.KeyRing).Key([]byte(strings.Repeat("k", 32)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Unwrap(c.KeyRing, key, "c1"); err != nil {
			t.Error(err)
		}
	})
}

func mustLock(t *testing.T, wrapped []byte) archive.Lock {
	t.Helper()
	l, err := archive.LockOf(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What this master left unfinished goes. The files of others, and of nobody, stay; a clock that was ahead once puts
// nothing off.
func TestScheduleKnowsItsOwnFiles(t *testing.T) {
	folder := t.TempDir()
	others := []string{
		"m_1-b-19990101T000000Z.tar", "m_1-b-19990101T000000Z.tar.tmp-17", "m_2-19990101T000000Z.tar", "m_1-notes.tar",
		"m_1-20990101T000000Z.tar", "m_1-19990101T000000Z.tar.old", "notes.tmp-3",
	}
	for _, name := range append([]string{"m_1-19990101T000000Z.tar.tmp-17", "m_1-19990101T000000Z.tar"}, others...) {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, "c1").backups(t, Schedule{Folder: folder, Interval: time.Hour, Retain: 2})
		run(t, b, time.Minute)
		want := slices.Sorted(slices.Values(append(slices.Clone(others), "m_1-20000101T000000Z.tar")))
		if got := files(t, folder); !slices.Equal(got, want) {
			t.Errorf("the folder holds %q, want %q", got, want)
		}
	})
}

func TestScheduleTriesAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "files")
	keyFile := filepath.Join(t.TempDir(), "key")
	synctest.Test(t, func(t *testing.T) {
		b := newCluster(t, "c1").backups(t, Schedule{Folder: folder, Interval: 24 * time.Hour, Retain: 2, KeyFile: keyFile})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if n := testutil.ToFloat64(b.failures); n != 2 {
			t.Errorf("%v failures in 15 minutes, want one every 10 minutes", n)
		}
		if got := files(t, folder); len(got) != 0 {
			t.Errorf("the folder holds %q", got)
		}
		if err := os.WriteFile(keyFile, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := files(t, folder); len(got) != 1 {
			t.Errorf("the folder holds %q", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestScheduleWaitsForTheState(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "files")
	synctest.Test(t, func(t *testing.T) {
		f := newCluster(t, "c1")
		f.caughtUp = make(chan struct{})
		run(t, f.backups(t, Schedule{Folder: folder, Interval: time.Hour, Retain: 2}), 5*time.Hour)
		if got := files(t, folder); len(got) != 0 {
			t.Errorf("the folder holds %q", got)
		}
	})
}

// Without a schedule the files of a restore that was killed still go, wherever the folder is, and no others.
func TestWithoutASchedule(t *testing.T) {
	for _, folder := range []string{"data", "data [1]", "da*ta["} {
		t.Run(folder, func(t *testing.T) {
			b := newCluster(t, "c1").backups(t, Schedule{})
			if b.cfg.Spool = filepath.Join(t.TempDir(), folder); os.Mkdir(b.cfg.Spool, 0o700) != nil {
				t.Skip("this system has no folders of such names")
			}
			for _, name := range []string{spoolPrefix + "17.tmp", "node.json", spoolPrefix + "notes", "17.tmp"} {
				if err := os.WriteFile(filepath.Join(b.cfg.Spool, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := files(t, b.cfg.Spool), []string{"17.tmp", "node.json", spoolPrefix + "notes"}; !slices.Equal(got,
				want) {
				t.Errorf("left are %q, want %q", got, want)
			}
		})
	}
}
