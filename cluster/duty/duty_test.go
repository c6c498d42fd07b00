package duty

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// clocks are leases of which one is due next.
type clocks struct {
	mu       sync.Mutex
	next     time.Time // zero: none
	swept    []time.Time
	extended []time.Time
	fail     error
	extend   time.Duration // what ExtendAll gives
}

func (c *clocks) NextDeadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next, !c.next.IsZero()
}

func (c *clocks) Sweep(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.swept = append(c.swept, time.Now())
	if c.fail != nil {
		return c.fail
	}
	if !c.next.After(time.Now()) {
		c.next = time.Time{}
	}
	return nil
}

func (c *clocks) ExtendAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extended = append(c.extended, time.Now())
	if !c.next.IsZero() {
		c.next = time.Now().Add(c.extend)
	}
}

func (c *clocks) seen() (swept, extended int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.swept), len(c.extended)
}

// expiring runs the expiry loop in a bubble. After fresh, leadership is proved no more.
func expiring(t *testing.T, c *clocks, fresh time.Duration, f func(start time.Time)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		proved := func() time.Time {
			if fresh > 0 && time.Since(start) > fresh {
				return start.Add(fresh)
			}
			return time.Now()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = (&Expiry{Interval: time.Minute, Leases: c, Proved: proved, Logger: quiet}).Run(ctx)
		}()
		f(start)
		cancel()
		<-done
	})
}

func (c *clocks) due(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = time.Now().Add(d)
}

func TestExpiryAtTheDeadlineAndAtTheInterval(t *testing.T) {
	c := &clocks{}
	expiring(t, c, 0, func(start time.Time) {
		c.due(5500 * time.Millisecond)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(c.swept) != 1 || c.swept[0].Sub(start) != 5500*time.Millisecond || len(c.extended) != 0 {
			t.Fatalf("swept at %v, extended at %v", c.swept, c.extended)
		}
		// One that is granted later and due sooner than anything known.
		c.due(2 * time.Second)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n, _ := c.seen(); n != 2 {
			t.Errorf("swept %d times", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, _ := c.seen(); n != 3 {
			t.Errorf("swept %d times with the interval", n)
		}
	})
}

// A leader without a proof in the last second may have been cut off from the workers: nobody is declared lost.
func TestExpiryWithoutAFreshProof(t *testing.T) {
	c := &clocks{extend: time.Hour}
	expiring(t, c, 3*time.Second, func(start time.Time) {
		c.due(10 * time.Second)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if swept, extended := c.seen(); swept != 0 || extended != 1 {
			t.Errorf("swept %d times, extended %d times", swept, extended)
		}
	})
}

// A sweep that fails is tried again a second later, not at once and not never.
func TestExpiryTriesAgain(t *testing.T) {
	c := &clocks{fail: errors.New("no proof")}
	expiring(t, c, 0, func(time.Time) {
		c.due(time.Second)
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		if n, _ := c.seen(); n < 3 || n > 4 {
			t.Errorf("tried %d times in 3.5 s", n)
		}
	})
}

// A loop that woke late was not listening for renewals either: everybody gets the full term again.
func TestExpiryThatWokeLate(t *testing.T) {
	for _, k := range []struct {
		away            time.Duration
		swept, extended int
	}{{late, 1, 0}, {late + time.Millisecond, 0, 1}, {time.Hour, 0, 1}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var away atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(away.Load())) }
			c := &clocks{extend: 2 * time.Hour}
			c.due(500 * time.Millisecond)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = (&Expiry{Interval: time.Minute, Leases: c, Proved: now, Logger: quiet, now: now}).Run(ctx)
			}()
			time.Sleep(100 * time.Millisecond)
			away.Store(int64(k.away)) // while it sleeps
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if swept, extended := c.seen(); swept != k.swept || extended != k.extended {
				t.Errorf("%v late: swept %d times, extended %d times", k.away, swept, extended)
			}
			cancel()
			<-done
		})
	}
}

// proposals records what is proposed.
type proposals struct {
	mu      sync.Mutex
	list    []command.Command
	results []command.Result // taken in turn
	err     error
}

