package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

// The test binary is its own child: see crash_test.go and TestOpenWhileAnotherProcessHolds.
const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "write":
		writeUntilKilled(os.Args[len(os.Args)-1])
	case "hold":
		holdUntilStdinEnds(os.Args[len(os.Args)-1])
	default:
		goleak.VerifyTestMain(m)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, path string, opts ...func(*Options)) *Dir {
	t.Helper()
	opt := Options{Logger: quiet()}
	for _, o := range opts {
		o(&opt)
	}
	d, err := Open(path, opt)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func closeDir(t testing.TB, d *Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks that an error wraps a sentinel, and that its text contains what a person must be able to read.
func wantErr(t testing.TB, err, sentinel error, parts ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("error %v, want %v", err, sentinel)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func entry(index uint64, size int) *raft.Log {
	return &raft.Log{Index: index, Term: 1 + index/100, Type: raft.LogCommand,
		Data: bytes.Repeat([]byte{byte(index)}, size)}
}

func entries(from, to uint64, size int) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, entry(i, size))
	}
	return logs
}

// files lists everything below a directory with its size, for comparing.
func files(t testing.TB, root string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	must(t, filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		found[rel] = st.Size()
		return nil
	}))
	return found
}

func flip(t testing.TB, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	must(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, offset)
	must(t, err)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("did not happen: %s", what)
		case <-tick.C:
		}
	}
}

// gated is a LogStore whose writes can be held up or made to fail. Tests put it between Raft and the disk.
type gated struct {
	LogStore
	hold  chan struct{} // nil or closed: writes pass
	fail  error
	late  error // instead of a success: written, and yet not known to be
	calls chan string
}

func (g *gated) pass(what string) error {
	if g.calls != nil {
		g.calls <- what
	}
	if g.hold != nil {
		<-g.hold
	}
	return g.fail
}

func (g *gated) StoreLogs(l []*raft.Log) error {
	if err := g.pass("store"); err != nil {
		return err
	}
	return errors.Join(g.LogStore.StoreLogs(l), g.late)
}

func (g *gated) DeleteRange(a, b uint64) error {
	if err := g.pass(fmt.Sprintf("delete %d-%d", a, b)); err != nil {
		return err
	}
	return g.LogStore.DeleteRange(a, b)
}

func (g *gated) Set(k, v []byte) error {
	if err := g.pass("set"); err != nil {
		return err
	}
	return g.LogStore.Set(k, v)
}
