package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/gossip"
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
	must(t, l.node.Read(patient(t)))
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

// A proposer that gave its proposal up while the other was silent: when that one comes back it asks, and is free.
func TestAMissedReleaseIsAskedFor(t *testing.T) {
	w := newWorld(t)
	p, q := w.add(expect(2)), w.add(expect(2))
	d, err := store.Open(q.path+"/data", store.Options{Logger: q.logger()})
	must(t, err)
	pd, err := store.Open(p.path+"/data", store.Options{Logger: p.logger()})
	must(t, err)
	f := &founding{ID: "lost", Proposer: pd.ID(), Since: time.Now(), Set: []founder{{ID: pd.ID(), Name: "master-1"}, {ID: d.ID(), Name: "master-2"}}}
	must(t, d.Save(bootstrapDocument, ledger{Promise: f}))
	must(t, d.Close())
	must(t, pd.Close())
	q.start()
	w.until("it waits for its proposer", func() bool { return strings.Contains(q.node.Waiting(), "waiting for the cluster that") })
	p.start()
	w.leader()
	w.voters(2)
}

// The proposer crashed after it decided and before it carried out: it must carry out, and nothing else.
func TestADecidedProposalIsCarriedOutAfterARestart(t *testing.T) {
	w := newWorld(t)
	hosts := []*host{w.add(expect(3)), w.add(expect(3)), w.add(expect(3))}
	var set []founder
	dirs := make([]*store.Dir, 3)
	for i, h := range hosts {
		var err error
		dirs[i], err = store.Open(h.path+"/data", store.Options{Logger: h.logger()})
		must(t, err)
		set = append(set, founder{ID: dirs[i].ID(), Name: h.name, Address: fmt.Sprintf("127.0.0.1:%d", i+1)})
	}
	f := &founding{ID: "decided", Proposer: dirs[2].ID(), Set: set, Since: time.Now()}
	for i, d := range dirs {
		l := ledger{Promise: f}
		if i == 2 {
			l.Proposal, l.Decided = f, true
		}
		must(t, d.Save(bootstrapDocument, l))
		must(t, d.Close())
	}
	// Without their proposer the other two, although enough to propose something else, keep their promise.
	hosts[0].start()
	hosts[1].start()
	w.until("they wait", func() bool {
		return strings.Contains(hosts[0].node.Waiting(), "waiting for the cluster that") && strings.Contains(hosts[1].node.Waiting(), "waiting for the cluster that")
	})
	hosts[2].start()
	w.leader()
	w.voters(3)
	w.write("x")
	w.agree()
	for _, h := range hosts {
		if got := h.node.boot.current(); got.Promise != nil || got.Proposal != nil {
			w.until("promises are forgotten", func() bool { return h.node.boot.current().Promise == nil })
		}
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
	f := &founding{ID: "open", Proposer: ad.ID(), Since: time.Now(),
		Set: []founder{{ID: ad.ID(), Name: a.name, Address: "127.0.0.1:1"}, {ID: bd.ID(), Name: b.name, Address: "127.0.0.1:2"}}}
	must(t, ad.Save(bootstrapDocument, ledger{Promise: f, Proposal: f}))
	must(t, bd.Save(bootstrapDocument, ledger{Promise: f}))
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

func TestOnlyTheProposerReleasesAPromise(t *testing.T) {
	dir, err := store.Open(t.TempDir(), store.Options{})
	must(t, err)
	defer dir.Close()
	b, err := loadBootstrap(dir)
	must(t, err)
	first := &founding{ID: "1", Proposer: "a", Since: time.Now()}
	must(t, b.promise(first))
	must(t, b.promise(first)) // the same again is the same
	if err := b.promise(&founding{ID: "2", Proposer: "b"}); err == nil {
		t.Fatal("two promises at a time")
	}
	if err := b.begin(&founding{ID: "3", Proposer: "self"}); err == nil {
		t.Fatal("a proposal beside a promise")
	}
	must(t, b.release("1", "b"))
	if b.current().Promise == nil {
		t.Fatal("someone else released the promise")
	}
	again, err := loadBootstrap(dir)
	must(t, err)
	if p := again.current().Promise; p == nil || p.ID != "1" {
		t.Fatalf("after a restart the promise is %+v", p)
	}
	must(t, b.release("1", "a"))
	if b.current().Promise != nil {
		t.Fatal("the proposer could not release it")
	}
	own := &founding{ID: "4", Proposer: "self"}
	must(t, b.begin(own))
	if got := b.fate("4"); got != proposalOpen {
		t.Fatalf("fate %s", got)
	}
	must(t, b.decide("4"))
	if f, err := b.bury(); f != nil || err != nil {
		t.Fatal("a decided proposal was buried")
	}
	if got := b.fate("4") + b.fate("3"); got != proposalDecided+proposalDead {
		t.Fatalf("fates %s", got)
	}
}

func TestFoundingSet(t *testing.T) {
	self := func(id string, want int) *Node { return &Node{id: id, cfg: Config{BootstrapExpect: want}} }
	m := func(id string, want int) gossip.Member {
		return gossip.Member{Alive: true, Meta: gossip.Meta{ID: id, Name: "n" + id, Address: id + ":1", BootstrapExpect: want}}
	}
	for i, c := range []struct {
		self    string
		want    int
		members []gossip.Member
		set     string
		says    string
	}{
		{"a", 3, []gossip.Member{m("a", 3), m("b", 3)}, "", "2 of the 3"},
		{"a", 3, []gossip.Member{m("a", 3), m("d", 3), m("c", 3), m("b", 3)}, "abc", ""},
		{"b", 3, []gossip.Member{m("a", 3), m("b", 3), m("c", 3)}, "", "na proposes"},
		{"d", 3, []gossip.Member{m("a", 3), m("b", 3), m("c", 3), m("d", 3)}, "", "this one joins"},
		{"a", 3, []gossip.Member{m("a", 3), m("b", 5), m("c", 3)}, "", "3 here and 5 on nb"},
		{"a", 2, []gossip.Member{m("a", 2), m("b", 0)}, "", "1 of the 2"},
		{"a", 0, []gossip.Member{m("a", 0)}, "", "BootstrapExpect is 0"},
	} {
		set, says := self(c.self, c.want).foundingSet(c.members)
		ids := ""
		for _, f := range set {
			ids += f.ID
		}
		if ids != c.set || !strings.Contains(says, c.says) || (says == "") != (c.says == "") {
			t.Errorf("%d: set %q, says %q; want %q, %q", i, ids, says, c.set, c.says)
		}
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
