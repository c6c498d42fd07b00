package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/command"
	"scaleout/store"
)

func expect(n int) func(*Config) { return func(c *Config) { c.BootstrapExpect = n } }

func TestFourMastersAtOnceWithExpectThree(t *testing.T) {
	w := newWorld(t)
	for range 4 {
		w.add(expect(3))
	}
	for _, h := range w.hosts {
		h.start()
	}
	w.leader()
	w.voters(4)
	w.write("x")
	w.agree()
	if n := strings.Count(w.logs.String(), "a new cluster begins"); n != 1 {
		t.Errorf("%d clusters began", n)
	}
}

func TestDifferingExpectIsNamedAndNothingBegins(t *testing.T) {
	w := newWorld(t)
	w.add(expect(3))
	w.add(expect(3))
	w.add(expect(2))
	for _, h := range w.hosts {
		h.start()
	}
	w.until("both numbers are named everywhere", func() bool {
		for _, h := range w.hosts {
			s := h.node.Waiting()
			if !strings.Contains(s, "BootstrapExpect") || !strings.Contains(s, "2") || !strings.Contains(s, "3") {
				return false
			}
		}
		return true
	})
	for _, h := range w.hosts {
		if h.node.hasLog() || h.node.State() != StateEmpty {
			t.Errorf("%s is %s", h.name, h.node.State())
		}
	}
}

func TestAMasterAloneBeginsWithExpectOne(t *testing.T) {
	w := newWorld(t)
	w.start(1)
	l := w.leader()
	must(t, l.node.Read(bounded(t)))
	w.write("x")
	w.until("caught up", func() bool {
		select {
		case <-l.node.CaughtUp():
			return true
		default:
			return false
		}
	})
}

// promises is what package bootstrap keeps in a data directory, as its format has it.
type promises struct {
	Promise  *proposal `json:"promise,omitempty"`
	Proposal *proposal `json:"proposal,omitempty"`
	Decided  bool      `json:"decided,omitempty"`
	Begun    string    `json:"begun,omitempty"`
}

type proposal struct {
	ID       string    `json:"id"`
	Proposer string    `json:"proposer"`
	Set      []founder `json:"set"`
	Since    time.Time `json:"since"`
}

type founder struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

// promised is what the master's data directory holds of promises.
func (h *host) promised() (p promises) {
	h.w.t.Helper()
	_, err := h.dir.Load("bootstrap", &p)
	must(h.w.t, err)
	return p
}

// A proposer that gave its proposal up while the other was silent: when that one comes back it asks, and is free.
func TestAMissedReleaseIsAskedFor(t *testing.T) {
	w := newWorld(t)
	p, q := w.add(expect(2)), w.add(expect(2))
	d, err := store.Open(q.path+"/data", store.Options{Logger: q.logger()})
	must(t, err)
	pd, err := store.Open(p.path+"/data", store.Options{Logger: p.logger()})
	must(t, err)
	f := &proposal{ID: "lost", Proposer: pd.ID(), Since: time.Now(),
		Set: []founder{{ID: pd.ID(), Name: "master-1"}, {ID: d.ID(), Name: "master-2"}}}
	must(t, d.Save("bootstrap", promises{Promise: f}))
	must(t, d.Close())
	must(t, pd.Close())
	q.start()
	w.until("it waits for its proposer", func() bool {
		return strings.Contains(q.node.Waiting(), "waiting for the cluster that")
	})
	p.start()
	w.leader()
	w.voters(2)
}

// decidedID is the id of the proposal that decided leaves.
const decidedID = "decided"

// decided leaves on the disks of hosts that have not started what a proposal leaves that all have promised to follow,
// and that its proposer has decided.
func decided(t *testing.T, hosts []*host, proposer int) {
	t.Helper()
	p := &proposal{ID: decidedID, Since: time.Now()}
	dirs := make([]*store.Dir, len(hosts))
	for i, h := range hosts {
		var err error
		dirs[i], err = store.Open(h.path+"/data", store.Options{Logger: h.logger()})
		must(t, err)
		p.Set = append(p.Set, founder{ID: dirs[i].ID(), Name: h.name, Address: fmt.Sprintf("127.0.0.1:%d", i+1)})
	}
	p.Proposer = dirs[proposer].ID()
	for i, d := range dirs {
		l := promises{Promise: p}
		if i == proposer {
			l.Proposal, l.Decided = p, true
		}
		must(t, d.Save("bootstrap", l))
		must(t, d.Close())
	}
}