func (p *proposals) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd, err := env.Command()
	if err != nil {
		return command.Result{}, 0, err
	}
	p.list = append(p.list, cmd)
	if p.err != nil {
		return command.Result{}, 0, p.err
	}
	if len(p.results) > 0 {
		r := p.results[0]
		p.results = p.results[1:]
		return r, 1, nil
	}
	return command.Result{}, 1, nil
}

func TestHeartbeatCarriesWhatWasNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := &proposals{err: errors.New("no majority")}
		var since []time.Time
		h := &Heartbeat{
			Interval: 30 * time.Second, Proposer: p, Logger: quiet,
			Masters: func(context.Context) ([]command.MasterBeat, []string) {
				return []command.MasterBeat{{ID: "m"}}, []string{"gone"}
			},
			Contacts: func(at time.Time) []command.WorkerBeat {
				p.mu.Lock()
				defer p.mu.Unlock()
				since = append(since, at)
				return make([]command.WorkerBeat, 2*beatBatch+1)
			},
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = h.Run(ctx) }()
		synctest.Wait()
		p.mu.Lock()
		p.err, p.list = nil, nil
		p.mu.Unlock()
		began := time.Now()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		p.mu.Lock()
		if len(since) != 2 || !since[1].IsZero() {
			t.Errorf("after a failure contacts are asked since %v: some are lost", since)
		}
		if len(p.list) != 3 {
			t.Fatalf("%d commands for %d workers", len(p.list), 2*beatBatch+1)
		}
		first, last := p.list[0].(*command.Beat), p.list[2].(*command.Beat)
		if len(first.Masters) != 1 || len(first.Gone) != 1 || len(first.Workers) != beatBatch || len(last.Masters) != 0 || len(last.Workers) != 1 {
			t.Errorf("%d, %d masters, %d, %d workers", len(first.Masters), len(last.Masters), len(first.Workers), len(last.Workers))
		}
		p.mu.Unlock()
		time.Sleep(30 * time.Second)
		cancel()
		<-done
		if want := began.Add(30 * time.Second); !since[2].Equal(want) {
			t.Errorf("since %v, want %v", since[2], want)
		}
	})
}

// What cleanup removes is decided by the clock that it is given, by the catalog's properties, and in batches.
func TestCleanup(t *testing.T) {
	state := catalog.NewState()
	apply := func(cmd command.Command) {
		t.Helper()
		env, err := command.Wrap(cmd)
		if err != nil {
			t.Fatal(err)
		}
		env.Time = command.At(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) // state time far ahead decides nothing
		if _, err := state.Apply(state.Index()+1, env); err != nil {
			t.Fatal(err)
		}
		state.Commit(state.Index() + 1)
	}
	apply(&command.InitCluster{ClusterID: "c", Level: 1})
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	p := &proposals{results: []command.Result{{Value: cleanupBatch}, {Value: cleanupBatch}, {Value: 3}}}
	merged := 0
	c := &Cleanup{
		Interval: time.Hour, Proposer: p, State: reading{state}, Now: func() time.Time { return now }, Logger: quiet,
		Merge: func(context.Context) error { merged++; return nil },
	}
	removed, err := c.round(t.Context())
	if err != nil || removed != 2*cleanupBatch+3 || merged != 1 || len(p.list) != 3 {
		t.Fatalf("removed %d in %d commands, merged %d times, %v", removed, len(p.list), merged, err)
	}
	cmd := p.list[0].(*command.Cleanup)
	want := command.Cleanup{
		EndedTasks: command.At(now.Add(-time.Hour)), Operations: command.At(now.AddDate(0, 0, -365)), MaxVersions: 10, Limit: cleanupBatch,
	}
	if *cmd != want {
		t.Errorf("%+v, want %+v", *cmd, want)
	}
	p.err = errors.New("no majority")
	if _, err := c.round(t.Context()); err == nil || merged != 1 {
		t.Errorf("%v, merged %d times", err, merged)
	}
}

type reading struct{ s *catalog.State }

func (r reading) View() *catalog.Reader { return r.s.Reader() }
