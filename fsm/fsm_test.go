package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"scaleout/fsm"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "make the fixtures that are missing; none is replaced")

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func entry(t testing.TB, index uint64, cmds ...command.Command) *raft.Log {
	t.Helper()
	e := command.Entry{Proposer: 7, First: index * 10}
	for i, cmd := range cmds {
		env, err := command.Wrap(cmd)
		if err != nil {
			t.Fatal(err)
		}
		env.Time = command.Time(1_800_000_000_000_000_000 + int64(index)*1_000_000)
		env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
		if index%3 == 0 {
			env.Key = command.Key{Text: fmt.Sprint(index, "-", i), Chosen: index%2 == 0, Request: []byte{1}}
		}
		e.Commands = append(e.Commands, env)
	}
	b, err := command.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: 3, Type: raft.LogCommand, Data: b}
}

// story is a log that touches every table.
func story(t testing.TB) []*raft.Log {
	t.Helper()
	const w = "11111111-1111-1111-1111-111111111111"
	attemptRef := func(id int64) command.AttemptRef { return command.AttemptRef{TaskID: id, Attempt: 1} }
	create := &command.CreateExecution{Folder: "F", Project: "P", Package: "a.sh", AnyWorker: true}
	return []*raft.Log{
		entry(t, 3, &command.InitCluster{ClusterID: "c1", Level: 1}),
		entry(t, 4, &command.CreateFolder{Name: "F", Description: "folder"},
			// An empty zstd frame would do for the state; these bytes are a manifest packed once and for all.
			&command.DeployProject{Folder: "F", Project: "P", Blob: digest, Size: 5, Manifest: packed(t),
				Warnings: []command.Warning{{Code: command.NoteDeploy + "no_part", Args: []string{"x"}}}}),
		entry(t, 6, &command.RegisterWorker{ID: w, CertName: "w", Incarnation: "i", MachineID: "m", MachineName: "H",
			MaxTaskCount: 9,
			LeaseMs:      60000, ToleranceMs: 600000, Extensions: []string{".sh"}, Bitness: []int{64}},
			&command.EnableWorker{ID: w, Enabled: true}),
		entry(t, 7, create, create, create, create),
		entry(t, 8, &command.StartExecution{ExecutionID: 2}, &command.StartExecution{ExecutionID: 3, RetryCount: 1},
			&command.StartExecution{ExecutionID: 4}),
		entry(t, 9, &command.Exchange{Worker: w, Incarnation: "i", Grants: []command.GrantOrder{
			{AttemptRef: attemptRef(2), GiveUpAfterMs: 60000}, {AttemptRef: attemptRef(3), GiveUpAfterMs: 60000},
			{AttemptRef: attemptRef(4), GiveUpAfterMs: 60000}}}),
		entry(t, 10, &command.AppendMessages{Segment: digest, Size: 9,
			Parts: []command.MessagePart{{TaskID: 2, Attempt: 1, Worker: w, FirstSeq: 1, Count: 4}}}),
		entry(t, 12, &command.Exchange{Worker: w, Incarnation: "i",
			Ended: []command.Report{{AttemptRef: attemptRef(2), Outcome: command.Succeeded},
				{AttemptRef: attemptRef(4), Outcome: command.Failed, ExitCode: 3}}},
			&command.Beat{Masters: []command.MasterBeat{{ID: "n1", Name: "m1", Leader: true, LastOnline: 5}}}),
		entry(t, 15, &command.StopOperation{OperationID: 3}, &command.CreateFolder{Name: "f"}),
	}
}

