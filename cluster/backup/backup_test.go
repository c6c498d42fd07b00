package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"scaleout/cluster"
	"scaleout/cluster/archive"
	"scaleout/cluster/blobs"
	"scaleout/cluster/pki"
	"scaleout/fsm"
	"scaleout/fsm/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// machine returns a state machine of a cluster with a project for each of the given contents.
func machine(t testing.TB, id string, projects ...string) *fsm.FSM {
	t.Helper()
	manifest, err := command.PackManifest(command.Manifest{
		ID: "{p}", FormatVersion: 1, Packages: []command.Package{{Name: "a.sh", EntryPoint: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmds := []command.Command{&command.InitCluster{ClusterID: id, Level: command.Level}}
	if len(projects) > 0 {
		cmds = append(cmds, &command.CreateFolder{Name: "F"})
	}
	for i, content := range projects {
		cmds = append(cmds, &command.DeployProject{
			Folder: "F", Project: fmt.Sprint("P", i), Blob: digest(content), Size: int64(len(content)), Manifest: manifest,
		})
	}
	f := fsm.New(fsm.Config{
		Level: command.Level, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	entry := command.Entry{Proposer: 7, First: 1}
	for _, cmd := range cmds {
		env, err := command.Wrap(cmd)
		if err != nil {
			t.Fatal(err)
		}
		env.Time = command.Time(1_800_000_000_000_000_000)
		env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
		entry.Commands = append(entry.Commands, env)
	}
	raw, err := command.Encode(entry)
	if err != nil {
		t.Fatal(err)
	}
	f.Apply(&raft.Log{Index: 5, Term: 2, Type: raft.LogCommand, Data: raw})
	return f
}

// fakeCluster is a master's surroundings in memory: its node, the blobs of all masters and its key ring. It writes down
// what is done to them, in order.
type fakeCluster struct {
	state    *fsm.FSM
	stored   map[string]string
	ring     *pki.KeyRing
	steps    []string
	fail     map[string]error // by step
	caughtUp chan struct{}
	during   func() // while the node is asked whether it is ready
}

func (f *fakeCluster) step(name string) error {
	f.steps = append(f.steps, name)
	return f.fail[name]
}

func (f *fakeCluster) Now() time.Time            { return time.Now() }
func (f *fakeCluster) CaughtUp() <-chan struct{} { return f.caughtUp }

func (f *fakeCluster) RestoreReady(context.Context, int) (cluster.LogPosition, error) {
	if f.during != nil {
		f.during()
	}
	return cluster.LogPosition{Index: 100, Term: 4}, f.step("ready")
}

func (f *fakeCluster) SpreadKeyRing(context.Context) error { return f.step("spread keys") }

func (f *fakeCluster) Install(
	_ context.Context, at cluster.LogPosition, size int64, snapshot io.Reader, check func() error,
) error {
	if err := errors.Join(f.step("install"), check()); err != nil {
		return err
	}
	raw, err := io.ReadAll(snapshot)
	if err != nil || int64(len(raw)) != size {
		return fmt.Errorf("%d bytes of %d: %w", len(raw), size, err)
	}
	h, err := fsm.ReadHeader(bytes.NewReader(raw))
	if err != nil || h.Index != at.Index || h.Term != at.Term {
		return fmt.Errorf("a snapshot of entry %d, term %d, to be installed at %+v: %w", h.Index, h.Term, at, err)
	}
	return f.state.Restore(io.NopCloser(bytes.NewReader(raw)))
}

type memoryBlob struct{ *bytes.Reader }

func (memoryBlob) Close() error { return nil }

func (f *fakeCluster) Open(_ context.Context, digest string) (blobs.Blob, error) {
	content, ok := f.stored[digest]
	if !ok {
		return nil, command.ErrNoBlob
	}
	return memoryBlob{bytes.NewReader([]byte(content))}, nil
}

func (f *fakeCluster) Put(_ context.Context, digest string, r io.Reader) (int64, error) {
	raw, err := io.ReadAll(r)
	if err := errors.Join(f.step("store a blob"), err); err != nil {
		return 0, err
	}
	f.stored[digest] = string(raw)
	return int64(len(raw)), nil
}

func (f *fakeCluster) Marshal() ([]byte, error) { return f.ring.MarshalJSON() }

func (f *fakeCluster) Merge(raw []byte) error {
	var other pki.KeyRing
	if err := errors.Join(f.step("merge keys"), other.UnmarshalJSON(raw)); err != nil {
		return err
	}
	_, err := f.ring.Merge(&other)
	return err
}

func newCluster(t testing.TB, id string, projects ...string) *fakeCluster {
	f := &fakeCluster{
		state: machine(t, id, projects...), stored: map[string]string{}, ring: pki.NewKeyRing(), fail: map[string]error{},
		caughtUp: make(chan struct{}),
	}
	for _, p := range projects {
		f.stored[digest(p)] = p
	}
	close(f.caughtUp)
	return f
}

func (f *fakeCluster) backups(t testing.TB, s Schedule) *Backups {
	return New(Config{
		State: f.state, Node: f, Blobs: f, KeyRing: f, Spool: t.TempDir(), Master: "m/1", Version: "dev", Schedule: s,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
}

// withKey returns options that include everything.
func withKey(t testing.TB) Options {
	t.Helper()
	o := Options{Blobs: true, Lock: archive.NewLock(archive.FromKeyFile)}
	var err error
	if o.Key, err = o.Lock.Key([]byte(strings.Repeat("k", 32))); err != nil {
		t.Fatal(err)
	}
	return o
}

func save(t testing.TB, f *fakeCluster, o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := f.backups(t, Schedule{}).Save(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSavedIsRestored(t *testing.T) {
	old := newCluster(t, "old", "one", "two", "lost")
	delete(old.stored, digest("lost"))
	o := withKey(t)
	file := save(t, old, o)
	c, err := Inspect(bytes.NewReader(file))
	lost := []string{digest("lost")}
	if err != nil || c.Blobs != 2 || !slices.Equal(c.Missing, lost) || !slices.Equal(c.Absent, lost) {
		t.Fatalf("saved %+v, %v", c, err)
	}

	fresh := newCluster(t, "fresh")
	b := fresh.backups(t, Schedule{})
	out, err := b.Restore(t.Context(), bytes.NewReader(file), o.Key)
	if err != nil {
		t.Fatal(err)
	}
	if out.Cluster != "old" || out.Index != 5 || out.NewIndex != 100 || out.Blobs != 2 || !out.KeyRing ||
		!slices.Equal(out.Missing, lost) {
		t.Errorf("restored %+v", out)
	}
	want := []string{"ready", "store a blob", "store a blob", "merge keys", "spread keys", "install"}
	if !slices.Equal(fresh.steps, want) {
		t.Errorf("steps %q, want %q", fresh.steps, want)
	}
	if v := fresh.state.Reader(); v.ClusterID() != "fresh" || len(slices.Sorted(v.Blobs())) != 3 {
		t.Errorf("the state is of cluster %s and names %v", v.ClusterID(), slices.Sorted(v.Blobs()))
	}
	if fresh.stored[digest("one")] != "one" || fresh.ring.Len() != 2 {
		t.Errorf("blobs %v, %d keys", fresh.stored, fresh.ring.Len())
	}
	if left, err := os.ReadDir(b.cfg.Spool); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSaveWithoutBlobsAndKeys(t *testing.T) {
	c, err := Inspect(bytes.NewReader(save(t, newCluster(t, "old", "one"), Options{})))
	absent := []string{digest("one")}
	if err != nil || c.KeyRing != nil || c.Blobs != 0 || c.Missing != nil || !slices.Equal(c.Absent, absent) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSaveEndsWithItsCaller(t *testing.T) {
	f := newCluster(t, "old", "one")
	f.stored = nil
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller went")
	cancel(gone)
	if err := f.backups(t, Schedule{}).Save(ctx, io.Discard, Options{Blobs: true}); !errors.Is(err, gone) {
		t.Error(err)
	}
}

func TestRefusedRestores(t *testing.T) {
	old := newCluster(t, "old", "one", "two")
	o := withKey(t)
	good := save(t, old, o)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	other := errors.New("something else")
	fail := func(step string, err error) func(f *fakeCluster) { return func(f *fakeCluster) { f.fail[step] = err } }
	for _, c := range []struct {
		name    string
		file    []byte
		key     []byte
		used    []string // projects that are there already
		prepare func(f *fakeCluster)
		want    error
		steps   int // that are reached
	}{
		{"nothing", nil, o.Key, nil, nil, command.ErrBackupDamaged, 0},
		{"a changed bit", flipped, o.Key, nil, nil, command.ErrBackupDamaged, 0},
		{"cut off", good[:len(good)-1], o.Key, nil, nil, command.ErrBackupDamaged, 0},
		{"another key", good, bytes.Repeat([]byte("x"), archive.KeySize), nil, nil, command.ErrBackupKey, 0},
		{"no key", good, nil, nil, nil, command.ErrBackupKey, 0},
		{"a used cluster", good, o.Key, []string{"mine"}, nil, command.ErrNotEmpty, 0},
		{"a node that refuses", good, o.Key, nil, fail("ready", command.ErrRefused), command.ErrRefused, 1},
		{"blobs that are not stored", good, o.Key, nil, fail("store a blob", other), other, 2},
		{"a full disk", good, o.Key, nil, fail("store a blob", syscall.ENOSPC), command.ErrNoSpace, 2},
		{"keys that are not kept", good, o.Key, nil, fail("merge keys", other), other, 4},
		{"a master without the keys", good, o.Key, nil, fail("spread keys", other), other, 5},
		{"an unknown outcome", good, o.Key, nil, fail("install", command.ErrUnknownOutcome),
			command.ErrUnknownOutcome, 6},
		{"a cluster that is used meanwhile", good, o.Key, nil, func(f *fakeCluster) {
			f.during = func() { f.state.Apply(useful(f)) }
		}, command.ErrNotEmpty, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newCluster(t, "fresh", c.used...)
			if c.prepare != nil {
				c.prepare(f)
			}
			b := f.backups(t, Schedule{})
			_, err := b.Restore(t.Context(), bytes.NewReader(c.file), c.key)
			if !errors.Is(err, c.want) {
				t.Errorf("%v; want %v", err, c.want)
			}
			if len(f.steps) != c.steps {
				t.Errorf("steps %q, want %d", f.steps, c.steps)
			}
			if slices.Contains(slices.Collect(f.state.Reader().Blobs()), digest("one")) {
				t.Error("the state was restored")
			}
			if left, err := os.ReadDir(b.cfg.Spool); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// useful is an entry that makes a folder.
func useful(f *fakeCluster) *raft.Log {
	env, err := command.Wrap(&command.CreateFolder{Name: "F"})
	if err != nil {
		panic(err)
	}
	env.Time, env.Caller = command.Time(1_900_000_000_000_000_000), command.Caller{Kind: "user", Name: "ada"}
	raw, err := command.Encode(command.Entry{Proposer: 7, First: 9, Commands: []command.Envelope{env}})
	if err != nil {
		panic(err)
	}
	return &raft.Log{Index: f.state.Reader().Index() + 1, Term: 2, Type: raft.LogCommand, Data: raw}
}

func TestOneRestoreAtATime(t *testing.T) {
	f := newCluster(t, "fresh")
	b := f.backups(t, Schedule{})
	o := withKey(t)
	file := save(t, newCluster(t, "old", "one"), o)
	var second error
	f.during = func() { _, second = b.Restore(t.Context(), bytes.NewReader(file), o.Key) }
	if _, err := b.Restore(t.Context(), bytes.NewReader(file), o.Key); err != nil {
		t.Error(err)
	}
	if !errors.Is(second, command.ErrRefused) {
		t.Error("a second one:", second)
	}
}

func TestInspectFindsWhatDoesNotBelongTogether(t *testing.T) {
	f := machine(t, "c1", "one", "two")
	capture, err := f.Capture()
	if err != nil {
		t.Fatal(err)
	}
	reader := capture.Reader()
	right := archive.Metadata{Cluster: "c1", Level: reader.Level(), Index: reader.Index(), Blobs: true}
	both := []string{"one", "two"}
	for _, c := range []struct {
		name    string
		change  func(m *archive.Metadata)
		blobs   []string
		missing []string
		want    error
	}{
		{"all is there", func(*archive.Metadata) {}, both, nil, nil},
		{"one is listed as missing", func(*archive.Metadata) {}, both[:1], []string{digest("two")}, nil},
		{"one is neither there nor listed", func(*archive.Metadata) {}, both[:1], nil, archive.ErrDamaged},
		{"another one is listed", func(*archive.Metadata) {}, both[:1], []string{digest("three")}, archive.ErrDamaged},
		{"no blobs were wanted", func(m *archive.Metadata) { m.Blobs = false }, nil, nil, nil},
		{"another cluster", func(m *archive.Metadata) { m.Cluster = "c2" }, both, nil, archive.ErrDamaged},
		{"another entry of the log", func(m *archive.Metadata) { m.Index++ }, both, nil, archive.ErrDamaged},
		{"another level", func(m *archive.Metadata) { m.Level++ }, both, nil, archive.ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := right
			c.change(&m)
			var file bytes.Buffer
			w, err := archive.NewWriter(&file, m)
			if err := errors.Join(err, w.State(capture.Write)); err != nil {
				t.Fatal(err)
			}
			contents := slices.Clone(c.blobs)
			slices.SortFunc(contents, func(a, b string) int { return strings.Compare(digest(a), digest(b)) })
			for _, content := range contents {
				if err := w.Blob(digest(content), int64(len(content)), strings.NewReader(content)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(c.missing); err != nil {
				t.Fatal(err)
			}
			if _, err := Inspect(&file); !errors.Is(err, c.want) {
				t.Errorf("%v; want %v", err, c.want)
			}
		})
	}
	t.Run("no state", func(t *testing.T) {
		var file bytes.Buffer
		w, err := archive.NewWriter(&file, right)
		nonsense := func(w io.Writer) error { _, err := io.WriteString(w, "nonsense"); return err }
		if err := errors.Join(err, w.State(nonsense), w.Close(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(&file); !errors.Is(err, fsm.ErrSnapshot) {
			t.Error(err)
		}
	})
}
