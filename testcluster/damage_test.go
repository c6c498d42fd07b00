package testcluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/cluster"
	"scaleout/cluster/pki"
	"scaleout/cluster/recovery"
	"scaleout/cmd/master"
	"scaleout/fsm"
	"scaleout/store"
	"scaleout/testcluster"
)

// Any change of a file in a master's data directory is refused with a sentence, repaired, or harmless. SCALEOUT_LONG
// changes every byte of the small files and thousands of places of the large ones.
func TestEveryByteOfTheDataDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	data := usedDirectory(t)
	t.Run("the log leads on from the older snapshot", func(t *testing.T) { damageAll(t, data, "*", "*/*", "*/*/*") })
	dir, err := store.Open(data, store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	list, err := dir.Snapshots().List()
	if err == nil {
		err = dir.Log().DeleteRange(1, list[0].Index)
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		t.Fatal(err)
	}
	t.Run("all depends on the newest snapshot", func(t *testing.T) { damageAll(t, data, "raft.db", "snapshots/*/*") })
}

// damageAll damages the files that match a pattern, one at a time.
func damageAll(t *testing.T, data string, patterns ...string) {
	want, repaired, err := examine(t, data)
	if err != nil || repaired {
		t.Fatalf("the undamaged directory: repaired %v, %v", repaired, err)
	}
	places, exhaustive := 10, 0
	if os.Getenv("SCALEOUT_LONG") != "" {
		places, exhaustive = 3000, 8<<10
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(data, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			st, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if st.IsDir() || filepath.Base(filepath.Dir(name)) == "quarantine" {
				continue
			}
			t.Run(strings.TrimPrefix(name, data+string(filepath.Separator)),
				func(t *testing.T) { damageFile(t, data, name, want, places, exhaustive) })
		}
	}
	if got, _, err := examine(t, data); err != nil || got != want {
		t.Errorf("in the end, with all files as they were: %v\n%s", err, got)
	}
}

func damageFile(t *testing.T, data, name, want string, places, exhaustive int) {
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for what, damaged := range damages(whole, places, exhaustive, rand.New(rand.NewPCG(7, uint64(len(whole))))) {
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, repaired, err := examine(t, data)
		switch {
		case err != nil:
			count["refused"]++
			checkSentence(t, what, err)
		case repaired:
			count["repaired"]++
		case got != want:
			t.Errorf("%s: silently another master:\n%s\nwant\n%s", what, got, want)
		default:
			count["no difference"]++
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(len(whole), "bytes:", count)
}

// damages returns changed copies of a file: with changed bits, bytes and blocks at many places, truncated, and with
// additions.
func damages(whole []byte, places, exhaustive int, r *rand.Rand) func(yield func(what string, damaged []byte) bool) {
	return func(yield func(string, []byte) bool) {
		var at []int
		if len(whole) <= exhaustive {
			for i := range whole {
				at = append(at, i)
			}
		} else {
			for range places {
				i := r.IntN(len(whole))
				at = append(at, i)
				// The head of a page or block and the bytes after it matter more than the middle.
				at = append(at, i/4096*4096+r.IntN(min(96, len(whole)-i/4096*4096)))
			}
		}
		for _, i := range at {
			b := slices.Clone(whole)
			bit := r.IntN(8)
			b[i] ^= 1 << bit
			if !yield(fmt.Sprintf("bit %d of byte %d", bit, i), b) {
				return
			}
			switch r.IntN(4) {
			case 0:
				b = slices.Clone(whole[:i])
				if !yield(fmt.Sprintf("cut off at %d", i), b) {
					return
				}
			case 1:
				b = slices.Clone(whole)
				clear(b[i:min(len(b), i+512)])
				if !yield(fmt.Sprintf("zeros from %d", i), b) {
					return
				}
			case 2:
				b = slices.Clone(whole)
				b[i] = byte(r.IntN(256))
				if !yield(fmt.Sprintf("byte %d is %#x", i, b[i]), b) {
					return
				}
			}
		}
		if yield("empty", nil) {
			yield("more at the end", append(slices.Clone(whole), " {}"...))
		}
	}
}

// checkSentence checks that an error names the file.
func checkSentence(t *testing.T, what string, err error) {
	t.Helper()
	text := err.Error()
	if len(text) < 40 || !strings.ContainsRune(text, filepath.Separator) || strings.Contains(text, "goroutine ") {
		t.Errorf("%s: not a sentence: %v", what, err)
	}
}

// usedDirectory returns the data directory of a stopped master that has worked: snapshots, later log entries, a vote,
// documents, project files and messages, and a key ring.
func usedDirectory(t *testing.T) string {
	t.Helper()
	c := testcluster.Start(t, 1, testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.Snapshots = &cluster.Snapshots{Every: 20 * time.Millisecond, Entries: 25, Trailing: 40}
	}))
	c.Deploy("F", "P", map[string]string{"a.sh": "echo one; exit 0\n"})
	c.Worker(testcluster.WorkerConfig{})
	for range 3 {
		c.WaitStatus(c.Run("F/P/a.sh", 0, nil), 20*time.Second, 7)
	}
	data := c.Data(0)
	c.Eventually("two snapshots", 20*time.Second, func() bool {
		c.Create("F/P/a.sh", nil)
		list, err := filepath.Glob(filepath.Join(data, "snapshots", "*", "meta.json"))
		return err == nil && len(list) >= 2
	})
	c.Stop(0)
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	// What a restore leaves if there is more than one master.
	dir, err := store.Open(copied, store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Save("installing", map[string]any{"pending": false, "since": time.Now()}),
		dir.Close()); err != nil {
		t.Fatal(err)
	}
	return copied
}

