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
	"scaleout/store"
)

// errFull is what a full disk says.
var errFull = fmt.Errorf("%w (injected)", store.ErrNoSpace)

// Fill makes every write of a master's log fail until Heal, as a full disk does; in process only. Not even
// a term or a vote finds room, as on a file system that never writes in place.
func (c *Cluster) Fill(i int) { c.node(i).stall.full.Store(true) }

// Tighten makes every write of a master's log entries fail until Heal, as a disk does that is full but for the few bytes
// of a term or a vote; in process only.
func (c *Cluster) Tighten(i int) { c.node(i).stall.tight.Store(true) }

// tighten is the part of a stalling disk that has no room for entries.
func (s *stalling) tighten() error {
	if s.gate.tight.Load() {
		return errFull
	}
	return s.fill()
}

// fill is the part of a stalling disk that is full.
func (s *stalling) fill() error {
	if s.gate.full.Load() {
		return errFull
	}
	return nil
}

// clocks are the wall clocks of the masters of one cluster, as offsets from the true one.
type clocks [16]atomic.Int64

// Clocks lets the test set each master's wall clock: the returned function sets how far master i is ahead.
func Clocks() (Option, func(i int, ahead time.Duration)) {
	var offsets clocks
	option := Settings(func(i int, cfg *master.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(offsets[i].Load())) }
	})
	return option, func(i int, ahead time.Duration) { offsets[i].Store(int64(ahead)) }
}

// most is how many harms last at the same time.
const most = 3

// mending bounds how long a harm may take to be mended once nothing else is harmed any more.
const mending = 2 * time.Minute

// Nemesis breaks a cluster at random, several things at a time, and mends what it broke: when Walk returns all is whole.
// What it breaks never takes more than one master's data, and that only while all others can come back.
type Nemesis struct {
	c        *Cluster
	plan     *Plan
	clock    func(int, time.Duration)
	workers  []*Worker
	newcomer int // the master that joins and goes again; 0: never yet

	group sync.WaitGroup
	freed chan struct{} // capacity 1: something was mended

	mu      sync.Mutex
	begun   time.Time
	claimed map[string]bool
	harms   int
	choices []string
	story   []string
}

// NewNemesis makes a nemesis of a cluster's masters and of workers that are processes. clock comes from Clocks; processes
// need none.
func NewNemesis(c *Cluster, seed uint64, clock func(int, time.Duration), workers ...*Worker) *Nemesis {
	return &Nemesis{
		c: c, plan: NewPlan(seed, c.processes), clock: clock, workers: workers,
		freed: make(chan struct{}, 1), claimed: map[string]bool{},
	}
}

// Walk does one step of the plan after the other until ctx ends. A step waits for what an earlier one still claims; that
// changes when it happens and never what.
func (n *Nemesis) Walk(ctx context.Context) {
	n.begun = time.Now()
	defer func() {
		n.group.Wait()
		n.revive()
	}()
	for {
		s := n.plan.Next()
		n.note(&n.choices, "%v", s)
		if !pauseFor(ctx, s.After) || !n.room(ctx, &s) {
			return
		}
		if s.Deed == rest {
			n.tell("%s for %v", rest, s.Lasts)
			pauseFor(ctx, s.Lasts)
			continue
		}
		n.group.Go(func() { n.harm(ctx, s) })
	}
}

// Choices is the list of all choices so far: the same for every walk of the seed, as far as each went.
func (n *Nemesis) Choices() string { return n.text(&n.choices) }

// Story is what happened.
func (n *Nemesis) Story() string { return n.text(&n.story) }

func (n *Nemesis) text(lines *[]string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(*lines, "\n")
}

func (n *Nemesis) note(lines *[]string, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*lines = append(*lines, fmt.Sprintf(format, args...))
}

func (n *Nemesis) tell(format string, args ...any) {
	n.note(&n.story, "%6.2fs %s", time.Since(n.begun).Seconds(), fmt.Sprintf(format, args...))
}

