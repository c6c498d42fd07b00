package routine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

var quiet = slog.New(slog.DiscardHandler)

// clocks are leases of which one is due next.
type clocks struct {
	mu       sync.Mutex
	next     time.Time // zero: none
	fail     error
	extend   time.Duration // what ExtendAll gives
	happened chan string   // "swept" or "extended", as it happens
}

func newClocks() *clocks { return &clocks{happened: make(chan string)} }

// await is the next thing that happens, within a bubble however long it takes, and when that was.
func (c *clocks) await(t *testing.T, want string) time.Time {
	t.Helper()
	if got := <-c.happened; got != want {
		t.Fatalf("%s at %v, want %s", got, time.Now(), want)
	}
	return time.Now()
}

func (c *clocks) NextDeadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next, !c.next.IsZero()
}

func (c *clocks) Sweep(ctx context.Context) error {
	select {
	case c.happened <- "swept":
	case <-ctx.Done():
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	if !c.next.After(time.Now()) {
		c.next = time.Time{}
	}
	return nil
}

func (c *clocks) ExtendAll() {
	c.happened <- "extended"
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.next.IsZero() {
		c.next = time.Now().Add(c.extend)
	}
}

// expiring runs the expiry loop in a bubble. After fresh, leadership is proved no more.
func expiring(t *testing.T, fresh time.Duration, f func(t *testing.T, c *clocks, start time.Time)) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocks()
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
		f(t, c, start)
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
	expiring(t, 0, func(t *testing.T, c *clocks, start time.Time) {
		c.due(5500 * time.Millisecond)
		if at := c.await(t, "swept"); at.Sub(start) != 5500*time.Millisecond {
			t.Errorf("swept after %v", at.Sub(start))
		}
		synctest.Wait() // it sleeps again
		// One that is granted later and due sooner than anything known.
		granted := time.Now()
		c.due(2 * time.Second)
		second := c.await(t, "swept")
		if took := second.Sub(granted); took != 2*time.Second {
			t.Errorf("swept after %v", took)
		}
		// Nothing is due any more: the interval alone. The loop looks once a second.
		if took := c.await(t, "swept").Sub(second); took < time.Minute || took > time.Minute+late {
			t.Errorf("swept after %v with an interval of a minute", took)
		}
	})
}

// A leader without a proof in the last second may have been cut off from the workers: nobody is declared lost.
func TestExpiryWithoutAFreshProof(t *testing.T) {
	expiring(t, 3*time.Second, func(t *testing.T, c *clocks, start time.Time) {
		c.extend = time.Hour
		c.due(10 * time.Second)
		if at := c.await(t, "extended"); at.Sub(start) != 10*time.Second {
			t.Errorf("extended after %v", at.Sub(start))
		}
	})
}

// A sweep that fails is tried again a second later, not at once and not never.
func TestExpiryTriesAgain(t *testing.T) {
	expiring(t, 0, func(t *testing.T, c *clocks, start time.Time) {
		c.fail = errors.New("no proof")
		c.due(time.Second)
		last := c.await(t, "swept")
		for range 3 {
			at := c.await(t, "swept")
			if pause := at.Sub(last); pause != late {
				t.Errorf("tried again after %v", pause)
			}
			last = at
		}
	})
}

// A loop that woke late was not listening for renewals either: every lease gets its full duration again.
func TestExpiryThatWokeLate(t *testing.T) {
	for away, want := range map[time.Duration]string{late: "swept", late + time.Millisecond: "extended",
		time.Hour: "extended"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var ahead atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			c := newClocks()
			c.extend = 2 * time.Hour
			c.due(500 * time.Millisecond)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = (&Expiry{Interval: time.Minute, Leases: c, Proved: now, Logger: quiet, now: now}).Run(ctx)
			}()
			synctest.Wait()
			ahead.Store(int64(away)) // while it sleeps
			c.await(t, want)
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
		var asked func()
		h := &Heartbeat{
			Interval: 30 * time.Second, Proposer: p, Logger: quiet,
			Masters: func(context.Context) ([]command.MasterBeat, []string) {
				return []command.MasterBeat{{ID: "m"}}, []string{"gone"}
			},
			Contacts: func(at time.Time) []command.WorkerBeat {
				p.mu.Lock()
				since = append(since, at)
				tell := asked
				p.mu.Unlock()
				if tell != nil {
					tell()
				}
				return make([]command.WorkerBeat, 2*beatBatch+1)
			},
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = h.Run(ctx) }()
		synctest.Wait()
		rounds := make(chan struct{})
		p.mu.Lock()
		p.err, p.list = nil, nil
		asked = func() { rounds <- struct{}{} }
		p.mu.Unlock()
		began := time.Now()
		<-rounds
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the next round came after %v", took)
		}
		synctest.Wait() // it has proposed
		p.mu.Lock()
		if len(since) != 2 || !since[1].IsZero() {
			t.Errorf("after a failure contacts are asked since %v: some are lost", since)
		}
		if len(p.list) != 3 {
			t.Fatalf("%d commands for %d workers", len(p.list), 2*beatBatch+1)
		}
		first, last := p.list[0].(*command.Beat), p.list[2].(*command.Beat)
		if len(first.Masters) != 1 || len(first.Gone) != 1 || len(first.Workers) != beatBatch || len(last.Masters) != 0 ||
			len(last.Workers) != 1 {
			t.Errorf("%d, %d masters, %d, %d workers", len(first.Masters), len(last.Masters), len(first.Workers),
				len(last.Workers))
		}
		p.mu.Unlock()
		<-rounds
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
		Merge: func(context.Context) error { merged++; return nil }, NeverEnabled: 24 * time.Hour,
	}
	removed, err := c.round(t.Context())
	if err != nil || removed != 2*cleanupBatch+3 || merged != 1 || len(p.list) != 3 {
		t.Fatalf("removed %d in %d commands, merged %d times, %v", removed, len(p.list), merged, err)
	}
	cmd := p.list[0].(*command.Cleanup)
	want := command.Cleanup{
		EndedTasks: command.At(now.Add(-time.Hour)), Operations: command.At(now.AddDate(0, 0, -365)), MaxVersions: 10,
		Limit:        cleanupBatch,
		NeverEnabled: command.At(now.Add(-24 * time.Hour)),
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

func (r reading) Reader() *catalog.Reader { return r.s.Reader() }
