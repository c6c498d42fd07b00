package testcluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scaleout/cluster"
	"scaleout/cmd/master"
	"scaleout/fsm/command"
)

// errFull is the error of a write to a full disk.
var errFull = fmt.Errorf("%w (injected)", command.ErrNoSpace)

// FailWrites makes every write to a master's log fail until Heal, as a full disk does; in process only. Not even a term
// or a vote can be written, as on a file system that never writes in place.
func (c *Cluster) FailWrites(i int) { c.node(i).disk.full.Store(true) }

// FailEntryWrites makes every write of log entries of a master fail until Heal, as on a disk that has room only for the
// few bytes of a term or a vote; in process only.
func (c *Cluster) FailEntryWrites(i int) { c.node(i).disk.entriesFull.Store(true) }

// entryError returns the error of a write of entries, and nil while there is room for them.
func (s *faultyLog) entryError() error {
	if s.gate.entriesFull.Load() {
		return errFull
	}
	return s.writeError()
}

// writeError returns the error of any write, and nil while the disk has room.
func (s *faultyLog) writeError() error {
	if s.gate.full.Load() {
		return errFull
	}
	return nil
}

// clocks holds the wall clocks of one cluster's masters, as offsets from the true time.
type clocks [16]atomic.Int64

// Clocks lets the test set each master's wall clock. The returned function sets how far the clock of master i is ahead.
func Clocks() (Option, func(i int, ahead time.Duration)) {
	var offsets clocks
	option := Settings(func(i int, cfg *master.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(offsets[i].Load())) }
	})
	return option, func(i int, ahead time.Duration) { offsets[i].Store(int64(ahead)) }
}

// maxFaults is how many faults may be active at the same time.
const maxFaults = 3

// healTimeout bounds how long the healing of a fault may take.
const healTimeout = 2 * time.Minute

// Nemesis injects faults into a cluster at random, several at a time, and heals each of them: when Walk returns, no
// fault is active. Its faults destroy the data of at most one master at a time, and only while all other masters can
// come back.
type Nemesis struct {
	c        *Cluster
	plan     *Plan
	clock    func(int, time.Duration)
	workers  []*Worker
	newcomer int // the index of the master that joins and is removed again; 0: there was none yet

	group    sync.WaitGroup
	released chan struct{} // capacity 1: a fault was healed

	mu      sync.Mutex
	begun   time.Time
	claimed map[string]bool
	active  int // faults
	choices []string
	events  []string
}

// NewNemesis returns a nemesis for a cluster's masters and for workers that are processes. The function clock comes
// from Clocks; it is nil for masters that are processes.
func NewNemesis(c *Cluster, seed uint64, clock func(int, time.Duration), workers ...*Worker) *Nemesis {
	return &Nemesis{
		c: c, plan: NewPlan(seed, c.processes), clock: clock, workers: workers,
		released: make(chan struct{}, 1), claimed: map[string]bool{},
	}
}

// Walk takes one step of the plan after the other until ctx ends. A step waits for what an earlier one still claims:
// the wait changes when the step happens, and never which step it is.
func (n *Nemesis) Walk(ctx context.Context) {
	n.begun = time.Now()
	defer func() {
		n.group.Wait()
		n.restartEnded()
	}()
	for {
		s := n.plan.Next()
		n.addLine(&n.choices, "%v", s)
		if !pauseFor(ctx, s.After) || !n.acquire(ctx, &s) {
			return
		}
		if s.Fault == quiescent {
			n.logf("%s for %v", quiescent, s.Lasts)
			pauseFor(ctx, s.Lasts)
			continue
		}
		n.group.Go(func() { n.run(ctx, s) })
	}
}

// Choices lists all choices so far. Every walk of the same seed makes the same choices, as far as it gets.
func (n *Nemesis) Choices() string { return n.text(&n.choices) }

// Events lists what was injected and healed, and when.
func (n *Nemesis) Events() string { return n.text(&n.events) }

func (n *Nemesis) text(lines *[]string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(*lines, "\n")
}

func (n *Nemesis) addLine(lines *[]string, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*lines = append(*lines, fmt.Sprintf(format, args...))
}

func (n *Nemesis) logf(format string, args ...any) {
	n.addLine(&n.events, "%6.2fs %s", time.Since(n.begun).Seconds(), fmt.Sprintf(format, args...))
}