// The proposer crashed after it decided and before it carried out: it must carry out, and nothing else.
func TestADecidedProposalIsCarriedOutAfterARestart(t *testing.T) {
	w := newWorld(t)
	hosts := []*host{w.add(expect(3)), w.add(expect(3)), w.add(expect(3))}
	decided(t, hosts, 2)
	// Without their proposer the other two, although enough to propose something else, keep their promise.
	hosts[0].start()
	hosts[1].start()
	w.until("they wait", func() bool {
		return strings.Contains(hosts[0].node.Waiting(), "waiting for the cluster that") &&
			strings.Contains(hosts[1].node.Waiting(), "waiting for the cluster that")
	})
	hosts[2].start()
	w.leader()
	w.voters(3)
	w.write("x")
	w.agree()
	for _, h := range hosts {
		w.until("promises are forgotten", func() bool { p := h.promised(); return p.Promise == nil && p.Proposal == nil })
	}
}

// The proposer crashed before it decided: the proposal is dead, whatever the others promised.
func TestAnUndecidedProposalIsDeadAfterARestart(t *testing.T) {
	w := newWorld(t)
	a, b := w.add(expect(2)), w.add(expect(2))
	ad, err := store.Open(a.path+"/data", store.Options{Logger: a.logger()})
	must(t, err)
	bd, err := store.Open(b.path+"/data", store.Options{Logger: b.logger()})
	must(t, err)
	f := &proposal{ID: "open", Proposer: ad.ID(), Since: time.Now(),
		Set: []founder{{ID: ad.ID(), Name: a.name, Address: "127.0.0.1:1"},
			{ID: bd.ID(), Name: b.name, Address: "127.0.0.1:2"}}}
	must(t, ad.Save("bootstrap", promises{Promise: f, Proposal: f}))
	must(t, bd.Save("bootstrap", promises{Promise: f}))
	must(t, ad.Close())
	must(t, bd.Close())
	a.start()
	b.start()
	w.leader()
	w.voters(2)
	if !w.logs.has("this master restarted before all had promised") {
		t.Error("the old proposal was not given up")
	}
}

// Gossip shows three, but one of them answers nobody: the proposal dies, its promises are handed back, and it works
// once the silent one is heard.
func TestASilentMasterLetsTheProposalDie(t *testing.T) {
	w := newWorld(t)
	a, b, silent := w.add(expect(3)), w.add(expect(3)), w.add(expect(3))
	w.isolate(silent)
	for _, h := range w.hosts {
		h.start()
	}
	w.until("a proposal is given up", func() bool { return w.logs.has("is given up") })
	for _, h := range []*host{a, b, silent} {
		if h.node.hasLog() {
			t.Fatalf("%s has begun a cluster without the silent one", h.name)
		}
	}
	w.heal()
	w.leader()
	w.voters(3)
	if n := strings.Count(w.logs.String(), "a new cluster begins"); n != 1 {
		t.Errorf("%d clusters began", n)
	}
}

// One of the masters that begin a cluster is away until it exists. It keeps its promise until it has the log, nobody
// tells it that its data was lost, and if it was removed meanwhile it is taken in as a new one.
func TestAMasterOfTheSetIsAwayUntilTheClusterExists(t *testing.T) {
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprintf("removed %v", removed), func(t *testing.T) {
			w := newWorld(t)
			hosts := []*host{w.add(expect(3)), w.add(expect(3)), w.add(expect(3))}
			decided(t, hosts, 0)
			away := hosts[2]
			for _, h := range hosts[:2] {
				h.start()
				w.refuse(h.i, away.i) // it can ask, and no entry reaches it
			}
			w.leader()
			w.until("the proposer has settled", func() bool { return hosts[0].promised().Begun == decidedID })
			away.start()
			w.until("it knows that the cluster exists", func() bool {
				return strings.Contains(away.node.Waiting(), "its log is on the way")
			})
			if removed {
				w.until("it is removed", func() bool {
					err := w.leader().node.Remove(bounded(t), away.node.ID(), true)
					return err == nil || errors.Is(err, command.ErrUnknownMember)
				})
			} else {
				w.until("the leader knows where it is now", func() bool {
					_, servers := w.leader().node.configuration()
					s, ok := findServer(servers, away.node.ID())
					return ok && string(s.Address) == away.address
				})
			}
			if q := away.promised().Promise; q == nil || q.ID != decidedID || away.node.hasLog() {
				t.Errorf("its promise is %+v, it has a log: %v", q, away.node.hasLog())
			}
			w.heal()
			w.voters(3)
			w.write("x")
			w.agree()
			w.until("its promise is forgotten", func() bool { return away.promised().Promise == nil })
			if w.logs.has("its data was lost") {
				t.Error("it was told that its data was lost")
			}
		})
	}
}
