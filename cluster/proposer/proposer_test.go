package proposer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	_ "scaleout/fsm/catalog" // it registers the kinds
	"scaleout/fsm/command"
)

// future is a raft.ApplyFuture that a test answers, or never does.
type future struct{ answer chan error }

func (f future) Error() error   { return <-f.answer }
func (future) Response() any    { return nil }
func (future) Index() uint64    { return 0 }
func newFuture() future         { return future{make(chan error, 1)} }
func answered(err error) future { f := newFuture(); f.answer <- err; return f }

// given is one entry that Raft was given.
type given struct {
	entry  command.Entry
	future future
}

// fakeRaft takes entries and lets the test answer them.
type fakeRaft struct {
	entries chan given
	refuse  func(e command.Entry) error
}

func startProposer(t *testing.T) (*Proposer, *fakeRaft, func()) {
	t.Helper()
	r := &fakeRaft{entries: make(chan given, 64)}
	p := New(Config{
		Term: 3, Stamp: func() command.Time { return 42 }, Committed: func(time.Time) {},
		Go: func(f func()) { go f() }, Metrics: NewMetrics(),
		Apply: func(data []byte, _ time.Duration) raft.ApplyFuture {
			e, err := command.Decode(data)
			if err != nil {
				t.Error(err)
			}
			if r.refuse != nil {
				if err := r.refuse(e); err != nil {
					return answered(err)
				}
			}
			g := given{e, newFuture()}
			r.entries <- g
			return g.future
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	return p, r, func() { cancel(); <-done }
}

// commit answers an entry as the state machine and Raft do.
func (p *Proposer) commit(g given, index uint64) {
	a := Applied{Index: index, Term: p.cfg.Term, Proposer: g.entry.Proposer, First: g.entry.First}
	for i := range g.entry.Commands {
		a.Results = append(a.Results, command.Result{Value: int64(g.entry.First) + int64(i)})
	}
	p.Applied(a)
	g.future.answer <- nil
}

type answerOf struct {
	outcome
	name string
}

func proposeAll(ctx context.Context, p *Proposer, size int, names ...string) chan answerOf {
	out := make(chan answerOf, len(names))
	for _, name := range names {
		go func() {
			env, err := command.Wrap(&command.CreateFolder{Name: name, Description: strings.Repeat("x", size)})
			if err != nil {
				out <- answerOf{outcome{err: err}, name}
				return
			}
			res, index, err := p.Propose(ctx, env)
			out <- answerOf{outcome{res, index, err}, name}
		}()
	}
	return out
}

func TestCommandsThatArriveDuringACommitFormOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		defer stop()
		first := proposeAll(t.Context(), p, 0, "a")
		synctest.Wait()
		second := proposeAll(t.Context(), p, 0, "b")
		synctest.Wait()
		rest := proposeAll(t.Context(), p, 0, "c", "d", "e", "f", "g")
		synctest.Wait()
		if n := len(r.entries); n != 2 {
			t.Fatalf("%d entries are on their way; want 2", n)
		}
		one, two := <-r.entries, <-r.entries
		p.commit(one, 10)
		synctest.Wait()
		if o := <-first; o.err != nil || o.index != 10 || o.result.Value != 1 {
			t.Fatalf("a: %+v", o)
		}
		three := <-r.entries
		if len(three.entry.Commands) != 5 || three.entry.First != 3 {
			t.Fatalf("the next entry has %d commands from %d; want the 5 that waited, from 3", len(three.entry.Commands),
				three.entry.First)
		}
		for _, c := range three.entry.Commands {
			if c.Time != 42 {
				t.Fatalf("a command is stamped %d", c.Time)
			}
		}
		p.commit(two, 11)
		p.commit(three, 12)
		<-second
		for range 5 {
			if o := <-rest; o.err != nil || o.index != 12 {
				t.Fatalf("%s: %+v", o.name, o)
			}
		}
	})
}

func TestAnEntryClosesAtTheSoftLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		p.mu.Lock()
		p.retryAt = time.Now().Add(time.Second) // let everything queue up first
		p.mu.Unlock()
		names := make([]string, 20)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
		out := proposeAll(t.Context(), p, 10<<10, names...)
		big := proposeAll(t.Context(), p, 200<<10, "big")
		for range 21 {
			synctest.Wait()
			var g given
			select {
			case g = <-r.entries:
			case <-time.After(time.Minute):
				t.Fatal("no entry")
			}
			size := 0
			for _, c := range g.entry.Commands {
				size += envelopeSize(c)
			}
			if size > command.SoftEntry && len(g.entry.Commands) > 1 {
				t.Fatalf("an entry of %d commands has %d bytes", len(g.entry.Commands), size)
			}
			p.commit(g, 1)
			synctest.Wait()
			if len(r.entries) == 0 && len(out) == 20 && len(big) == 1 {
				break
			}
		}
		if len(out) != 20 || len(big) != 1 {
			t.Fatalf("%d of 20 small and %d of 1 big ones answered", len(out), len(big))
		}
		stop()
	})
}

