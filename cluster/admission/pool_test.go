package admission

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// guest enters a pool under a name and remembers why it had to go.
type guest struct {
	name  string
	place *Place
	went  Full
}

func TestEnter(t *testing.T) {
	type step struct {
		name   string // of the newcomer; its letter is its key
		after  time.Duration
		exempt bool
		leaves bool // an earlier guest leaves instead
		speaks bool // an earlier guest says something instead
		loser  string
		full   Full // why it was refused, or why the loser had to go
	}
	for name, tc := range map[string]struct {
		limits Limits
		steps  []step
	}{
		"room for all": {Limits{Max: 3, PerKey: 2}, []step{{name: "a1"}, {name: "a2"}, {name: "b1"}}},
		"the share of a key": {Limits{Max: 9, PerKey: 2}, []step{
			{name: "a1"}, {name: "a2"}, {name: "b1"}, {name: "a3", loser: "a1", full: FullKey},
		}},
		"exempt from the share": {Limits{Max: 3, PerKey: 1}, []step{
			{name: "a1", exempt: true}, {name: "a2", exempt: true}, {name: "a3", exempt: true},
			{name: "a4", exempt: true, loser: "a1", full: FullMax},
		}},
		"who holds most makes room": {Limits{Max: 4}, []step{
			{name: "b1"}, {name: "a1"}, {name: "a2"}, {name: "a3"}, {name: "c1", loser: "a1", full: FullMax},
		}},
		"of equals, the oldest": {Limits{Max: 2}, []step{{name: "b1"}, {name: "a1", after: time.Millisecond},
			{name: "c1", loser: "b1", full: FullMax}}},
		"the silent first": {Limits{Max: 3}, []step{
			{name: "a1"}, {name: "a2"}, {name: "a3"}, {name: "a1", speaks: true}, {name: "b1", loser: "a2", full: FullMax},
		}},
		"a place given back": {Limits{Max: 1}, []step{{name: "a1"}, {name: "a1", leaves: true}, {name: "b1"}}},
		"a rush is served in order": {Limits{Max: 2, Grace: time.Second}, []step{
			{name: "a1"}, {name: "b1"}, {name: "a2", full: FullMax}, {name: "c1", full: FullMax},
			{name: "a4", after: time.Second, loser: "a1", full: FullMax},
		}},
		"who holds fewer need not wait": {Limits{Max: 3, Grace: time.Second}, []step{
			{name: "a1"}, {name: "a2"}, {name: "a3"}, {name: "b1", loser: "a1", full: FullMax},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pool := New(tc.limits)
				inside := map[string]*guest{}
				for _, s := range tc.steps {
					time.Sleep(s.after) // the bubble's clock
					switch {
					case s.leaves:
						inside[s.name].place.Leave()
						inside[s.name].place.Leave()
						delete(inside, s.name)
						continue
					case s.speaks:
						inside[s.name].place.Spoke()
						continue
					}
					g := &guest{name: s.name}
					var full Full
					g.place, full = pool.Enter(s.name[:1], s.exempt, func(f Full) { g.went = f })
					if refused := s.full != Free && s.loser == ""; (g.place == nil) != refused || refused && full != s.full {
						t.Fatalf("%s: place %v, full %d", s.name, g.place, full)
					}
					for n, other := range inside {
						want := Free
						if n == s.loser {
							want = s.full
							delete(inside, n)
							other.place.Leave() // has nothing to give back any more
						}
						if other.went != want {
							t.Errorf("%s comes: %s went for %d, want %d", s.name, n, other.went, want)
						}
					}
					if g.place != nil {
						inside[s.name] = g
					}
					if pool.Held() != len(inside) {
						t.Errorf("%s: %d places held, want %d", s.name, pool.Held(), len(inside))
					}
				}
			})
		})
	}
}

func TestTakeTakesNothingAway(t *testing.T) {
	pool := New(Limits{Max: 3, PerKey: 2})
	var got []Full
	for _, key := range []string{"a", "a", "a", "b", "c"} {
		_, full := pool.Take(key)
		got = append(got, full)
	}
	if want := []Full{Free, Free, FullKey, Free, FullMax}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.1.2.3:80": "10.1.2.3/32", "[::ffff:10.1.2.3]:80": "10.1.2.3/32", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
		"[fe80::1%lo]:80": "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Address(a).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := Address(pipeAddr{}); got.IsValid() {
		t.Errorf("no address: %s", got)
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func TestThrottle(t *testing.T) {
	var th Throttle
	now := time.Now()
	for i, want := range []bool{true, false, false} {
		if _, ok := th.Due("a", now.Add(time.Duration(i)*time.Second)); ok != want {
			t.Errorf("%d: %v", i, ok)
		}
	}
	if silent, ok := th.Due("a", now.Add(11*time.Second)); !ok || silent != 2 {
		t.Error(silent, ok)
	}
	if _, ok := th.Due("b", now); !ok {
		t.Error("reasons share a throttle")
	}
	for i := range 3 * throttleMost {
		th.Due(fmt.Sprint(i), now)
	}
	if len(th.last) > throttleMost {
		t.Errorf("%d reasons are kept", len(th.last))
	}
}