func packed(t testing.TB) []byte {
	t.Helper()
	m, err := command.PackManifest(command.Manifest{ID: "{p}", FormatVersion: 1,
		Packages: []command.Package{{Name: "a.sh", EntryPoint: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func replay(f *fsm.FSM, logs ...*raft.Log) *fsm.FSM {
	for _, l := range logs {
		f.Apply(l)
	}
	return f
}

func hash(t testing.TB, f *fsm.FSM) string {
	t.Helper()
	_, h, err := f.Hash(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

type sink struct {
	bytes.Buffer
	cancelled, closed bool
	fail              error
}

func (s *sink) ID() string    { return "s" }
func (s *sink) Cancel() error { s.cancelled = true; return nil }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Write(b []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Buffer.Write(b)
}

func saved(t testing.TB, f *fsm.FSM) []byte {
	t.Helper()
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	out := &sink{}
	if err := s.Persist(out); err != nil || !out.closed {
		t.Fatal(err, out.closed)
	}
	return out.Bytes()
}

func restore(f *fsm.FSM, b []byte) error { return f.Restore(io.NopCloser(bytes.NewReader(b))) }

func TestApplyTellsResultsAfterTheyShow(t *testing.T) {
	var f *fsm.FSM
	var told []fsm.Applied
	f = fsm.New(fsm.Config{Logger: quiet(), Applied: func(a fsm.Applied) {
		if f.Index() != a.Index {
			t.Errorf("told of %d while the view is at %d", a.Index, f.Index())
		}
		told = append(told, a)
	}})
	logs := story(t)
	replay(f, logs...)
	f.Apply(&raft.Log{Index: 16, Type: raft.LogBarrier})
	last := told[len(told)-1]
	if len(told) != len(logs) || last.Index != 15 || last.Term != 3 || last.Proposer != 7 || last.First != 150 {
		t.Errorf("told %d times, last %+v", len(told), last)
	}
	if r := last.Results[1].Rejection; r == nil || r.Code != "folder_exists" || !strings.Contains(r.Error(), "F") {
		t.Errorf("rejection %v", r)
	}
	if e, ok := f.Reader().Execution(3); !ok || e.Status != 8 {
		t.Errorf("execution %+v", e)
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	logs := story(t)
	whole := replay(fsm.New(fsm.Config{Logger: quiet()}), logs...)
	for cut := range len(logs) + 1 {
		b := saved(t, replay(fsm.New(fsm.Config{Logger: quiet()}), logs[:cut]...))
		if cut == 0 {
			continue // nothing to restore: Raft takes no snapshot of an empty log
		}
		calls := 0
		f := fsm.New(fsm.Config{Logger: quiet(), Restored: func() { calls++ }})
		f.Apply(entry(t, 1, &command.CreateFolder{Name: "of another life"}))
		if err := restore(f, b); err != nil {
			t.Fatal(err)
		}
		if calls != 1 || f.Restored() != 1 || f.Index() != logs[cut-1].Index {
			t.Errorf("restored %d times, index %d", calls, f.Index())
		}
		replay(f, logs[cut:]...)
		if hash(t, f) != hash(t, whole) || f.Index() != whole.Index() {
			t.Errorf("snapshot after %d entries and the rest: another state", cut)
		}
		if !bytes.Equal(saved(t, f), saved(t, whole)) {
			t.Errorf("snapshot after %d entries and the rest: another snapshot", cut)
		}
	}
}

// A snapshot shows the entry at which it was taken, however much is applied before it is written.
func TestSnapshotWhileApplyGoesOn(t *testing.T) {
	logs := story(t)
	f := replay(fsm.New(fsm.Config{Logger: quiet()}), logs[:5]...)
	want := saved(t, f)
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); replay(f, logs[5:]...) }()
	out := &sink{}
	if err := s.Persist(out); err != nil {
		t.Fatal(err)
	}
	<-done
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("the snapshot holds later entries")
	}
	broken := &sink{fail: errors.New("disk full")}
	if err := s.Persist(broken); err == nil || !broken.cancelled || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a full disk: %v, cancelled %t", err, broken.cancelled)
	}
}

func TestBadSnapshots(t *testing.T) {
	f := replay(fsm.New(fsm.Config{Logger: quiet()}), story(t)...)
	before := hash(t, f)
	good := saved(t, f)
	bad := map[string][]byte{"nothing": nil, "another file": []byte("PK\x03\x04 and so on and so on"),
		"more magic": append([]byte("scaleout-snapshot\n"), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)}
	for n := range good {
		cut := good[:n]
		bad[fmt.Sprint("cut at ", n)] = cut
		flipped := bytes.Clone(good)
		flipped[n] ^= 0x10
		bad[fmt.Sprint("bit flipped at ", n)] = flipped
	}
	for name, b := range bad {
		if err := restore(f, b); !errors.Is(err, fsm.ErrSnapshot) && !errors.Is(err, fsm.ErrTooNew) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hash(t, f) != before || f.Restored() != 0 {
		t.Error("a bad snapshot changed the state")
	}
}

func TestNewerLevelIsRefused(t *testing.T) {
	newer := replay(fsm.New(fsm.Config{Logger: quiet(), Level: 2}),
		entry(t, 1, &command.InitCluster{ClusterID: "c", Level: 1}), entry(t, 2, &command.RaiseLevel{Level: 2}))
	if newer.Err() != nil || newer.Reader().Level() != 2 {
		t.Fatal(newer.Err())
	}
	err := restore(fsm.New(fsm.Config{Logger: quiet(), Level: 1}), saved(t, newer))
	if !errors.Is(err, fsm.ErrTooNew) || !strings.Contains(err.Error(), "level 2") ||
		!strings.Contains(err.Error(), "up to 1") {
		t.Errorf("a snapshot of a newer level: %v", err)
	}
}

// An entry that this version does not understand must end everything: Raft takes the return of Apply as leave to apply
// the next.
func TestFailedApplyNeverReturns(t *testing.T) {
	unknown, _ := command.Encode(command.Entry{Commands: []command.Envelope{{Kind: 9999}}})
	body, _ := command.Encode(command.Entry{Commands: []command.Envelope{{Kind: command.KindOf(&command.CreateFolder{}),
		Body: []byte{0xff}}}})
	for name, l := range map[string]*raft.Log{
		"unknown kind":      {Index: 16, Type: raft.LogCommand, Data: unknown},
		"undecodable entry": {Index: 16, Type: raft.LogCommand, Data: []byte("?")},
		"undecodable body":  {Index: 16, Type: raft.LogCommand, Data: body},
		"newer level":       entry(t, 16, &command.RaiseLevel{Level: 99}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var failed []error
				f := replay(fsm.New(fsm.Config{Logger: quiet(), Failed: func(err error) { failed = append(failed, err) }}),
					story(t)...)
				index, before := f.Index(), f.Reader()
				returned := false
				go func() { f.Apply(l); returned = true }()
				synctest.Wait() // until the goroutine stands still
				time.Sleep(time.Hour)
				if returned || len(failed) != 1 || f.Err() == nil {
					t.Fatalf("returned %t, told %v, err %v", returned, failed, f.Err())
				}
				if !errors.Is(f.Err(), catalog.ErrCannotApply) && !errors.Is(f.Err(), fsm.ErrTooNew) {
					t.Errorf("err %v", f.Err())
				}
				if _, err := f.Snapshot(); err == nil {
					t.Error("a snapshot of a state that stands still")
				}
				if _, _, err := f.Hash(t.Context()); err == nil {
					t.Error("a hash of a state that stands still")
				}
				if f.Index() != index || f.Reader() != before {
					t.Error("the view moved")
				}
				go func() { f.Apply(entry(t, 17, &command.Noop{})); returned = true }()
				synctest.Wait()
				if returned || f.Index() != index {
					t.Error("a later entry was applied")
				}
				f.Stop()
				synctest.Wait()
				if returned {
					t.Error("Stop let Apply return")
				}
			})
		})
	}
}

// With Raft itself: the cluster's goroutine stands still, and still Raft shuts down once Stop was called.
func TestRaftShutsDownAfterAFailure(t *testing.T) {
	failed := make(chan error, 1)
	f := fsm.New(fsm.Config{Logger: quiet(), Failed: func(err error) { failed <- err }})
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.LogOutput = "a", io.Discard
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout, cfg.CommitTimeout = 50*time.Millisecond, 50*
		time.Millisecond, 50*time.Millisecond, time.Millisecond
	store := raft.NewInmemStore()
	addr, transport := raft.NewInmemTransport("")
	node, err := raft.NewRaft(cfg, f, store, store, raft.NewInmemSnapshotStore(), transport)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: addr}}}).Error(); err !=
		nil {
		t.Fatal(err)
	}
	<-node.LeaderCh()
	good := entry(t, 1, &command.InitCluster{ClusterID: "c", Level: 1})
	if err := node.Apply(good.Data, time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	node.Apply([]byte("?"), time.Second)
	select {
	case err := <-failed:
		if !errors.Is(err, catalog.ErrCannotApply) {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("not told")
	}
	f.Stop()
	down := make(chan error, 1)
	go func() { down <- node.Shutdown().Error() }()
	select {
	case err := <-down:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("Raft does not shut down")
	}
}

func TestChanged(t *testing.T) {
	logs := story(t)
	f := fsm.New(fsm.Config{Logger: quiet()})
	zero, eight, far := f.Changed(0), f.Changed(8), f.Changed(1000)
	open := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return false
		default:
			return true
		}
	}
	if !open(zero) || !open(eight) {
		t.Error("woken by nothing")
	}
	replay(f, logs[:5]...) // up to 8
	if open(zero) || !open(eight) || open(f.Changed(7)) || f.Changed(8) != eight {
		t.Error("after 8")
	}
	replay(f, logs[5])
	if open(eight) || !open(far) {
		t.Error("after 9")
	}
	if err := restore(f, saved(t, f)); err != nil || open(far) {
		t.Error("a restore does not wake those who wait")
	}
}

