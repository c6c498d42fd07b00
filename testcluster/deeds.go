package testcluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scaleout/httpapi/wire"
)

// deed is one way to do harm.
type deed struct {
	name   string
	weight int
	where  where
	// leader: it is done to who leads at that moment.
	leader bool
	// claims are what no other deed may touch until this one is mended.
	claims func(n *Nemesis, s Step) []string
	// do breaks something, says what, and returns how to mend it.
	do func(n *Nemesis, s Step) (what string, mend func())
}

type where int

const (
	anywhere where = iota
	inProcessOnly
	processesOnly
)

// What deeds claim. Links need no claim: each cut is taken back by itself.
func aMaster(n *Nemesis, s Step) []string  { return []string{n.c.Name(s.Who)} }
func aWorker(n *Nemesis, s Step) []string  { return []string{n.worker(s).Name()} }
func itsLine(n *Nemesis, s Step) []string  { return []string{"the line of " + n.worker(s).Name()} }
func itsClock(n *Nemesis, s Step) []string { return []string{"the clock of " + n.c.Name(s.Who)} }
func aSlowLink(n *Nemesis, s Step) []string {
	return []string{fmt.Sprintf("slow %d→%d", s.Who, s.Other)}
}
func nothing(*Nemesis, Step) []string { return nil }
func members(*Nemesis, Step) []string { return []string{"members"} }
func membersAndOne(n *Nemesis, s Step) []string {
	return append(members(n, s), aMaster(n, s)...)
}

// deeds are all there are. Their order and weights are part of what a seed means.
var deeds = []deed{
	{name: "kill", weight: 3, claims: aMaster, do: kill},
	{name: "kill leader", weight: 3, leader: true, claims: aMaster, do: kill},
	{name: "stop", weight: 3, claims: aMaster, do: stop},
	{name: "stop leader", weight: 2, leader: true, claims: aMaster, do: stop},
	{name: "transfer", weight: 3, claims: nothing, do: transfer},

	{name: "pause", weight: 5, where: processesOnly, claims: aMaster, do: pause},
	{name: "pause leader", weight: 6, where: processesOnly, leader: true, claims: aMaster, do: pause},

	{name: "isolate", weight: 2, where: inProcessOnly, claims: nothing, do: isolate},
	{name: "isolate leader", weight: 3, where: inProcessOnly, leader: true, claims: nothing, do: isolate},
	{name: "cut", weight: 3, where: inProcessOnly, claims: nothing, do: cut},
	{name: "cut one way", weight: 3, where: inProcessOnly, claims: nothing, do: cutOneWay},
	{name: "slow", weight: 3, where: inProcessOnly, claims: aSlowLink, do: slow},
	{name: "clock jump", weight: 3, where: inProcessOnly, claims: itsClock, do: clockJump},
	{name: "disk full", weight: 3, where: inProcessOnly, claims: aMaster, do: fill},
	{name: "disk stall", weight: 3, where: inProcessOnly, claims: aMaster, do: stall},

	{name: "end worker", weight: 3, claims: aWorker, do: endWorker},
	{name: "kill worker and guards", weight: 2, claims: aWorker, do: killWorkerAndGuards},
	{name: "pause worker", weight: 3, claims: aWorker, do: pauseWorker},
	{name: "cut worker off", weight: 2, claims: itsLine, do: cutWorkerOff},
	{name: "cut worker off from leader", weight: 2, leader: true, claims: itsLine, do: cutWorkerOffFromLeader},

	{name: "grow and shrink", weight: 2, claims: members, do: grow},
	{name: "lose a master's disk", weight: 2, claims: membersAndOne, do: loseDisk},

	{name: rest, weight: 4, claims: nothing, do: func(*Nemesis, Step) (string, func()) { return "", func() {} }},
}

// rest is the step at which everything is whole for a while.
const rest = "rest"

func kill(n *Nemesis, s Step) (string, func()) {
	n.c.Kill(s.Who)
	return n.c.Name(s.Who), func() { n.start(s.Who) }
}

func stop(n *Nemesis, s Step) (string, func()) {
	n.c.Stop(s.Who)
	return n.c.Name(s.Who), func() { n.start(s.Who) }
}

func transfer(n *Nemesis, s Step) (string, func()) {
	ctx, cancel := context.WithTimeout(n.c.tb.Context(), 5*time.Second)
	defer cancel()
	_, err := n.c.Admin().Transfer(ctx, n.c.Name(s.Who)) // it may be refused
	return fmt.Sprintf("to %s: %v", n.c.Name(s.Who), err), func() {}
}

func pause(n *Nemesis, s Step) (string, func()) {
	n.c.Pause(s.Who)
	return n.c.Name(s.Who), func() { n.c.Resume(s.Who) }
}

func isolate(n *Nemesis, s Step) (string, func()) { return n.c.Name(s.Who), n.c.Isolate(s.Who) }

func cut(n *Nemesis, s Step) (string, func()) {
	return n.c.Name(s.Who) + "–" + n.c.Name(s.Other), n.c.Cut(s.Who, s.Other)
}

