package transport

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// proofs notes what the voters have confirmed.
//
// Only the time of sending counts. An answer that arrives now to a message that
// left before some moment says nothing about who led after that moment.
type proofs struct {
	mu      sync.Mutex
	notes   map[raft.ServerID]note
	waiting chan struct{} // nil while nobody waits
}

type note struct {
	term     uint64
	sent     time.Time // of the newest message confirmed in term; zero: none
	answered time.Time // when any answer last came
}

// note takes up an answer to an AppendEntries of term that was sent at sent.
func (p *proofs) note(id raft.ServerID, term uint64, sent time.Time, resp *raft.AppendEntriesResponse) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.notes == nil {
		p.notes = map[raft.ServerID]note{}
	}
	n := p.notes[id]
	n.answered = now
	confirmed := resp.Success && resp.Term == term
	switch {
	case !confirmed || term < n.term:
	case term > n.term:
		n.term, n.sent = term, sent
	case sent.After(n.sent):
		n.sent = sent
	}
	p.notes[id] = n
	if confirmed && p.waiting != nil {
		close(p.waiting)
		p.waiting = nil
	}
}

// Proof returns a moment such that, for every T before it, a majority of voters
// (self counted if it is one of them) has confirmed term by answering, with
// success, an AppendEntries that was sent after T. So this node led in term at
// some moment after T, and the proof for T holds when T is before the result and
// the node's term is still the same. It is zero when there is none.
//
// Voters must be those of the latest configuration: answers of others do not
// count. With self as the only voter the result is just after the present.
func (r *Raft) Proof(term uint64, self raft.ServerID, voters []raft.ServerID) time.Time {
	return r.proofs.proof(term, self, voters, time.Now())
}

func (p *proofs) proof(term uint64, self raft.ServerID, voters []raft.ServerID, now time.Time) time.Time {
	need := len(voters)/2 + 1
	var sent []time.Time
	p.mu.Lock()
	for i, v := range voters {
		if slices.Contains(voters[:i], v) {
			continue // twice in the list is one vote
		}
		if v == self {
			need--
			continue
		}
		if n := p.notes[v]; n.term == term && !n.sent.IsZero() {
			sent = append(sent, n.sent)
		}
	}
	p.mu.Unlock()
	if len(voters) == 0 || need > len(sent) {
		return time.Time{}
	}
	if need == 0 {
		// Strictly after any moment that the caller has seen, whatever the clock's
		// resolution.
		return now.Add(time.Nanosecond)
	}
	slices.SortFunc(sent, func(a, b time.Time) int { return b.Compare(a) })
	return sent[need-1]
}

// Contact is when the node last answered an AppendEntries of this node, in whatever
// term and with whatever result.
func (r *Raft) Contact(id raft.ServerID) (lastAnswered time.Time, ok bool) {
	r.proofs.mu.Lock()
	defer r.proofs.mu.Unlock()
	n, ok := r.notes[id]
	return n.answered, ok
}

// Answered is closed at the next confirmation by any node. Ask for it before
// looking at Proof, and again after each, so that none is missed.
func (r *Raft) Answered() <-chan struct{} {
	r.proofs.mu.Lock()
	defer r.proofs.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(chan struct{})
	}
	return r.waiting
}

// terms notes the highest term that this node has heard of.
type terms struct {
	mu      sync.Mutex
	highest uint64
	higher  chan struct{} // nil while nobody waits
}

func (t *terms) raise(term uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if term <= t.highest {
		return
	}
	t.highest = term
	if t.higher != nil {
		close(t.higher)
		t.higher = nil
	}
}

// HigherTerm is the highest term heard of in a leader's heartbeats and in answers
// to this node's messages, and a channel that is closed when there is a higher one.
// It may be known here before the library acts on it. Zero: none was heard of.
func (r *Raft) HigherTerm() (highest uint64, higher <-chan struct{}) {
	r.terms.mu.Lock()
	defer r.terms.mu.Unlock()
	if r.higher == nil {
		r.higher = make(chan struct{})
	}
	return r.highest, r.higher
}
