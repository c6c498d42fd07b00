package demo

import (
	"testing"
	"time"
)

func TestDemoCountsWhatRan(t *testing.T) {
	readRan := func(ran string) *Result {
		r := &Result{Started: 3, Succeeded: 3, Masters: 3, Killed: Killed{Name: "master-1"}}
		r.count([]int64{1, 2, 3}, ran)
		return r
	}
	for _, test := range []struct {
		name, ran string
		good      bool
	}{
		{"each once, in any order", "1\n3\n2\n", true},
		{"one is missing", "1\n2\n", false},
		{"one ran twice", "1\n2\n3\n3\n", false},
		{"one that was not started", "1\n2\n3\n4\n", false},
		{"none ran", "", false},
		{"two ids in a line", "1\n23\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r := readRan(test.ran); r.Good() != test.good {
				t.Errorf("%+v", r)
			}
		})
	}
	r := readRan("1\n2\n3\n")
	if r.Killed.Name = ""; r.Good() {
		t.Error("no leader was killed, and the result is taken as good")
	}
	if r.Masters = 1; !r.Good() {
		t.Error("a single master cannot be killed, and the result is taken as bad")
	}
}

func TestGaps(t *testing.T) {
	var g gaps
	begin := time.Now()
	for _, ms := range []int{0, 50, 1250, 1300} {
		g.took(begin.Add(time.Duration(ms) * time.Millisecond))
	}
	if gap, n := g.gap(); gap != 1200*time.Millisecond || n != 4 {
		t.Error(gap, n)
	}
}
