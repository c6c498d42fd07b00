package store

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm"
	"scaleout/fsm/fsmtest"
)

var update = flag.Bool("update", false, "make the fixture if it is missing; it is never replaced")

const (
	fixtureTerm = 3
	fixtureBlob = "the content of a project file\n"
)

// makeFixture writes a data directory as a node leaves it: a log, a snapshot of its middle, a blob, a document, a term.
func makeFixture(t *testing.T, path string, logs []*raft.Log) {
	t.Helper()
	d := open(t, path)
	half := len(logs) / 2
	must(t, d.Log().StoreLogs(logs))
	must(t, d.Log().SetUint64([]byte("CurrentTerm"), fixtureTerm))
	machine := fsm.New(fsm.Config{Logger: quiet()})
	for _, l := range logs[:half] {
		machine.Apply(l)
	}
	members := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b:1"}}}
	sink, err := d.Snapshots().Create(1, uint64(half), fixtureTerm, members, 1, nil)
	must(t, err)
	snapshot, err := machine.Snapshot()
	must(t, err)
	must(t, snapshot.Persist(sink))
	_, _, err = d.Blobs().Create(t.Context(), strings.NewReader(fixtureBlob), 1<<20)
	must(t, err)
	must(t, d.Save("fixture", map[string]string{"key": "value"}))
	closeDir(t, d)
}

// Data directories of format 1 are read for ever, and lead to the same state.
func TestFormat1IsRead(t *testing.T) {
	fixture := filepath.Join("testdata", "format-1", "data")
	catalog := filepath.Join("..", "fsm", "testdata", "format-1")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(catalog, name))
		must(t, err)
		return b
	}
	if _, err := os.Stat(fixture); os.IsNotExist(err) && *update {
		path := t.TempDir()
		makeFixture(t, path, fsmtest.ParseLog(t, read("log")))
		must(t, os.MkdirAll(filepath.Dir(fixture), 0o755))
		must(t, CopyDir(path, fixture)) // without the lock
	}
	path := filepath.Join(t.TempDir(), "data") // opening changes a directory
	must(t, os.CopyFS(path, os.DirFS(fixture)))

	d := open(t, path, func(o *Options) { o.CheckSnapshot = fsm.CheckHeader })
	if d.New() {
		t.Error("the directory counts as a new one")
	}
	if term, err := d.Log().GetUint64([]byte("CurrentTerm")); err != nil || term != fixtureTerm {
		t.Errorf("term %d, %v", term, err)
	}
	var document map[string]string
	if found, err := d.Load("fixture", &document); err != nil || !found || document["key"] != "value" {
		t.Errorf("document %v, %v", document, err)
	}
	list, err := d.Snapshots().List()
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d snapshots, want 1", len(list))
	}
	_, content, err := d.Snapshots().Open(list[0].ID)
	must(t, err)
	machine := fsm.New(fsm.Config{Logger: quiet()})
	must(t, machine.Restore(content))
	last, err := d.Log().LastIndex()
	must(t, err)
	for index := list[0].Index + 1; index <= last; index++ {
		var l raft.Log
		must(t, d.Log().GetLog(index, &l))
		machine.Apply(&l)
	}
	_, hash, err := machine.Hash(context.Background())
	if want := strings.TrimSpace(string(read("hash"))); err != nil || hash != want {
		t.Errorf("the state has the hash %s, %v; want %s", hash, err, want)
	}
	blobs := 0
	must(t, d.Blobs().Walk(func(digest string, size int64, _ time.Time) error {
		blobs++
		if size != int64(len(fixtureBlob)) {
			t.Errorf("blob of %d bytes", size)
		}
		return d.Blobs().Verify(t.Context(), digest)
	}))
	if blobs != 1 {
		t.Errorf("%d blobs, want 1", blobs)
	}
}
