package bootstrap

import (
	"strings"
	"testing"
	"time"

	"scaleout/cluster/gossip"
	"scaleout/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheProposerReleasesAPromise(t *testing.T) {
	dir, err := store.Open(t.TempDir(), store.Options{})
	must(t, err)
	defer dir.Close()
	s, err := openPromises(dir)
	must(t, err)
	first := &proposal{ID: "1", Proposer: "a", Since: time.Now()}
	must(t, s.promise(first))
	must(t, s.promise(first)) // the same again is the same
	if err := s.promise(&proposal{ID: "2", Proposer: "b"}); err == nil {
		t.Fatal("two promises at a time")
	}
	if err := s.begin(&proposal{ID: "3", Proposer: "self"}); err == nil {
		t.Fatal("a proposal beside a promise")
	}
	must(t, s.release("1", "b"))
	if s.current().Promise == nil {
		t.Fatal("someone else released the promise")
	}
	again, err := openPromises(dir)
	must(t, err)
	if p := again.current().Promise; p == nil || p.ID != "1" {
		t.Fatalf("after a restart the promise is %+v", p)
	}
	must(t, s.release("1", "a"))
	if s.current().Promise != nil {
		t.Fatal("the proposer could not release it")
	}
	own := &proposal{ID: "4", Proposer: "self"}
	must(t, s.begin(own))
	if got := s.outcome("4"); got != outcomeOpen {
		t.Fatalf("outcome %s", got)
	}
	must(t, s.decide("4"))
	if f, err := s.abandon(); f != nil || err != nil {
		t.Fatal("a decided proposal was abandoned")
	}
	if got := s.outcome("4") + s.outcome("3"); got != outcomeDecided+outcomeDead {
		t.Fatalf("outcomes %s", got)
	}
	// Who was away while the cluster began must not be told that its proposal is dead.
	must(t, s.settle())
	again, err = openPromises(dir)
	must(t, err)
	if got := again.outcome("4") + again.outcome("3") + again.outcome(""); got != outcomeBegun+outcomeDead+outcomeDead {
		t.Fatalf("outcomes once the cluster exists: %s", got)
	}
}

func TestTheSetThatIsProposed(t *testing.T) {
	self := func(id string, want int) *Bootstrapper { return &Bootstrapper{cfg: Config{ID: id, Expect: want}} }
	m := func(id string, want int) gossip.Member {
		return gossip.Member{Alive: true, Meta: gossip.Meta{ID: id, Name: "n" + id, Address: id + ":1",
			BootstrapExpect: want}}
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
		set, says := self(c.self, c.want).choose(c.members)
		ids := ""
		for _, f := range set {
			ids += f.ID
		}
		if ids != c.set || !strings.Contains(says, c.says) || (says == "") != (c.says == "") {
			t.Errorf("%d: set %q, says %q; want %q, %q", i, ids, says, c.set, c.says)
		}
	}
}
