package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestProofCounting(t *testing.T) {
	base := time.Now()
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	type answer struct {
		id      raft.ServerID
		term    uint64
		sent    int
		success bool
		inTerm  uint64
	}
	ok := func(id raft.ServerID, term uint64, sent int) answer { return answer{id, term, sent, true, term} }
	three, five := []raft.ServerID{"a", "b", "c"}, []raft.ServerID{"a", "b", "c", "d", "e"}

	for name, tc := range map[string]struct {
		answers []answer
		term    uint64
		voters  []raft.ServerID
		want    time.Time
	}{
		"nothing yet":                  {nil, 2, three, time.Time{}},
		"one of two others":            {[]answer{ok("b", 2, 3)}, 2, three, at(3)},
		"the newer of two":             {[]answer{ok("b", 2, 3), ok("c", 2, 5)}, 2, three, at(5)},
		"five need two others":         {[]answer{ok("b", 2, 9)}, 2, five, time.Time{}},
		"five: the second newest":      {[]answer{ok("b", 2, 9), ok("c", 2, 4), ok("d", 2, 6)}, 2, five, at(6)},
		"a non-voter does not count":   {[]answer{ok("x", 2, 9), ok("b", 2, 3)}, 2, three, at(3)},
		"only a non-voter":             {[]answer{ok("x", 2, 9)}, 2, three, time.Time{}},
		"an older term does not":       {[]answer{ok("b", 1, 9)}, 2, three, time.Time{}},
		"nor a newer one":              {[]answer{ok("b", 3, 9)}, 2, three, time.Time{}},
		"a late answer of an old term": {[]answer{ok("b", 2, 3), ok("b", 1, 9)}, 2, three, at(3)},
		"a refusal does not count":     {[]answer{{"b", 2, 9, false, 2}}, 2, three, time.Time{}},
		"answered in a higher term":    {[]answer{{"b", 2, 9, true, 3}}, 2, three, time.Time{}},
		"overtaken answers":            {[]answer{ok("b", 2, 7), ok("b", 2, 5)}, 2, three, at(7)},
		"self is no voter":             {[]answer{ok("b", 2, 7)}, 2, []raft.ServerID{"b", "c", "d"}, time.Time{}},
		"self is no voter, the third":  {[]answer{ok("d", 2, 7)}, 2, []raft.ServerID{"b", "c", "d"}, time.Time{}},
		"self is no voter, majority":   {[]answer{ok("b", 2, 7), ok("c", 2, 5)}, 2, []raft.ServerID{"b", "c", "d"}, at(5)},
		"two voters need both":         {[]answer{ok("b", 2, 7)}, 2, []raft.ServerID{"a", "b"}, at(7)},
		"two voters, none answered":    {nil, 2, []raft.ServerID{"a", "b"}, time.Time{}},
		"a voter listed twice":         {[]answer{ok("b", 2, 7)}, 2, []raft.ServerID{"a", "b", "b", "c", "d"}, time.Time{}},
		"no voters":                    {nil, 2, nil, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			var p proofs
			for _, a := range tc.answers {
				p.note(a.id, a.term, at(a.sent), &raft.AppendEntriesResponse{Term: a.inTerm, Success: a.success})
			}
			if got := p.proof(tc.term, "a", tc.voters, time.Now()); !got.Equal(tc.want) {
				t.Errorf("got %v, want %v", got.Sub(base), tc.want.Sub(base))
			}
		})
	}
	var p proofs
	if arrival := time.Now(); !arrival.Before(p.proof(1, "a", []raft.ServerID{"a"}, arrival)) {
		t.Error("a single voter does not prove the present")
	}
}

func TestAnsweredWakes(t *testing.T) {
	r := &Raft{}
	woken := r.Answered()
	if woken != r.Answered() {
		t.Error("two waiters have different channels")
	}
	r.note("b", 1, time.Now(), &raft.AppendEntriesResponse{Term: 1})
	select {
	case <-woken:
		t.Error("woken by a refusal")
	default:
	}
	if _, ok := r.Contact("b"); !ok {
		t.Error("a refusal is contact too")
	}
	r.note("b", 1, time.Now(), &raft.AppendEntriesResponse{Term: 1, Success: true})
	select {
	case <-woken:
	default:
		t.Error("not woken")
	}
	select {
	case <-r.Answered():
		t.Error("the next channel is closed already")
	default:
	}
	if _, ok := r.Contact("c"); ok {
		t.Error("contact with a node that never answered")
	}
}

func TestHigherTerm(t *testing.T) {
	r := &Raft{}
	r.raise(3)
	highest, higher := r.HigherTerm()
	r.raise(2)
	r.raise(3)
	select {
	case <-higher:
		t.Fatal("raised by no higher term")
	default:
	}
	r.raise(4)
	select {
	case <-higher:
	default:
		t.Fatal("not raised")
	}
	if now, _ := r.HigherTerm(); highest != 3 || now != 4 {
		t.Error(highest, now)
	}
}
