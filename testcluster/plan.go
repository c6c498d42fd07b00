package testcluster

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Plan is what a nemesis will do: an endless list of steps that depends on the seed, and on whether the masters are
// processes, and on nothing else. What is found with a seed is found again with it.
type Plan struct {
	rand  *rand.Rand
	deeds []deed
}

// Step is one choice of a plan. What its deed does not need is drawn and ignored, so that the list of choices stays the
// same when a deed changes.
type Step struct {
	Deed string
	// After is the pause since the step before began, Lasts how long the harm stays before it is mended.
	After, Lasts time.Duration
	// Who and Other are two of the first masters. Deeds done to the leader take Who where nobody leads.
	Who, Other int
	// Worker is the position of a worker, Flip the second half of a choice, By how far something is moved.
	Worker int
	Flip   bool
	By     float64 // -1 to 1

	deed deed
}

func (s Step) String() string {
	return fmt.Sprintf("after %v: %s, who %d other %d worker %d flip %v by %.2f, for %v",
		s.After, s.Deed, s.Who, s.Other, s.Worker, s.Flip, s.By, s.Lasts)
}

// seats are the masters that a plan chooses from; one that joins later is harmed when it leads.
const seats = 3

// NewPlan makes the plan of a seed.
func NewPlan(seed uint64, processes bool) *Plan {
	p := &Plan{rand: rand.New(rand.NewPCG(seed, seed))}
	for _, d := range deeds {
		if d.where == anywhere || (d.where == processesOnly) == processes {
			p.deeds = append(p.deeds, d)
		}
	}
	return p
}

// Next is the next step. A deed comes as often as its weight says.
func (p *Plan) Next() Step {
	s := Step{
		After: time.Duration(100+p.rand.IntN(1400)) * time.Millisecond,
		Lasts: time.Duration(200+p.rand.IntN(3000)) * time.Millisecond,
		Who:   p.rand.IntN(seats),
	}
	s.Other = (s.Who + 1 + p.rand.IntN(seats-1)) % seats
	s.Worker, s.Flip, s.By = p.rand.IntN(1<<16), p.rand.IntN(2) == 1, 2*p.rand.Float64()-1
	total := 0
	for _, d := range p.deeds {
		total += d.weight
	}
	at := p.rand.IntN(total)
	for _, d := range p.deeds {
		if at -= d.weight; at < 0 {
			s.Deed, s.deed = d.name, d
			break
		}
	}
	return s
}