func cutOneWay(n *Nemesis, s Step) (string, func()) {
	return n.c.Name(s.Who) + "→" + n.c.Name(s.Other), n.c.CutOneWay(s.Who, s.Other)
}

func slow(n *Nemesis, s Step) (string, func()) {
	d := time.Duration(55+50*s.By) * time.Millisecond
	n.c.Slow(s.Who, s.Other, d)
	return fmt.Sprintf("%s→%s by %v", n.c.Name(s.Who), n.c.Name(s.Other), d), func() { n.c.Slow(s.Who, s.Other, 0) }
}

func clockJump(n *Nemesis, s Step) (string, func()) {
	ahead := time.Duration(s.By * float64(10*time.Minute)).Round(time.Second)
	n.clock(s.Who, ahead)
	return fmt.Sprintf("%s by %v", n.c.Name(s.Who), ahead), func() { n.clock(s.Who, 0) }
}

func fill(n *Nemesis, s Step) (string, func()) {
	what := n.c.Name(s.Who)
	if s.Flip {
		n.c.Tighten(s.Who)
		what += ", but for a term"
	} else {
		n.c.Fill(s.Who)
	}
	return what, func() { n.c.node(s.Who).heal(); n.start(s.Who) }
}

func stall(n *Nemesis, s Step) (string, func()) {
	n.c.Stall(s.Who)
	return n.c.Name(s.Who), func() { n.c.unstall(s.Who); n.start(s.Who) }
}

// endWorker leaves its packages alone: with SIGKILL, or, Flip, in good order.
func endWorker(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	if s.Flip {
		w.Leave()
		return w.Name() + ", in good order", w.Restart
	}
	w.Kill()
	return w.Name(), w.Restart
}

func killWorkerAndGuards(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	w.Kill()
	killed, err := w.KillGuards()
	if err != nil {
		n.c.tb.Errorf("guards of %s: %v", w.Name(), err)
	}
	return fmt.Sprintf("%s and %d guards", w.Name(), killed), w.Restart
}

func pauseWorker(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	w.Pause()
	return w.Name(), w.Resume
}

func cutWorkerOff(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	mend := w.CutOff(s.Flip)
	if s.Flip {
		return w.Name() + ", which still speaks and hears nothing", mend
	}
	return w.Name(), mend
}

func cutWorkerOffFromLeader(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	return w.Name() + "–" + n.c.Name(s.Who), w.CutOff(s.Flip, n.c.Address(s.Who))
}

// grow takes one more master in and later out again: alive, or, Flip, after its death.
func grow(n *Nemesis, s Step) (string, func()) {
	name := fmt.Sprintf("master-%d", seats+1)
	give := n.seize(name)
	if n.newcomer == 0 {
		n.newcomer = n.c.Add()
	} else {
		n.c.Wipe(n.newcomer)
		n.c.node(n.newcomer).gone.Store(false)
		n.start(n.newcomer)
	}
	give() // from now on it may be harmed as any other
	what := name
	if !n.eventually(20*time.Second, func() error { return n.isVoter(name) }) {
		what += ", no voter yet"
	}
	return what, func() {
		defer n.seize(name)()
		if s.Flip {
			n.c.Kill(n.newcomer)
		}
		n.must("removal of "+name, func() error {
			ctx, cancel := context.WithTimeout(n.c.tb.Context(), 10*time.Second)
			defer cancel()
			err := n.c.Admin().RemoveMember(ctx, name, false)
			if m, e := n.member(name); e == nil && m == nil {
				return nil
			}
			return err
		})
		n.c.Stop(n.newcomer)
		n.c.Forget(n.newcomer)
	}
}

// loseDisk is the end of a machine: another one takes its name and place, with an empty directory.
func loseDisk(n *Nemesis, s Step) (string, func()) {
	name := n.c.Name(s.Who)
	n.must("the members before", func() error { return n.isVoter(name) })
	before, _ := n.member(name)
	n.c.Kill(s.Who)
	n.c.Wipe(s.Who)
	return name, func() {
		n.start(s.Who)
		n.must(name+" is a voter again, as a new one", func() error {
			m, err := n.member(name)
			switch {
			case err != nil:
				return err
			case m == nil || before != nil && m.ID == before.ID:
				return errors.New("the new one is no member")
			}
			return n.isVoter(name)
		})
	}
}

// member is a master as the leader sees it; nil: it is none.
func (n *Nemesis) member(name string) (*wire.Member, error) {
	ctx, cancel := context.WithTimeout(n.c.tb.Context(), 5*time.Second)
	defer cancel()
	s, err := n.c.Admin().Cluster(ctx)
	if err != nil {
		return nil, err
	}
	for i := range s.Members {
		if m := &s.Members[i]; m.Name == name && (m.Role == wire.RoleVoter || m.Role == wire.RoleNonvoter) {
			return m, nil
		}
	}
	return nil, nil
}

func (n *Nemesis) isVoter(name string) error {
	m, err := n.member(name)
	if err == nil && (m == nil || m.Role != wire.RoleVoter) {
		err = fmt.Errorf("%s is no voter: %+v", name, m)
	}
	return err
}