// The library answers some futures never, once it shuts down. Nobody may wait for one.
func TestCallersEndAlthoughFuturesNeverAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		flying := proposeAll(t.Context(), p, 0, "a")
		synctest.Wait()
		flying2 := proposeAll(t.Context(), p, 0, "b")
		synctest.Wait()
		waiting := proposeAll(t.Context(), p, 0, "c")
		ctx, cancel := context.WithCancel(t.Context())
		left := proposeAll(ctx, p, 0, "d")
		synctest.Wait()
		cancel()
		synctest.Wait()
		if o := <-left; o.err == nil || errors.Is(o.err, command.ErrUnknownOutcome) {
			t.Errorf("d was never given to Raft and its caller left: %v", o.err)
		}
		stop()
		for _, c := range []chan answerOf{flying, flying2} {
			if o := <-c; !errors.Is(o.err, command.ErrUnknownOutcome) {
				t.Errorf("%s was with Raft: %v; want unknown", o.name, o.err)
			}
		}
		if o := <-waiting; !errors.Is(o.err, command.ErrNotLeader) || errors.Is(o.err, command.ErrUnknownOutcome) {
			t.Errorf("c was never given to Raft: %v; want not leader", o.err)
		}
		if o := <-proposeAll(t.Context(), p, 0, "late"); !errors.Is(o.err, command.ErrNotLeader) {
			t.Errorf("after the end: %v", o.err)
		}
		for range 2 {
			(<-r.entries).future.answer <- nil // only so that the test's goroutines end
		}
	})
}

func TestErrorsOfRaft(t *testing.T) {
	for _, c := range []struct {
		raft    error
		want    error
		unknown bool
	}{
		{raft.ErrNotLeader, command.ErrNotLeader, false},
		{raft.ErrAbortedByRestore, command.ErrNotReady, false},
		{raft.ErrLeadershipLost, command.ErrUnknownOutcome, true},
		{raft.ErrRaftShutdown, command.ErrUnknownOutcome, true},
		{errors.New("disk full"), command.ErrUnknownOutcome, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, r, stop := startProposer(t)
			defer stop()
			r.refuse = func(command.Entry) error { return c.raft }
			o := <-proposeAll(t.Context(), p, 0, "a")
			if !errors.Is(o.err, c.want) || errors.Is(o.err, command.ErrUnknownOutcome) != c.unknown {
				t.Errorf("%v becomes %v; want %v", c.raft, o.err, c.want)
			}
		})
	}
}

func TestCommandsWaitWhileLeadershipIsBeingTransferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		defer stop()
		refused := 0
		r.refuse = func(command.Entry) error {
			if refused++; refused <= 5 {
				return raft.ErrLeadershipTransferInProgress
			}
			return nil
		}
		out := proposeAll(t.Context(), p, 0, "a")
		g := <-r.entries // after the transfer was given up
		p.commit(g, 9)
		if o := <-out; o.err != nil || o.index != 9 || refused != 6 {
			t.Fatalf("%+v after %d tries", o, refused)
		}
	})
}

func TestResultsOfAnotherGenerationAreNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		defer stop()
		out := proposeAll(t.Context(), p, 0, "a")
		g := <-r.entries
		other := g
		other.entry.Proposer++
		other.future = newFuture()
		p.commit(other, 5)
		synctest.Wait()
		if len(out) != 0 {
			t.Fatal("an entry of an earlier generation answered our caller")
		}
		p.commit(g, 6)
		if o := <-out; o.index != 6 {
			t.Fatalf("%+v", o)
		}
	})
}

func TestTooMuchWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		p.mu.Lock()
		p.retryAt = time.Now().Add(time.Hour)
		p.mu.Unlock()
		n := maxQueuedBytes/(200<<10) + 2
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
		out := proposeAll(t.Context(), p, 200<<10, names...)
		synctest.Wait()
		if o := <-out; !errors.Is(o.err, command.ErrBusy) {
			t.Fatalf("%v; want busy", o.err)
		}
		stop()
		_ = r
	})
}

func TestNothingIsGivenToRaftWhileSomebodyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, stop := startProposer(t)
		defer stop()
		first := proposeAll(t.Context(), p, 0, "a")
		g := <-r.entries
		held := make(chan func())
		go func() { held <- p.Hold(t.Context()) }()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		select {
		case <-held:
			t.Fatal("held while an entry was on its way")
		default:
		}
		second := proposeAll(t.Context(), p, 0, "b")
		p.commit(g, 1)
		release := <-held
		// Another one holds meanwhile and lets go, twice even: a hand-over that fails during a restore.
		other := p.Hold(t.Context())
		other()
		other()
		synctest.Wait()
		if o := <-first; o.err != nil || len(r.entries) != 0 {
			t.Fatalf("%v, %d entries", o.err, len(r.entries))
		}
		release()
		p.commit(<-r.entries, 2)
		if o := <-second; o.err != nil || o.index != 2 {
			t.Fatalf("%+v", o)
		}
	})
}