func TestHashAt(t *testing.T) {
	logs := story(t)
	f := replay(fsm.New(fsm.Config{Logger: quiet()}), logs[:2]...)
	at4 := hash(t, f)
	if h, err := f.HashAt(t.Context(), 4); err != nil || h != at4 {
		t.Error(h, err)
	}
	if _, err := f.HashAt(t.Context(), 3); !errors.Is(err, command.ErrIndexPassed) {
		t.Error(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := replay(fsm.New(fsm.Config{Logger: quiet()}), logs[:2]...)
		answers := make(chan string, 3)
		for _, index := range []uint64{5, 6, 7} { // 5 is an entry of Raft's own
			go func() {
				h, err := f.HashAt(t.Context(), index)
				answers <- fmt.Sprint(index, h, err)
			}()
		}
		synctest.Wait()
		f.Apply(logs[2])
		at6 := hash(t, f)
		synctest.Wait()
		got := map[string]bool{<-answers: true, <-answers: true}
		if !got["5"+at4+"<nil>"] || !got["6"+at6+"<nil>"] {
			t.Error(got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.HashAt(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		f.Apply(logs[3])
		<-answers
	})
}

// Views, hashes, answers and snapshots are taken while entries are applied; each shows whole entries.
func TestReadWhileApply(t *testing.T) {
	f := replay(fsm.New(fsm.Config{Logger: quiet()}), story(t)...)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				v := f.Reader()
				n := 0
				for range v.Folders() {
					n++
				}
				if n%2 != 1 { // one, and two more by each entry
					t.Errorf("index %d shows %d folders", v.Index(), n)
				}
				v.Answer(command.Caller{Kind: "user", Name: "ada"}, "15-0")
				v.Counts()
				if _, _, err := f.Hash(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				<-f.Changed(v.Index())
			}
		})
	}
	for i := range uint64(200) {
		f.Apply(entry(t, 16+i, &command.CreateFolder{Name: fmt.Sprint("a", i)},
			&command.CreateFolder{Name: fmt.Sprint("b", i)}))
	}
	cancel()
	f.Apply(entry(t, 1000, &command.Noop{}))
	readers.Wait()
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	replay(fsm.New(fsm.Config{Logger: quiet(), Registerer: reg}), story(t)...)
	want := `
# HELP scaleout_fsm_applied_index Index of the last log entry that changed the state.
# TYPE scaleout_fsm_applied_index gauge
scaleout_fsm_applied_index 15
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "scaleout_fsm_applied_index"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(saved(f, replay(fsm.New(fsm.Config{Logger: quiet()}), story(f)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fsm.New(fsm.Config{Logger: quiet()})
		if err := restore(m, b); err != nil && !errors.Is(err, fsm.ErrSnapshot) && !errors.Is(err, fsm.ErrTooNew) {
			t.Fatal(err)
		}
	})
}