// examine reads a data directory as a start and 'cluster recover' do, and describes everything that belongs to the
// master. Repaired means that a damaged blob was set aside: it counts as missing until it is fetched again.
func examine(t *testing.T, path string) (text string, repaired bool, err error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	quiet := slog.New(slog.DiscardHandler)
	seen, err := recovery.Inspect(path, quiet)
	if err != nil {
		return "", false, err
	}
	dir, err := store.Open(path, store.Options{Logger: quiet, CheckSnapshot: fsm.CheckHeader})
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	var b strings.Builder
	fmt.Fprintf(&b, "master %s of cluster %s, entry %d, state %s, members %+v\n", seen.ID, seen.Cluster, seen.LastIndex,
		seen.Hash, seen.Members)
	term, err := dir.Log().GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return "", false, err
	}
	voteTerm, err := dir.Log().GetUint64([]byte("LastVoteTerm"))
	if err != nil {
		return "", false, err
	}
	vote, err := dir.Log().Get([]byte("LastVoteCand"))
	if err != nil {
		return "", false, err
	}
	fmt.Fprintf(&b, "term %d, vote in term %d for %x\n", term, voteTerm, vote)
	for _, name := range []string{"bootstrap", "installing"} {
		var v json.RawMessage
		found, err := dir.Load(name, &v)
		if err != nil {
			return "", false, err
		}
		fmt.Fprintf(&b, "%s %v %s\n", name, found, v)
	}
	ring, err := pki.LoadKeyRing(filepath.Join(path, "keyring.json"))
	if err != nil {
		return "", false, err
	}
	raw, err := ring.MarshalJSON()
	if err != nil {
		return "", false, err
	}
	fmt.Fprintf(&b, "keys %s\n", raw)
	for digest := range seen.State.Blobs() {
		switch err := dir.Blobs().Verify(context.Background(), digest); {
		case errors.Is(err, store.ErrCorrupt):
			repaired = true
			if dir.Blobs().Has(digest) {
				t.Errorf("blob %s is damaged and still here", digest)
			}
		case err != nil:
			return "", false, err
		}
		fmt.Fprintln(&b, "blob", digest)
	}
	return b.String(), repaired, nil
}