// harm breaks, waits and mends.
func (n *Nemesis) harm(ctx context.Context, s Step) {
	claims := s.deed.claims(n, s)
	defer n.free(claims)
	what, mend := s.deed.do(n, s)
	n.tell("%s: %s, for %v", s.Deed, what, s.Lasts)
	pauseFor(ctx, s.Lasts)
	mend()
	n.tell("mended: %s: %s", s.Deed, what)
}

// room waits until the step may begin, and takes what it claims. It reports false when the walk is over.
func (n *Nemesis) room(ctx context.Context, s *Step) bool {
	who := s.Who
	for {
		n.revive()
		if s.deed.leader {
			s.Who = n.leader(who)
		}
		claims := s.deed.claims(n, *s)
		n.mu.Lock()
		ok := s.Deed == rest && n.harms == 0 || s.Deed != rest && n.harms < most && !n.taken(claims)
		if ok && s.Deed != rest {
			n.take(claims)
			n.harms++
		}
		n.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-n.freed:
		case <-time.After(100 * time.Millisecond): // who leads may have changed
		}
	}
}

// taken and take need the lock.
func (n *Nemesis) taken(claims []string) bool {
	return slices.ContainsFunc(claims, func(c string) bool { return n.claimed[c] })
}

func (n *Nemesis) take(claims []string) {
	for _, c := range claims {
		n.claimed[c] = true
	}
}

func (n *Nemesis) free(claims []string) {
	n.mu.Lock()
	for _, c := range claims {
		delete(n.claimed, c)
	}
	n.harms--
	n.mu.Unlock()
	select {
	case n.freed <- struct{}{}:
	default:
	}
}

// seize takes one more claim for a harm that is under way; it goes with give.
func (n *Nemesis) seize(claim string) (give func()) {
	n.must("its turn for "+claim, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.claimed[claim] {
			return errors.New("another harm has it")
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

// leader is who leads by the word of some master that answers at once, else the one given.
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

// start starts a master that was broken; one that has been removed meanwhile stays where it is.
func (n *Nemesis) start(i int) {
	nd := n.c.node(i)
	if nd.gone.Load() {
		return
	}
	if err := nd.start(); err != nil {
		n.c.tb.Errorf("%s does not come back: %v", nd.name, err)
	}
}

// revive starts every master again that has ended without being harmed at this moment, as its supervisor would. A
// process may end by itself for no other reason than its disk.
func (n *Nemesis) revive() {
	for _, nd := range n.c.all() {
		n.mu.Lock()
		harmed := n.claimed[nd.name]
		n.mu.Unlock()
		if harmed || nd.gone.Load() || nd.running() {
			continue
		}
		if code, err := n.c.Wait(nd.i); n.c.processes && code != cluster.ExitStalled {
			n.c.tb.Errorf("%s ended by itself with exit code %d", nd.name, code)
		} else {
			n.tell("%s had ended with exit code %d (%v); it is started again", nd.name, code, err)
		}
		n.start(nd.i)
	}
}

// eventually tries until it succeeds or the limit is over.
func (n *Nemesis) eventually(limit time.Duration, try func() error) bool {
	return n.try(limit, try) == nil
}

func (n *Nemesis) must(what string, try func() error) {
	if err := n.try(mending, try); err != nil {
		n.c.tb.Errorf("waited %v in vain: %s: %v", mending, what, err)
	}
}

func (n *Nemesis) try(limit time.Duration, try func() error) error {
	for end := time.Now().Add(limit); ; {
		err := try()
		if err == nil || time.Now().After(end) || !pauseFor(n.c.tb.Context(), 100*time.Millisecond) {
			return err
		}
	}
}

// pauseFor waits and reports false when ctx ended first.
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

// unstall lets a stalled disk go on; should the watchdog end the master nevertheless, its supervisor starts it again.
func (c *Cluster) unstall(i int) {
	nd := c.node(i)
	nd.stall.open()
	nd.mu.Lock()
	nd.harmed = false
	nd.mu.Unlock()
}