// run injects the step's fault, keeps it for its time and heals it.
func (n *Nemesis) run(ctx context.Context, s Step) {
	claims := s.fault.claims(n, s)
	defer n.release(claims)
	what, heal := s.fault.inject(n, s)
	n.logf("%s: %s, for %v", s.Fault, what, s.Lasts)
	pauseFor(ctx, s.Lasts)
	heal()
	n.logf("healed: %s: %s", s.Fault, what)
}

// acquire waits until the step may begin and takes the step's claims. It returns false if the walk ended first.
func (n *Nemesis) acquire(ctx context.Context, s *Step) bool {
	who := s.Who
	for {
		n.restartEnded()
		if s.fault.leader {
			s.Who = n.leader(who)
		}
		claims := s.fault.claims(n, *s)
		n.mu.Lock()
		ok := n.active < maxFaults && !slices.ContainsFunc(claims, func(c string) bool { return n.claimed[c] })
		if s.Fault == quiescent {
			ok = n.active == 0
		} else if ok {
			for _, c := range claims {
				n.claimed[c] = true
			}
			n.active++
		}
		n.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-n.released:
		case <-time.After(100 * time.Millisecond): // another master may lead by now
		}
	}
}

func (n *Nemesis) release(claims []string) {
	n.mu.Lock()
	for _, c := range claims {
		delete(n.claimed, c)
	}
	n.active--
	n.mu.Unlock()
	select {
	case n.released <- struct{}{}:
	default:
	}
}

// claim waits for one more claim of a fault that is already active. The returned function releases that claim.
func (n *Nemesis) claim(claim string) (release func()) {
	n.must("the claim on "+claim, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.claimed[claim] {
			return errors.New("another fault has it")
		}
		n.claimed[claim] = true
		return nil
	})
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.claimed, claim)
	}
}

func (n *Nemesis) worker(s Step) *Worker { return n.workers[s.Worker%len(n.workers)] }

// leader returns the leader that the first answering master names, or the given master if none names a running one.
func (n *Nemesis) leader(otherwise int) int {
	for _, nd := range n.c.all() {
		if !nd.running() {
			continue
		}
		ctx, cancel := context.WithTimeout(n.c.tb.Context(), 300*time.Millisecond)
		l, err := n.c.Client(nd.i).Leader(ctx)
		cancel()
		if err != nil {
			continue
		}
		for _, x := range n.c.all() {
			if x.name == l.Name && x.running() {
				return x.i
			}
		}
	}
	return otherwise
}

// start starts a master that a fault ended. A master that has been removed meanwhile stays down.
func (n *Nemesis) start(i int) {
	nd := n.c.node(i)
	if nd.gone.Load() {
		return
	}
	if err := nd.start(); err != nil {
		n.c.tb.Errorf("%s does not come back: %v", nd.name, err)
	}
}

// restartEnded starts every master again that has ended without a fault, as its supervisor would. The only valid reason
// for a process to end by itself is a stalled disk.
func (n *Nemesis) restartEnded() {
	for _, nd := range n.c.all() {
		n.mu.Lock()
		faulty := n.claimed[nd.name]
		n.mu.Unlock()
		if faulty || nd.gone.Load() || nd.running() {
			continue
		}
		if code, err := n.c.Wait(nd.i); n.c.processes && code != cluster.ExitStalled {
			n.c.tb.Errorf("%s ended by itself with exit code %d", nd.name, code)
		} else {
			n.logf("%s had ended with exit code %d (%v) and is started again", nd.name, code, err)
		}
		n.start(nd.i)
	}
}

// eventually calls try until it succeeds, and returns false if it has not within the limit.
func (n *Nemesis) eventually(limit time.Duration, try func() error) bool {
	return n.retry(limit, try) == nil
}

func (n *Nemesis) must(what string, try func() error) {
	if err := n.retry(healTimeout, try); err != nil {
		n.c.tb.Errorf("waited %v in vain: %s: %v", healTimeout, what, err)
	}
}

func (n *Nemesis) retry(limit time.Duration, try func() error) error {
	for end := time.Now().Add(limit); ; {
		err := try()
		if err == nil || time.Now().After(end) || !pauseFor(n.c.tb.Context(), 100*time.Millisecond) {
			return err
		}
	}
}

// pauseFor waits for d and returns false if ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// unstall lets a stalled disk go on. If the watchdog ends the master all the same, the supervisor starts it again.
func (c *Cluster) unstall(i int) {
	nd := c.node(i)
	nd.disk.open()
	nd.mu.Lock()
	nd.stalled = false
	nd.mu.Unlock()
}
