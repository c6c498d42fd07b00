package testcluster_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"scaleout/testcluster"
)

// A seed stands for one list of choices, and masters of each kind get only the faults that are possible for them.
func TestAPlanIsItsSeeds(t *testing.T) {
	t.Parallel()
	choices := func(seed uint64, processes bool) (lines []string, faults map[string]bool) {
		p := testcluster.NewPlan(seed, processes)
		faults = map[string]bool{}
		for range 1000 {
			s := p.Next()
			lines = append(lines, s.String())
			faults[s.Fault] = true
			if s.Who == s.Other {
				t.Fatalf("%v is done between a master and itself", s)
			}
		}
		return lines, faults
	}
	inside, here := choices(1, false)
	if again, _ := choices(1, false); !slices.Equal(inside, again) {
		t.Error("the same seed made other choices")
	}
	if others, _ := choices(3, false); slices.Equal(inside, others) {
		t.Error("another seed made the same choices")
	}
	_, there := choices(1, true)
	for _, name := range []string{"clock jump", "disk stall", "disk full", "cut one way", "slow", "isolate leader"} {
		if !here[name] || there[name] {
			t.Errorf("%q is for masters of this process: there %v, for processes %v", name, here[name], there[name])
		}
	}
	if here["pause leader"] || !there["pause leader"] {
		t.Error("only a process can be paused")
	}
	both := strings.Join(slices.Sorted(maps.Keys(here)), ",") + strings.Join(slices.Sorted(maps.Keys(there)), ",")
	for _, name := range []string{"kill leader", "stop", "transfer", "end worker", "kill worker and guards",
		"cut worker off from leader", "grow and shrink", "lose a master's disk", "quiescent"} {
		if strings.Count(both, name) < 2 {
			t.Errorf("%q is not done to both kinds", name)
		}
	}
}
