package testcluster

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Plan is an endless list of the steps that a nemesis takes. It depends on the seed and on whether the masters are
// processes, and on nothing else, so the seed of a failure replays the same steps.
type Plan struct {
	rand   *rand.Rand
	faults []fault
}

// Step is one choice of a plan. The fields that its fault does not need are drawn all the same, so that the list of
// choices stays equal when a fault changes.
type Step struct {
	Fault string
	// After is the pause since the previous step began. Lasts is how long the fault stays before it is healed.
	After, Lasts time.Duration
	// Who and Other are two of the first masters. A fault directed at the leader hits Who if there is no leader.
	Who, Other int
	// Worker is the position of a worker, Flip chooses between two variants of a fault, By says how far something moves.
	Worker int
	Flip   bool
	By     float64 // -1 to 1

	fault fault
}

func (s Step) String() string {
	return fmt.Sprintf("after %v: %s, who %d other %d worker %d flip %v by %.2f, for %v",
		s.After, s.Fault, s.Who, s.Other, s.Worker, s.Flip, s.By, s.Lasts)
}

// initialMasters is how many masters a plan chooses from. A master that joins later is hit only while it leads.
const initialMasters = 3

// NewPlan returns the plan of a seed.
func NewPlan(seed uint64, processes bool) *Plan {
	p := &Plan{rand: rand.New(rand.NewPCG(seed, seed))}
	for _, f := range faults {
		if f.scope == anyMasters || (f.scope == processesOnly) == processes {
			p.faults = append(p.faults, f)
		}
	}
	return p
}

// Next returns the next step. How often a fault occurs is proportional to its weight.
func (p *Plan) Next() Step {
	s := Step{
		After: time.Duration(100+p.rand.IntN(1400)) * time.Millisecond,
		Lasts: time.Duration(200+p.rand.IntN(3000)) * time.Millisecond,
		Who:   p.rand.IntN(initialMasters),
	}
	s.Other = (s.Who + 1 + p.rand.IntN(initialMasters-1)) % initialMasters
	s.Worker, s.Flip, s.By = p.rand.IntN(1<<16), p.rand.IntN(2) == 1, 2*p.rand.Float64()-1
	total := 0
	for _, f := range p.faults {
		total += f.weight
	}
	at := p.rand.IntN(total)
	for _, f := range p.faults {
		if at -= f.weight; at < 0 {
			s.Fault, s.fault = f.name, f
			break
		}
	}
	return s
}
