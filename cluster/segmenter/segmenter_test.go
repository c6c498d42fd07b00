package segmenter

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/segment"
)

const worker = "11111111-1111-1111-1111-111111111111"

// world is a packer over segments in memory and a real state with two attempts that the worker holds.
type world struct {
	*testing.T
	ctx    context.Context
	p      *Packer
	mu     sync.Mutex
	state  *catalog.State
	files  map[string][]byte
	cmds   []*command.AppendMessages
	fail   error         // of the next proposals
	held   chan struct{} // proposals wait until it is closed; nil: they do not
	stored int
}

func within(t *testing.T, f func(w *world)) {
	// Once outside: the coders' own channels must not belong to one test's bubble.
	manifest, err := command.PackManifest(command.Manifest{ID: "{p}", FormatVersion: 1,
		Packages: []command.Package{{Name: "a.sh", EntryPoint: true}}})
	if err == nil {
		_, err = command.UnpackManifest(manifest)
	}
	raw, err2 := segment.Encode(nil)
	if err2 == nil {
		_, err2 = segment.Parse(raw)
	}
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, ctx: t.Context(), state: catalog.NewState(), files: map[string][]byte{}}
		w.p = New(w, w.state, w, slog.New(slog.DiscardHandler))
		for _, cmd := range []command.Command{
			&command.InitCluster{ClusterID: "c", Level: 1},
			&command.CreateFolder{Name: "F"},
			&command.DeployProject{Folder: "F", Project: "P", Size: 1, Manifest: manifest,
				Blob: hex.EncodeToString(make([]byte, 32))},
			&command.RegisterWorker{ID: worker, CertName: "w", Incarnation: "i", MachineID: "m", MachineName: "M",
				MaxTaskCount: 9,
				LeaseMs:      60_000, ToleranceMs: 600_000, Extensions: []string{".sh"}, Bitness: []int{64}},
			&command.EnableWorker{ID: worker, Enabled: true},
		} {
			w.do(cmd)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.p.Run(ctx) }()
		synctest.Wait()
		defer func() { cancel(); <-done }()
		f(w)
	})
}

// task is a running execution with one attempt, held by the worker.
func (w *world) task() int64 {
	w.Helper()
	id := w.do(&command.CreateExecution{Folder: "F", Project: "P", Package: "a.sh",
		AnyWorker: true}).Value
	w.do(&command.StartExecution{ExecutionID: id})
	w.do(&command.Exchange{Worker: worker, Incarnation: "i", Grants: []command.GrantOrder{{
		AttemptRef: command.AttemptRef{TaskID: id, Attempt: 1}, GiveUpAfterMs: 60_000}}})
	return id
}

func (w *world) do(cmd command.Command) command.Result {
	w.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		w.Fatal(err)
	}
	env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	r, _, err := w.apply(env)
	if err != nil || r.Rejection != nil {
		w.Fatal(err, r.Rejection)
	}
	return r
}

func (w *world) apply(env command.Envelope) (command.Result, uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	env.Time = command.At(time.Now())
	index := w.state.Index() + 1
	r, err := w.state.Apply(index, env)
	w.state.Commit(index)
	return r, index, err
}

func (w *world) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	if w.held != nil {
		<-w.held
	}
	if w.fail != nil {
		return command.Result{}, 0, w.fail
	}
	cmd, err := env.Command()
	if err != nil {
		return command.Result{}, 0, err
	}
	if a, ok := cmd.(*command.AppendMessages); ok {
		w.mu.Lock()
		w.cmds = append(w.cmds, a)
		w.mu.Unlock()
	}
	return w.apply(env)
}

