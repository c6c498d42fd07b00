package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"scaleout/cluster/gossip"
	"scaleout/fsm/command"
)

const (
	promiseTimeout = 5 * time.Second
	promiseOpen    = time.Minute
	differs        = "BootstrapExpect" // begins the sentence about masters that expect different numbers
)

// hasLog says that this node has something of a cluster: entries or a snapshot.
func (n *Node) hasLog() bool { return n.raft.LastIndex() > 0 }

// form brings an empty node into a cluster: it begins one together with the others, or joins one. It ends when the
// node has a log.
//
// Beginning is the dangerous part: two sets that each believe that they are the cluster lose data later. So only the
// lowest id of a set proposes it; every member promises, durably, to follow that one proposal; only when all have
// promised is it decided, durably, and carried out by the proposer alone. The others get the configuration as
// any follower does.
func (n *Node) form(ctx context.Context) {
	f := &former{n: n}
	for ctx.Err() == nil {
		changed := n.cfg.Gossip.Changed()
		if n.hasLog() {
			if err := n.boot.settle(); err != nil {
				n.log.Warn("an old promise could not be forgotten", "err", err)
			}
			n.announce(func(m *gossip.Meta) { m.HasState = true })
			return
		}
		pause := f.step(ctx)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// former is the state of one run of form.
type former struct {
	n          *Node
	complained time.Time
}

func (f *former) step(ctx context.Context) (pause time.Duration) {
	n := f.n
	short := n.cfg.Timing.Election
	l := n.boot.current()
	switch {
	case l.Decided:
		return f.carryOut(ctx, l.Proposal)
	case l.Proposal != nil:
		// A crash between asking and deciding: nobody knows how far it got, so it is dead.
		f.kill(ctx, "this master restarted before all had promised")
		return short
	case l.Promise != nil:
		f.follow(ctx, l.Promise)
		return short
	}
	asked := n.cfg.Gossip.Asked() // before Members: what the call brings is in them then
	members := n.cfg.Gossip.Members()
	if via := withState(members, n.id); len(via) > 0 {
		f.join(ctx, via)
		return max(short, time.Second)
	}
	set, sentence := n.foundingSet(members)
	if len(set) == 1 && !asked {
		// A further master whose settings still say that it begins alone must not make a second cluster.
		sentence = "asking the masters of RetryJoin whether there is a cluster"
	}
	if sentence != "" {
		if n.boot.say("%s", sentence) {
			level := slog.LevelInfo
			if strings.HasPrefix(sentence, differs) {
				level = slog.LevelError
			}
			n.log.Log(ctx, level, "no cluster yet: "+sentence)
		}
		return short
	}
	return f.propose(ctx, set)
}

func withState(members []gossip.Member, self string) (list []gossip.Member) {
	for _, m := range members {
		if m.HasState && m.ID != self {
			list = append(list, m)
		}
	}
	return list
}

// foundingSet is the set that this node should propose, or a sentence that says what it waits for.
func (n *Node) foundingSet(members []gossip.Member) ([]founder, string) {
	want := n.cfg.BootstrapExpect
	if want == 0 {
		return nil, "waiting to hear of a cluster to join (BootstrapExpect is 0)"
	}
	var empty []gossip.Member
	for _, m := range members {
		switch {
		case m.HasState || m.Stopping || m.BootstrapExpect == 0:
		case m.BootstrapExpect != want:
			return nil, fmt.Sprintf(differs+" is %d here and %d on %s (%s): it must be the same on all masters; nothing is begun until it is",
				want, m.BootstrapExpect, m.Name, m.Address)
		default:
			empty = append(empty, m)
		}
	}
	if len(empty) < want {
		return nil, fmt.Sprintf("%d of the %d masters that BootstrapExpect asks for are here", len(empty), want)
	}
	slices.SortFunc(empty, func(a, b gossip.Member) int { return cmp.Compare(a.ID, b.ID) })
	var set []founder
	in := false
	for _, m := range empty[:want] {
		set = append(set, founder{ID: m.ID, Name: m.Name, Address: m.Address})
		in = in || m.ID == n.id
	}
	switch {
	case !in:
		return nil, fmt.Sprintf("%d other masters begin a cluster; this one joins it when it stands", want)
	case set[0].ID != n.id:
		return nil, fmt.Sprintf("%s proposes the cluster", set[0].Name)
	}
	return set, ""
}

// join asks those who have state until one takes us in; the log then comes by replication.
func (f *former) join(ctx context.Context, via []gossip.Member) {
	n := f.n
	var errs []error
	for _, m := range via {
		if n.boot.say("joining the cluster of %s", m.Name) {
			n.log.Info("a cluster exists; this master joins it", "through", m.Name, "address", m.Address)
		}
		err := n.askToJoin(ctx, m.ID)
		if err == nil {
			n.boot.say("taken in; the log is on its way")
			return
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
	}
	if time.Since(f.complained) > 10*time.Second && ctx.Err() == nil {
		f.complained = time.Now()
		n.log.Warn("this master could not join yet", "err", errors.Join(errs...))
	}
}

// follow waits for a proposal that we promised to follow to come true, or to be declared dead by its proposer: nobody
// else may, since it may have been decided.
func (f *former) follow(ctx context.Context, p *founding) {
	n := f.n
	n.boot.say("waiting for the cluster that %s begins with %s", n.nameOf(p.Proposer), p.names())
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var answer struct {
		Fate string `json:"fate"`
	}
	err := n.peers.call(limit, p.Proposer, "/peer/proposal", url.Values{"id": {p.ID}}, nil, &answer)
	if err == nil && answer.Fate == proposalDead {
		if err := n.boot.release(p.ID, p.Proposer); err != nil {
			n.log.Warn("a promise could not be taken back", "err", err)
		}
		return
	}
	if time.Since(p.Since) > promiseOpen && time.Since(f.complained) > promiseOpen && ctx.Err() == nil {
		f.complained = time.Now()
		n.log.Error("a cluster that was promised does not begin: its proposer is silent, or has decided and not carried it out. "+
			"If it never comes back, stop all masters of the set, empty their data directories and start them again",
			"proposer", n.nameOf(p.Proposer), "id", p.Proposer, "set", p.names(), "since", p.Since, "err", err)
	}
}

// propose asks the set, and carries the proposal out if all promise.
func (f *former) propose(ctx context.Context, set []founder) time.Duration {
	n := f.n
	p := &founding{ID: uuid.NewString(), Proposer: n.id, Set: set, Since: time.Now()}
	if err := n.boot.begin(p); err != nil {
		n.log.Warn("a cluster could not be proposed", "err", err)
		return f.jitter()
	}
	n.boot.say("asking %s to begin a cluster", p.names())
	n.log.Info("proposing to begin a cluster", "set", p.names(), "proposal", p.ID)
	if err := f.ask(ctx, p); err != nil {
		f.kill(ctx, err.Error())
		return f.jitter()
	}
	if err := n.boot.decide(p.ID); err != nil {
		f.kill(ctx, err.Error())
		return f.jitter()
	}
	return f.carryOut(ctx, p)
}

// jitter keeps two proposers from meeting again and again.
func (f *former) jitter() time.Duration {
	e := f.n.cfg.Timing.Election
	return e/2 + rand.N(4*e)
}

// ask returns nil when every other master of the set has promised.
func (f *former) ask(ctx context.Context, p *founding) error {
	n := f.n
	limit, cancel := context.WithTimeout(ctx, promiseTimeout)
	defer cancel()
	errs := make(chan error, len(p.Set))
	asked := 0
	for _, m := range p.Set {
		if m.ID == n.id {
			continue
		}
		asked++
		go func() {
			err := n.peers.call(limit, m.ID, "/peer/promise", nil, promiseRequest{Founding: *p, Expect: n.cfg.BootstrapExpect}, nil)
			if err != nil {
				err = fmt.Errorf("%s: %w", m.Name, err)
			}
			errs <- err
		}()
	}
	var first error
	for range asked {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel() // one refusal is enough; the others are released
		}
	}
	return first
}

// kill makes our undecided proposal dead, durably, and then hands the promises back. Who cannot be reached asks later.
func (f *former) kill(ctx context.Context, why string) {
	n := f.n
	p, err := n.boot.bury()
	if err != nil || p == nil {
		n.log.Warn("a proposal could not be given up", "err", err)
		return
	}
	n.log.Info("the proposal to begin a cluster is given up; it will be tried again", "proposal", p.ID, "err", why)
	limit, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range p.Set {
		if m.ID != n.id {
			wg.Go(func() { _ = n.peers.call(limit, m.ID, "/peer/release", nil, releaseRequest{ID: p.ID}, nil) })
		}
	}
	wg.Wait()
}

// carryOut begins the cluster. It is repeated after a crash: the set can follow nothing else.
func (f *former) carryOut(ctx context.Context, p *founding) time.Duration {
	n := f.n
	limit, cancel := context.WithTimeout(ctx, promiseTimeout)
	defer cancel()
	done := make(chan raft.Future, 1)
	n.futures.Go(func() { done <- n.raft.BootstrapCluster(p.configuration()) })
	var err error
	select {
	case future := <-done:
		err = n.await(limit, future)
	case <-limit.Done():
		err = context.Cause(limit)
	}
	if err == nil {
		n.log.Info("a cluster begins", "set", p.names())
		return 0
	}
	if time.Since(f.complained) > 10*time.Second && ctx.Err() == nil {
		f.complained = time.Now()
		n.log.Error("a decided cluster could not be begun; it will be tried again", "set", p.names(), "err", err)
	}
	return time.Second
}

// promiseRequest asks a master to follow one proposal and no other.
type promiseRequest struct {
	Founding founding `json:"founding"`
	Expect   int      `json:"expect"`
}

type releaseRequest struct {
	ID string `json:"id"`
}

// promiseTo is the other side of ask.
func (n *Node) promiseTo(r promiseRequest, caller string) error {
	f := r.Founding
	switch {
	case f.ID == "" || f.Proposer != caller:
		return fmt.Errorf("%w: a proposal of %q came from %q", command.ErrRefused, f.Proposer, caller)
	case n.hasLog():
		return fmt.Errorf("%w: %s belongs to a cluster already; join it", command.ErrRefused, n.cfg.Name)
	case r.Expect != n.cfg.BootstrapExpect:
		return fmt.Errorf("%w: BootstrapExpect is %d on %s and %d on %s; it must be the same on all masters",
			command.ErrRefused, r.Expect, n.nameOf(caller), n.cfg.BootstrapExpect, n.cfg.Name)
	case len(f.Set) != r.Expect || !f.has(n.id) || !f.has(caller):
		return fmt.Errorf("%w: the proposed set of %d does not hold %s", command.ErrRefused, len(f.Set), n.cfg.Name)
	case n.stopping.Load():
		return fmt.Errorf("%w: %s", command.ErrStopping, n.cfg.Name)
	}
	if with := withState(n.cfg.Gossip.Members(), n.id); len(with) > 0 {
		return fmt.Errorf("%w: %s hears of a cluster already, through %s", command.ErrRefused, n.cfg.Name, with[0].Name)
	}
	f.Since = time.Now()
	if err := n.boot.promise(&f); err != nil {
		return err
	}
	n.log.Info("promised to begin a cluster", "proposer", n.nameOf(caller), "set", f.names())
	return nil
}
