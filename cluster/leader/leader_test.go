package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal records what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, a ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, a...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.lines
	j.lines = nil
	return l
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func recording(j *journal) Runner {
	return Runner{
		Establish: func(ctx context.Context, s *Scope) error {
			j.add("establish %d", s.Generation)
			s.Go("helper", func(ctx context.Context) { <-ctx.Done(); j.add("helper ended") })
			return nil
		},
		Ready:   func(s *Scope) { j.add("ready %d", s.Generation) },
		Unready: func(s *Scope) { j.add("unready %d", s.Generation) },
		Drop:    func() { j.add("drop") },
		Routines: []Routine{{Name: "loop", Run: func(ctx context.Context) error {
			j.add("routine")
			<-ctx.Done()
			j.add("routine ended")
			return ctx.Err()
		}}},
		Logger: quiet(),
	}
}

// start runs r in the test's bubble and returns its channel and a function that stops it.
func start(t *testing.T, r Runner) (chan bool, func()) {
	t.Helper()
	notify := make(chan bool, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, notify) }()
	return notify, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func require(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func TestOrderOfAGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		notify, stop := start(t, recording(j))
		notify <- true
		synctest.Wait()
		require(t, j.take(), "establish 1", "ready 1", "routine")
		notify <- false
		synctest.Wait()
		got := j.take()
		if got[0] != "unready 1" || got[len(got)-1] != "drop" || len(got) != 4 {
			t.Fatalf("revoked in the wrong order: %q", got)
		}
		stop()
		require(t, j.take())
	})
}

func TestTrueTwiceIsANewGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		notify, stop := start(t, recording(j))
		notify <- true
		synctest.Wait()
		j.take()
		notify <- true
		synctest.Wait()
		got := j.take()
		if len(got) != 7 || got[0] != "unready 1" || got[3] != "drop" || got[4] != "establish 2" || got[5] != "ready 2" {
			t.Fatalf("true,true: %q", got)
		}
		stop()
	})
}

func TestLossDuringEstablishNeverBecomesReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		r := recording(j)
		r.Establish = func(ctx context.Context, s *Scope) error {
			j.add("establish %d", s.Generation)
			<-ctx.Done() // and yet it returns nil, as a careless establish would
			return nil
		}
		notify, stop := start(t, r)
		notify <- true
		synctest.Wait()
		notify <- false
		synctest.Wait()
		require(t, j.take(), "establish 1", "unready 1", "drop")
		stop()
	})
}

// The reader of the channel must never wait for a routine: Raft's main loop blocks on it.
func TestNotificationsAreTakenWhileARoutineRefusesToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var alive, most atomic.Int32
		r := Runner{
			Establish: func(context.Context, *Scope) error { return nil },
			Logger:    quiet(),
			Routines: []Routine{{Name: "stubborn", Run: func(ctx context.Context) error {
				most.Store(max(most.Load(), alive.Add(1)))
				defer alive.Add(-1)
				<-ctx.Done()
				<-release
				return nil
			}}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		notify := make(chan bool) // unbuffered: every send needs the drain
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, notify) }()
		for range 50 {
			notify <- true
			notify <- false
		}
		notify <- true
		synctest.Wait()
		time.Sleep(25 * time.Second) // fake time: the warning about the slow routine is written
		close(release)
		synctest.Wait()
		if most.Load() != 1 || alive.Load() != 1 {
			t.Fatalf("%d sets of routines ran at once, %d run now; want one each", most.Load(), alive.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailedEstablishRevokesAbandonsAndTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		r := recording(j)
		good := r.Establish
		tries := 0
		r.Establish = func(ctx context.Context, s *Scope) error {
			if tries++; tries < 3 {
				s.Go("half", func(ctx context.Context) { <-ctx.Done(); j.add("half ended") })
				return errors.New("no quorum")
			}
			return good(ctx, s)
		}
		r.HandOver = func(_ context.Context, err error) { j.add("abandon: %v", err) }
		notify, stop := start(t, r)
		begun := time.Now()
		notify <- true
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require(t, j.take(), "half ended", "drop", "abandon: no quorum", "half ended", "drop", "abandon: no quorum",
			"establish 1", "ready 1", "routine")
		if d := time.Since(begun); d != 10*time.Second {
			t.Fatalf("fake time moved by %v", d)
		}
		stop()
	})
}

func TestAFailedRoutineRunsAgainAndADoneOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed, once atomic.Int32
		r := Runner{
			Establish: func(context.Context, *Scope) error { return nil },
			Logger:    quiet(),
			Routines: []Routine{
				{Name: "fails", Run: func(context.Context) error { failed.Add(1); return errors.New("disk") }},
				{Name: "once", Run: func(context.Context) error { once.Add(1); return nil }},
			},
		}
		notify, stop := start(t, r)
		notify <- true
		time.Sleep(8 * time.Second) // runs at 0, 1, 3, 7 s
		synctest.Wait()
		if failed.Load() != 4 || once.Load() != 1 {
			t.Fatalf("failing routine ran %d times, want 4; finished one %d, want 1", failed.Load(), once.Load())
		}
		stop()
	})
}

func TestTwentyFlipsLeaveNoGoroutine(t *testing.T) {
	var live, most atomic.Int32
	ready := make(chan uint64, 64)
	dropped := make(chan struct{}, 64)
	routine := func(ctx context.Context) error {
		most.Store(max(most.Load(), live.Add(1)))
		defer live.Add(-1)
		<-ctx.Done()
		return ctx.Err()
	}
	r := Runner{
		Establish: func(ctx context.Context, s *Scope) error {
			s.Go("loop", func(ctx context.Context) { <-ctx.Done() })
			return nil
		},
		Ready:    func(s *Scope) { ready <- s.Generation },
		Drop:     func() { dropped <- struct{}{} },
		Routines: []Routine{{Name: "routine", Run: routine}},
		Logger:   quiet(),
	}
	notify := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, notify) }()
	flip := func() {
		notify <- true
		<-ready
		notify <- false
		<-dropped
	}
	flip()
	before := runtime.NumGoroutine()
	for range 20 {
		flip()
	}
	// A generation's goroutine ends just after Drop.
	deadline := time.Now().Add(2 * time.Minute)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Fatalf("goroutines grew from %d to %d over 20 flips", before, after)
	}
	if most.Load() > 1 {
		t.Fatalf("%d sets of routines at once", most.Load())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAClosedChannelEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		notify := make(chan bool, 1)
		done := make(chan error, 1)
		go func() { done <- recording(j).Run(t.Context(), notify) }()
		notify <- true
		synctest.Wait()
		close(notify)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		got := j.take()
		if got[len(got)-1] != "drop" {
			t.Fatalf("the generation was not ended: %q", got)
		}
	})
}