func (w *world) Store(_ context.Context, r io.Reader, limit int64) (string, int64, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit))
	sum := sha256.Sum256(raw)
	digest := hex.EncodeToString(sum[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[digest] = raw
	w.stored++
	return digest, int64(len(raw)), err
}

func (w *world) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, ok := w.files[digest]
	if !ok {
		return nil, fmt.Errorf("no segment %s", digest)
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

func item(task, first int64, texts ...string) segment.Part {
	it := segment.Part{TaskID: task, Attempt: 1, FirstSeq: first}
	for _, text := range texts {
		it.Messages = append(it.Messages, segment.Message{Time: 1, Type: 70, SourceType: 20, Text: text})
	}
	return it
}

// add adds in the background.
func (w *world) add(items ...segment.Part) <-chan []command.Accepted {
	out := make(chan []command.Accepted, 1)
	go func() {
		got, err := w.p.Add(w.ctx, worker, items)
		if err != nil {
			w.Errorf("add: %v", err)
		}
		out <- got
	}()
	return out
}

// said is what the state has of a task, in its order.
func (w *world) said(task int64) (texts []string) {
	w.Helper()
	for run := range w.state.Reader().Runs(task) {
		f, err := segment.Parse(w.files[run.Segment])
		if err != nil {
			w.Fatal(err)
		}
		part, err := f.Part(run.Part)
		if err != nil {
			w.Fatal(err)
		}
		for _, m := range part.Messages[run.Skip : run.Skip+run.Count] {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// What comes within a fifth of a second is one segment and one command; each caller gets its own answer.
func TestCallsSharePacks(t *testing.T) {
	within(t, func(w *world) {
		a, b := w.task(), w.task()
		began := time.Now()
		first := w.add(item(a, 1, "a1", "a2"))
		<-time.After(packTime / 2) // the time between the two is what is tested: the second does not put the pack off
		second := w.add(item(b, 1, "b1"), item(a, 3, "a3"))
		got := append(<-first, <-second...)
		if took := time.Since(began); took != packTime {
			t.Errorf("committed after %v", took)
		}
		if len(w.cmds) != 1 || len(w.files) != 1 || len(w.cmds[0].Parts) != 3 {
			t.Fatalf("%d commands, %d segments", len(w.cmds), len(w.files))
		}
		for i, want := range []command.Accepted{
			{AttemptRef: got[0].AttemptRef, NextSeq: 3},
			{AttemptRef: got[1].AttemptRef, NextSeq: 2},
			{AttemptRef: got[2].AttemptRef, NextSeq: 4},
		} {
			if !reflect.DeepEqual(got[i], want) {
				t.Errorf("answer %d: %+v, want %+v", i, got[i], want)
			}
		}
		if got[1].TaskID != b || !slices.Equal(w.said(a), []string{"a1", "a2", "a3"}) ||
			!slices.Equal(w.said(b), []string{"b1"}) {
			t.Errorf("%q, %q", w.said(a), w.said(b))
		}
	})
}

func TestDoublesAndGaps(t *testing.T) {
	within(t, func(w *world) {
		a := w.task()
		<-w.add(item(a, 1, "1", "2", "3"))
		if got := <-w.add(item(a, 2, "2", "3", "4", "5")); got[0].NextSeq != 6 || got[0].Code != "" {
			t.Errorf("sent again, with news: %+v", got)
		}
		if got := <-w.add(item(a, 1, "1", "2")); got[0].NextSeq != 6 || got[0].Code != "" {
			t.Errorf("sent again: %+v", got)
		}
		got := <-w.add(item(a, 7, "7"), item(a, 6, "6"))
		if got[0].Code != "gap" || got[0].NextSeq != 6 || got[1].Code != "" || got[1].NextSeq != 7 {
			t.Errorf("a gap, and beside it what fits: %+v", got)
		}
		if got := <-w.add(segment.Part{TaskID: 999, Attempt: 1, FirstSeq: 1,
			Messages: item(a, 1, "x").Messages}); got[0].Code != command.CodeFencedNoTask {
			t.Errorf("of nobody's attempt: %+v", got)
		}
		if want := []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(w.said(a), want) {
			t.Errorf("%q, want %q", w.said(a), want)
		}
	})
}

func TestAFullPackDoesNotWait(t *testing.T) {
	within(t, func(w *world) {
		a := w.task()
		began := time.Now()
		<-w.add(item(a, 1, string(make([]byte, packBytes))))
		if took := time.Since(began); took > 0 {
			t.Errorf("a full pack waited %v", took)
		}
	})
}

// However many calls come while a pack is being committed, no command names more than it can: it would be refused, sent
// again by all at once, and refused again for ever.
func TestPacksStayBoundedBehindASlowCommit(t *testing.T) {
	within(t, func(w *world) {
		w.held = make(chan struct{})
		a := w.task()
		const calls, each = 60, 100
		var answers []<-chan []command.Accepted
		for range calls {
			items := make([]segment.Part, each)
			for i := range items {
				items[i] = item(a, 1, "x")
			}
			answers = append(answers, w.add(items...))
			synctest.Wait()
		}
		close(w.held)
		for _, out := range answers {
			if got := <-out; len(got) != each {
				t.Fatalf("%d answers of %d", len(got), each)
			}
		}
		total := 0
		for _, cmd := range w.cmds {
			total += len(cmd.Parts)
			raw, err := command.Marshal(cmd)
			if len(cmd.Parts) > packParts || err != nil || len(raw) > 256<<10 {
				t.Errorf("a command with %d parts, %d bytes, %v", len(cmd.Parts), len(raw), err)
			}
		}
		if total != calls*each {
			t.Errorf("%d parts of %d", total, calls*each)
		}
	})
}

func TestFailuresReachEveryCaller(t *testing.T) {
	within(t, func(w *world) {
		a := w.task()
		w.fail = errors.New("no majority")
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := w.p.Add(w.ctx, worker, []segment.Part{item(a, 1, "1")})
				errs <- err
			}()
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, w.fail) {
				t.Error(err)
			}
		}
		w.fail = nil
		if got := <-w.add(item(a, 1, "1")); got[0].NextSeq != 2 {
			t.Errorf("afterwards: %+v", got)
		}
	})
}

func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(nil, nil, nil, slog.New(slog.DiscardHandler))
		if _, err := p.Add(t.Context(), worker, []segment.Part{item(1, 1, "1")}); !errors.Is(err, errStopped) {
			t.Errorf("before it runs: %v", err)
		}
		if err := stopAfter(t, p, packTime/2); !errors.Is(err, errStopped) {
			t.Error(err)
		}
	})
}

