package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cluster/recovery"
	"scaleout/fsm"
	"scaleout/store"
)

// leftBehind is the data directory of a stopped master with two snapshots, the log from before the first of them, and
// entries after the second.
func leftBehind(t *testing.T) (path, hash string) {
	t.Helper()
	w := newWorld(t)
	h := w.start(1, func(c *Config) { c.Snapshots = &Snapshots{Every: time.Hour, Entries: 1 << 40, Trailing: 1 << 20} })[0]
	w.leader()
	for i := range 45 {
		_, _, err := h.folder(within(t, waitLimit), fmt.Sprintf("folder %d", i))
		must(t, err)
		if i == 15 || i == 30 {
			must(t, h.node.raft.Snapshot().Error())
		}
	}
	must(t, h.stop())
	return filepath.Join(h.path, "data"), h.hash()
}

// rebuilt reads a data directory as 'cluster recover' does.
func rebuilt(path string) (hash string, last uint64, err error) {
	r, err := recovery.Inspect(path, slog.New(slog.DiscardHandler))
	return r.Hash, r.LastIndex, err
}

func TestRecoverReadsWhatCanBeRead(t *testing.T) {
	original, want := leftBehind(t)
	snapshots := func(path string) (oldest, newest string) {
		list, err := filepath.Glob(filepath.Join(path, "snapshots", "*-*-*"))
		must(t, err)
		if len(list) != 2 {
			t.Fatalf("%d snapshots, want 2", len(list))
		}
		return list[0], list[1] // all of one term, with indexes of equally many digits
	}
	edit := func(path string, change func([]byte) []byte) {
		raw, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(raw), 0o600))
	}
	bit := func(raw []byte) []byte { raw[len(raw)/2] ^= 4; return raw }
	// cut deletes the log up to an entry, as Raft does behind a snapshot.
	cut := func(path string, to uint64) {
		dir, err := store.Open(path, store.Options{CheckSnapshot: fsm.CheckHeader})
		must(t, err)
		must(t, dir.Log().DeleteRange(1, to))
		must(t, dir.Close())
	}
	for name, c := range map[string]struct {
		damage            func(path, oldest, newest string)
		connectionRefused []string // what the error says; nil: everything is read
	}{
		"nothing is damaged":     {damage: func(string, string, string) {}},
		"the newest content":     {damage: func(_, _, n string) { edit(filepath.Join(n, "state.bin"), bit) }},
		"the newest description": {damage: func(_, _, n string) { edit(filepath.Join(n, "meta.json"), bit) }},
		"the newest description is missing": {damage: func(_, _,
			n string) {
			must(t, os.Remove(filepath.Join(n, "meta.json")))
		}},
		"both contents": {damage: func(_, o, n string) {
			edit(filepath.Join(o, "state.bin"), bit)
			edit(filepath.Join(n, "state.bin"), bit)
		}, connectionRefused: []string{"none of the 2", "checksum"}},
		"the newest content, and the log begins behind the older one": {damage: func(path, _, n string) {
			cut(path, 25)
			edit(filepath.Join(n, "state.bin"), bit)
		}, connectionRefused: []string{"does not lead from one to the other"}},
		"the index in the newest description": {damage: func(path, _, n string) {
			cut(path, 25)
			edit(filepath.Join(n, "meta.json"), func(raw []byte) []byte {
				return bytes.Replace(raw, []byte(`"Index": 3`), []byte(`"Index": 2`), 1)
			})
		}, connectionRefused: []string{"meta.json", "checksum"}},
		"the newest directory's name": {damage: func(path, _, n string) {
			must(t, os.Rename(n, filepath.Join(filepath.Dir(n), "2-1000000-1")))
		}, connectionRefused: []string{"its directory is named 2-1000000-1"}},
		"the content of the older one in the newest": {damage: func(path, o, n string) {
			cut(path, 25)
			edit(filepath.Join(n, "state.bin"), func([]byte) []byte {
				raw, err := os.ReadFile(filepath.Join(o, "state.bin"))
				must(t, err)
				return raw
			})
		}, connectionRefused: []string{"state.bin"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			must(t, os.CopyFS(path, os.DirFS(original)))
			oldest, newest := snapshots(path)
			c.damage(path, oldest, newest)
			hash, last, err := rebuilt(path)
			if c.connectionRefused == nil {
				must(t, err)
				if hash != want {
					t.Errorf("another state, of entry %d", last)
				}
				return
			}
			if err == nil {
				t.Fatalf("not refused: entry %d, as it was: %v", last, hash == want)
			}
			for _, part := range c.connectionRefused {
				if !bytes.Contains([]byte(err.Error()), []byte(part)) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// The end of recovery is a snapshot at the end of the log, from which the master starts.
func TestRecoverFromTheOlderSnapshot(t *testing.T) {
	path, want := leftBehind(t)
	list, err := filepath.Glob(filepath.Join(path, "snapshots", "*-*-*", "state.bin"))
	must(t, err)
	must(t, os.Truncate(list[1], 100))
	_, last, err := rebuilt(path)
	must(t, err)
	r, err := recovery.Recover(path, filepath.Join(t.TempDir(), "copy"), slog.New(slog.DiscardHandler))
	must(t, err)
	if r.LastIndex != last || len(r.Members) != 1 {
		t.Errorf("%+v, want the end at %d and one member", r, last)
	}
	hash, end, err := rebuilt(path)
	must(t, err)
	if hash != want || end != last {
		t.Errorf("after recovery the state ends at %d (want %d), as before: %v", end, last, hash == want)
	}
}

// An entry that the state holds already ends the master, with a sentence and the code that keeps it down.
func TestAnEntryThatComesTwiceEndsTheMaster(t *testing.T) {
	w := newWorld(t)
	h := w.start(1)[0]
	w.leader()
	_, index, err := h.folder(within(t, waitLimit), "folder")
	must(t, err)
	var entry raft.Log
	must(t, h.dir.Log().GetLog(index, &entry))
	hash := h.hash()
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		h.fsm.Apply(&entry)
	}()
	select {
	case code := <-h.exits:
		if code != ExitStateMachine {
			t.Errorf("it ends with code %d", code)
		}
	case <-time.After(waitLimit):
		t.Error("it goes on")
	}
	h.fsm.Stop()
	<-applied
	if err := h.stop(); !errors.Is(err, ErrStateMachine) || !errors.Is(err, fsm.ErrOutOfOrder) {
		t.Errorf("Run ended with %v", err)
	}
	if !w.logs.has("move its data directory away") {
		t.Error("nobody is told what to do")
	}
	if again, _, err := rebuilt(filepath.Join(h.path, "data")); err != nil || again != hash {
		t.Errorf("its data is as it was: %v, %v", again == hash, err)
	}
}
