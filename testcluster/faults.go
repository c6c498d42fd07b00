package testcluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scaleout/httpapi/wire"
)

// fault is one way to break a cluster.
type fault struct {
	name   string
	weight int
	scope  scope
	// leader directs the fault at the master that leads when the fault begins.
	leader bool
	// claims names what no other fault may touch until this one is healed.
	claims func(n *Nemesis, s Step) []string
	// inject breaks something. It describes what it broke and returns the function that heals it.
	inject func(n *Nemesis, s Step) (what string, heal func())
}

// scope tells which kind of masters a fault is for.
type scope int

const (
	anyMasters scope = iota
	inProcessOnly
	processesOnly
)

// The claims of faults. A cut link needs no claim: healing takes back one cut and leaves the others.
func claimMaster(n *Nemesis, s Step) []string { return []string{n.c.Name(s.Who)} }
func claimWorker(n *Nemesis, s Step) []string { return []string{n.worker(s).Name()} }
func claimRelay(n *Nemesis, s Step) []string {
	return []string{"the connections of " + n.worker(s).Name()}
}
func claimClock(n *Nemesis, s Step) []string { return []string{"the clock of " + n.c.Name(s.Who)} }
func claimSlowLink(n *Nemesis, s Step) []string {
	return []string{fmt.Sprintf("slow %d→%d", s.Who, s.Other)}
}
func claimNothing(*Nemesis, Step) []string    { return nil }
func claimMembership(*Nemesis, Step) []string { return []string{"members"} }
func claimMembershipAndMaster(n *Nemesis, s Step) []string {
	return append(claimMembership(n, s), claimMaster(n, s)...)
}

// faults lists every fault. Its order and the weights decide which steps a seed stands for.
var faults = []fault{
	{name: "kill", weight: 3, claims: claimMaster, inject: kill},
	{name: "kill leader", weight: 3, leader: true, claims: claimMaster, inject: kill},
	{name: "stop", weight: 3, claims: claimMaster, inject: stop},
	{name: "stop leader", weight: 2, leader: true, claims: claimMaster, inject: stop},
	{name: "transfer", weight: 3, claims: claimNothing, inject: transfer},

	{name: "pause", weight: 5, scope: processesOnly, claims: claimMaster, inject: pause},
	{name: "pause leader", weight: 6, scope: processesOnly, leader: true, claims: claimMaster, inject: pause},

	{name: "isolate", weight: 2, scope: inProcessOnly, claims: claimNothing, inject: isolate},
	{name: "isolate leader", weight: 3, scope: inProcessOnly, leader: true, claims: claimNothing, inject: isolate},
	{name: "cut", weight: 3, scope: inProcessOnly, claims: claimNothing, inject: cut},
	{name: "cut one way", weight: 3, scope: inProcessOnly, claims: claimNothing, inject: cutOneWay},
	{name: "slow", weight: 3, scope: inProcessOnly, claims: claimSlowLink, inject: slow},
	{name: "clock jump", weight: 3, scope: inProcessOnly, claims: claimClock, inject: clockJump},
	{name: "disk full", weight: 3, scope: inProcessOnly, claims: claimMaster, inject: fill},
	{name: "disk stall", weight: 3, scope: inProcessOnly, claims: claimMaster, inject: stall},

	{name: "end worker", weight: 3, claims: claimWorker, inject: endWorker},
	{name: "kill worker and guards", weight: 2, claims: claimWorker, inject: killWorkerAndGuards},
	{name: "pause worker", weight: 3, claims: claimWorker, inject: pauseWorker},
	{name: "cut worker off", weight: 2, claims: claimRelay, inject: cutWorkerOff},
	{name: "cut worker off from leader", weight: 2, leader: true, claims: claimRelay, inject: cutWorkerOffFromLeader},

	{name: "grow and shrink", weight: 2, claims: claimMembership, inject: grow},
	{name: "lose a master's disk", weight: 2, claims: claimMembershipAndMaster, inject: loseDisk},

	{name: quiescent, weight: 4, claims: claimNothing, inject: injectNothing},
}

// quiescent is the step during which no fault is active for a while.
const quiescent = "quiescent"

func injectNothing(*Nemesis, Step) (string, func()) { return "", func() {} }

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
	_, err := n.c.Admin().Transfer(ctx, n.c.Name(s.Who)) // the leader may refuse it
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
		n.c.FailEntryWrites(s.Who)
		what += ", except for a term or a vote"
	} else {
		n.c.FailWrites(s.Who)
	}
	return what, func() { n.c.node(s.Who).heal(); n.start(s.Who) }
}

func stall(n *Nemesis, s Step) (string, func()) {
	n.c.Stall(s.Who)
	return n.c.Name(s.Who), func() { n.c.unstall(s.Who); n.start(s.Who) }
}

// endWorker ends a worker process and leaves its packages running: with SIGKILL or, if Flip is set, in good order.
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
	heal := w.cutOff(s.Flip)
	if s.Flip {
		return w.Name() + ", one way: its requests arrive, the answers do not", heal
	}
	return w.Name(), heal
}

func cutWorkerOffFromLeader(n *Nemesis, s Step) (string, func()) {
	w := n.worker(s)
	return w.Name() + "–" + n.c.Name(s.Who), w.cutOff(s.Flip, n.c.Address(s.Who))
}

// grow adds one more master and later removes it: while it runs or, if Flip is set, after it was killed.
func grow(n *Nemesis, s Step) (string, func()) {
	name := fmt.Sprintf("master-%d", initialMasters+1)
	release := n.claim(name)
	if n.newcomer == 0 {
		n.newcomer = n.c.Add()
	} else {
		n.c.Wipe(n.newcomer)
		n.c.node(n.newcomer).gone.Store(false)
		n.start(n.newcomer)
	}
	release() // from now on faults may hit it like any other master
	what := name
	if !n.eventually(20*time.Second, func() error { return n.isVoter(name) }) {
		what += ", not yet a voter"
	}
	return what, func() {
		defer n.claim(name)()
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

// loseDisk replaces a machine: another one takes its name and place, with an empty data directory.
func loseDisk(n *Nemesis, s Step) (string, func()) {
	name := n.c.Name(s.Who)
	n.must("the members before", func() error { return n.isVoter(name) })
	before, _ := n.member(name)
	n.c.Kill(s.Who)
	n.c.Wipe(s.Who)
	return name, func() {
		n.start(s.Who)
		n.must(name+" is a voter again, as a new node", func() error {
			m, err := n.member(name)
			switch {
			case err != nil:
				return err
			case m == nil || before != nil && m.ID == before.ID:
				return errors.New("the new node is no member yet")
			}
			return n.isVoter(name)
		})
	}
}

// member returns a master as the leader sees it, and nil if it is no member.
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
		err = fmt.Errorf("%s is not a voter: %+v", name, m)
	}
	return err
}