// stopAfter ends a packer so long after it was given something, and returns what the giver is told.
func stopAfter(t *testing.T, p *Packer, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	synctest.Wait()
	out := make(chan error, 1)
	go func() { _, err := p.Add(t.Context(), worker, []segment.Part{item(1, 1, "1")}); out <- err }()
	<-time.After(d)
	cancel()
	<-done
	return <-out
}

// blocked is a store or a log that waits until its context ends.
type blocked struct{ stores bool }

func (d blocked) Store(ctx context.Context, _ io.Reader, _ int64) (string, int64, error) {
	if !d.stores {
		<-ctx.Done()
		return "", 0, ctx.Err()
	}
	return hex.EncodeToString(make([]byte, 32)), 1, nil
}

func (blocked) Open(context.Context, string) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }

func (blocked) Propose(ctx context.Context, _ command.Envelope) (command.Result, uint64, error) {
	<-ctx.Done()
	return command.Result{}, 0, fmt.Errorf("the command waited: %w", ctx.Err())
}

// A leader that hands over in the midst of a commit does not tell the workers that they gave up themselves.
func TestStoppedDuringACommit(t *testing.T) {
	for name, d := range map[string]blocked{"in the store": {}, "in the log": {stores: true}} {
		synctest.Test(t, func(t *testing.T) {
			p := New(d, nil, d, slog.New(slog.DiscardHandler))
			if err := stopAfter(t, p, 2*packTime); !errors.Is(err, errStopped) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Merging changes where messages lie, never what is said.
func TestMerge(t *testing.T) {
	within(t, func(w *world) {
		a, b := w.task(), w.task()
		for i := range int64(6) {
			<-w.add(item(a, i+1, fmt.Sprintf("a%d", i)), item(b, i+1, fmt.Sprintf("b%d", i)))
		}
		<-w.add(item(a, 5, "a4", "a5", "a6")) // with two that the state has
		saidA, saidB := w.said(a), w.said(b)
		before := w.segments()
		if err := w.p.Merge(w.ctx); err != nil {
			t.Fatal(err)
		}
		after := w.segments()
		if len(before) != 7 || len(after) != 1 {
			t.Errorf("%d segments became %d", len(before), len(after))
		}
		if !slices.Equal(w.said(a), saidA) || !slices.Equal(w.said(b), saidB) || len(saidA) != 7 {
			t.Errorf("%q became %q, %q became %q", saidA, w.said(a), saidB, w.said(b))
		}
		stored := w.stored
		if err := w.p.Merge(w.ctx); err != nil || w.stored != stored {
			t.Errorf("one alone is merged again (%v)", err)
		}
		<-w.add(item(a, 8, "a7"))
		w.lose(after[0])
		if err := w.p.Merge(w.ctx); err == nil {
			t.Error("a missing segment is merged")
		}
	})
}

// A large segment stays as it is, and those on both sides of it become one.
func TestMergeLeavesLargeSegmentsAlone(t *testing.T) {
	within(t, func(w *world) {
		id := w.task()
		<-w.add(item(id, 1, "before"))
		noise := make([]byte, mergeSmall)
		_, _ = rand.Read(noise)
		<-w.add(item(id, 2, hex.EncodeToString(noise)))
		large := w.segments()[1]
		<-w.add(item(id, 3, "after"))
		said := w.said(id)
		if err := w.p.Merge(w.ctx); err != nil {
			t.Fatal(err)
		}
		if after := w.segments(); len(after) != 2 || !slices.Contains(after, large) {
			t.Errorf("%q after the merge; want two, one of which is %q", after, large)
		}
		if !slices.Equal(w.said(id), said) || len(said) != 3 {
			t.Error("the messages are not what they were")
		}
	})
}

// segments are the digests of the segments in the order of the state.
func (w *world) segments() (digests []string) {
	for s := range w.state.Reader().Segments() {
		digests = append(digests, s.Digest)
	}
	return digests
}

// lose takes a segment off the disks.
func (w *world) lose(digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files, digest)
}
