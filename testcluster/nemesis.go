package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/cmd/master"
	"scaleout/store"
)

// errFull is what a full disk says.
var errFull = errors.New("no space left on device (injected)")

// Fill makes every write of a master's log fail until Heal, as a full disk does; in process only.
func (c *Cluster) Fill(i int) { c.node(i).stall.full.Store(true) }

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

// Nemesis breaks a cluster at random. The same seed makes the same choices in the same order.
type Nemesis struct {
	c     *Cluster
	rand  *rand.Rand
	clock func(int, time.Duration)
	log   []string
	// Workers are processes that it may kill and stop.
	Workers []*Worker
}

// NewNemesis makes a nemesis. clock comes from Clocks and may be nil.
func NewNemesis(c *Cluster, seed uint64, clock func(int, time.Duration)) *Nemesis {
	return &Nemesis{c: c, rand: rand.New(rand.NewPCG(seed, seed)), clock: clock}
}

// deed is one way to do harm: it breaks something and returns how to mend it.
type deed struct {
	name string
	do   func(n *Nemesis) (what string, mend func())
}

var deeds = []deed{
	{"kill", func(n *Nemesis) (string, func()) {
		i := n.pick()
		n.c.Kill(i)
		return n.name(i), func() { n.c.Restart(i) }
	}},
	{"kill leader", func(n *Nemesis) (string, func()) {
		i := n.c.Leader()
		n.c.Kill(i)
		return n.name(i), func() { n.c.Restart(i) }
	}},
	{"stop", func(n *Nemesis) (string, func()) {
		i := n.pick()
		n.c.Stop(i)
		return n.name(i), func() { n.c.Restart(i) }
	}},
	{"isolate", func(n *Nemesis) (string, func()) {
		i := n.pick()
		n.c.Isolate(i)
		return n.name(i), n.c.Heal
	}},
	{"isolate leader", func(n *Nemesis) (string, func()) {
		i := n.c.Leader()
		n.c.Isolate(i)
		return n.name(i), n.c.Heal
	}},
	{"cut", func(n *Nemesis) (string, func()) {
		i, j := n.pair()
		n.c.Cut(i, j)
		return n.name(i) + "-" + n.name(j), n.c.Heal
	}},
	{"cut one way", func(n *Nemesis) (string, func()) {
		i, j := n.pair()
		n.c.CutOneWay(i, j)
		return n.name(i) + "→" + n.name(j), n.c.Heal
	}},
	{"slow", func(n *Nemesis) (string, func()) {
		i, j := n.pair()
		d := time.Duration(5+n.rand.IntN(100)) * time.Millisecond
		n.c.Slow(i, j, d)
		return fmt.Sprintf("%s→%s by %v", n.name(i), n.name(j), d), n.c.Heal
	}},
	{"clock jump", func(n *Nemesis) (string, func()) {
		if n.clock == nil {
			return "no clocks", func() {}
		}
		i := n.pick()
		ahead := time.Duration(n.rand.IntN(1200)-600) * time.Second
		n.clock(i, ahead)
		return fmt.Sprintf("%s by %v", n.name(i), ahead), func() { n.clock(i, 0) }
	}},
	{"disk full", func(n *Nemesis) (string, func()) {
		i := n.pick()
		n.c.Fill(i)
		return n.name(i), n.c.Heal
	}},
	{"disk stall", func(n *Nemesis) (string, func()) {
		i := n.pick()
		n.c.Stall(i)
		return n.name(i), func() { n.c.Heal(); n.c.revive(i) }
	}},
	{"transfer", func(n *Nemesis) (string, func()) {
		i := n.pick()
		_, err := n.c.Admin().Transfer(n.c.tb.Context(), n.name(i))
		return fmt.Sprintf("%s: %v", n.name(i), err), func() {}
	}},
	{"kill worker", func(n *Nemesis) (string, func()) {
		if len(n.Workers) == 0 {
			return "no workers", func() {}
		}
		w := n.Workers[n.rand.IntN(len(n.Workers))]
		w.Kill()
		return w.Name(), w.Restart
	}},
	{"stop worker's process", func(n *Nemesis) (string, func()) {
		if len(n.Workers) == 0 {
			return "no workers", func() {}
		}
		w := n.Workers[n.rand.IntN(len(n.Workers))]
		w.Pause()
		return w.Name(), w.Resume
	}},
}

func (n *Nemesis) name(i int) string { return n.c.node(i).name }
func (n *Nemesis) pick() int         { return n.rand.IntN(len(n.c.all())) }
func (n *Nemesis) pair() (int, int) {
	i := n.pick()
	j := (i + 1 + n.rand.IntN(len(n.c.all())-1)) % len(n.c.all())
	return i, j
}

// Step does one deed, lets it last for a random while, mends it and says what it was.
func (n *Nemesis) Step() string {
	d := deeds[n.rand.IntN(len(deeds))]
	lasts := time.Duration(200+n.rand.IntN(3000)) * time.Millisecond
	what, mend := d.do(n)
	timer := time.NewTimer(lasts)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.c.tb.Context().Done():
	}
	mend()
	text := fmt.Sprintf("%s %s for %v", d.name, what, lasts)
	n.log = append(n.log, text)
	return text
}

// Log is what it has done so far.
func (n *Nemesis) Log() string { return strings.Join(n.log, "\n") }

// revive starts a master again if it has ended by itself, as its supervisor would.
func (c *Cluster) revive(i int) {
	nd := c.node(i)
	// The watchdog may be about to end it: then its death is as sure as the stall was long.
	if !nd.running() {
		c.must(nd.start())
	}
}

// Revive starts every master again that has ended by itself.
func (c *Cluster) Revive() {
	for _, nd := range c.all() {
		if !nd.gone {
			c.revive(nd.i)
		}
	}
}

// fill is the part of a stalling disk that is full.
func (s *stalling) fill() error {
	if s.gate.full.Load() {
		return errFull
	}
	return nil
}

var _ store.LogStore = (*stalling)(nil)
var _ raft.LogStore = (*stalling)(nil)
