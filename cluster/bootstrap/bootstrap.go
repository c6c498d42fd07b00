package bootstrap

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
	"scaleout/cluster/peer"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/store"
)

const (
	promiseTimeout = 5 * time.Second
	promiseOpen    = time.Minute
	expectDiffers  = "BootstrapExpect" // begins the sentence about masters that expect different numbers
)

// Config of a Bootstrapper. Every field is required.
type Config struct {
	Dir   *store.Dir
	Peers *peer.Client
	// Gossip is the masters that this one hears of.
	Gossip Gossip

	ID   string // of this master
	Name string // of this master, for people
	// Expect is how many empty masters begin a cluster together; 0 means that this one only joins.
	Expect int
	// Election is Raft's election time-out: how often the state of things is looked at.
	Election time.Duration

	// HasLog reports whether this master has anything of a cluster: entries or a snapshot.
	HasLog func() bool
	// Begin begins a cluster of the given members with an empty log.
	Begin func(ctx context.Context, members raft.Configuration) error
	// Join asks the cluster of the master via to take this one in.
	Join func(ctx context.Context, via string) error
	// NameOf is a master's name where it is known, else its id.
	NameOf func(id string) string
	// Stopping reports whether this master is about to stop.
	Stopping func() bool
	Logger   *slog.Logger
}

// Gossip is what a Bootstrapper needs of package gossip.
type Gossip interface {
	// Changed is closed at the next change of Members.
	Changed() <-chan struct{}
	// Asked reports whether the masters of RetryJoin have been asked.
	Asked() bool
	Members() []gossip.Member
}

// Bootstrapper brings an empty master into a cluster.
type Bootstrapper struct {
	cfg      Config
	log      *slog.Logger
	promises *promiseStore
	reported time.Time // when Run last logged something that keeps being so

	mu      sync.Mutex
	waiting string
}

// New makes a Bootstrapper from what this master has promised.
func New(cfg Config) (*Bootstrapper, error) {
	promises, err := openPromises(cfg.Dir)
	if err != nil {
		return nil, err
	}
	return &Bootstrapper{cfg: cfg, log: cfg.Logger, promises: promises}, nil
}

// Mount registers the calls that other masters make while a cluster begins.
func (b *Bootstrapper) Mount(s *peer.Server) {
	s.Get("/peer/proposal", func(_ context.Context, c peer.Call) (any, error) {
		return outcomeAnswer{b.promises.outcome(c.Query.Get("id"))}, nil
	})
	peer.Post(s, "/peer/promise", func(ctx context.Context, c peer.Call, in promiseRequest) (any, error) {
		return nil, b.promiseTo(ctx, in, c.Caller)
	})
	peer.Post(s, "/peer/release", func(_ context.Context, c peer.Call, in releaseRequest) (any, error) {
		return nil, b.promises.release(in.ID, c.Caller)
	})
}

// Waiting says in a sentence what this master waits for, or "" if it waits for nothing.
func (b *Bootstrapper) Waiting() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

// setWaiting reports whether the sentence is a new one.
func (b *Bootstrapper) setWaiting(format string, a ...any) (changed bool) {
	s := fmt.Sprintf(format, a...)
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = b.waiting != s
	b.waiting = s
	return changed
}

// Run ends when this master has a log, and returns true; or when ctx ends, and returns false.
func (b *Bootstrapper) Run(ctx context.Context) bool {
	for ctx.Err() == nil {
		changed := b.cfg.Gossip.Changed()
		if b.cfg.HasLog() {
			b.setWaiting("")
			if err := b.promises.settle(); err != nil {
				b.log.LogAttrs(ctx, slog.LevelWarn, "an old promise could not be forgotten", slog.Any(logkey.Err, err))
			}
			return true
		}
		pause := b.step(ctx)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
	return false
}

// step does the one thing that is next and returns the pause until the step after it.
func (b *Bootstrapper) step(ctx context.Context) (pause time.Duration) {
	short := b.cfg.Election
	p := b.promises.current()
	switch {
	case p.Decided:
		return b.carryOut(ctx, p.Proposal)
	case p.Proposal != nil:
		// This master crashed between asking and deciding. It does not know how far it got, so the proposal is dead.
		b.abandon(ctx, "this master restarted before all had promised")
		return short
	case p.Promise != nil:
		b.follow(ctx, p.Promise)
		return short
	}
	asked := b.cfg.Gossip.Asked() // before Members: what the call brings is in them then
	members := b.cfg.Gossip.Members()
	if via := withState(members, b.cfg.ID); len(via) > 0 {
		b.join(ctx, via)
		return max(short, time.Second)
	}
	set, sentence := b.choose(members)
	if len(set) == 1 && !asked {
		// A further master whose settings still say that it begins alone must not make a second cluster.
		sentence = "asking the masters of RetryJoin whether there is a cluster"
	}
	if sentence != "" {
		if b.setWaiting("%s", sentence) {
			level := slog.LevelInfo
			if strings.HasPrefix(sentence, expectDiffers) {
				level = slog.LevelError
			}
			b.log.LogAttrs(ctx, level, "no cluster yet", slog.String(logkey.Detail, sentence))
		}
		return short
	}
	return b.propose(ctx, set)
}

// withState returns the members other than self that belong to a cluster.
func withState(members []gossip.Member, self string) (list []gossip.Member) {
	for _, m := range members {
		if m.HasState && m.ID != self {
			list = append(list, m)
		}
	}
	return list
}

// choose returns the set that this master should propose, or a sentence that says what it waits for.
func (b *Bootstrapper) choose(members []gossip.Member) ([]member, string) {
	want := b.cfg.Expect
	if want == 0 {
		return nil, "waiting to hear of a cluster to join (BootstrapExpect is 0)"
	}
	var empty []gossip.Member
	for _, m := range members {
		switch {
		case m.HasState || m.Stopping || m.BootstrapExpect == 0:
		case m.BootstrapExpect != want:
			return nil, fmt.Sprintf(expectDiffers+" is %d here and %d on %s (%s): it must be the same on all masters; "+
				"nothing is begun until it is",
				want, m.BootstrapExpect, m.Name, m.Address)
		default:
			empty = append(empty, m)
		}
	}
	if len(empty) < want {
		return nil, fmt.Sprintf("%d of the %d masters that BootstrapExpect asks for are here", len(empty), want)
	}
	slices.SortFunc(empty, func(a, b gossip.Member) int { return cmp.Compare(a.ID, b.ID) })
	var set []member
	in := false
	for _, m := range empty[:want] {
		set = append(set, member{ID: m.ID, Name: m.Name, Address: m.Address})
		in = in || m.ID == b.cfg.ID
	}
	switch {
	case !in:
		return nil, fmt.Sprintf("%d other masters begin a cluster; this one joins it when it stands", want)
	case set[0].ID != b.cfg.ID:
		return nil, fmt.Sprintf("%s proposes the cluster", set[0].Name)
	}
	return set, ""
}

// join asks the masters that have state, one after the other, until one takes this master in. The log then comes by
// replication.
func (b *Bootstrapper) join(ctx context.Context, via []gossip.Member) {
	var errs []error
	for _, m := range via {
		if b.setWaiting("joining the cluster of %s", m.Name) {
			b.log.LogAttrs(ctx, slog.LevelInfo, "a cluster exists; this master joins it", slog.String(logkey.Through, m.Name),
				slog.String(logkey.Address, m.Address))
		}
		err := b.cfg.Join(ctx, m.ID)
		if err == nil {
			b.setWaiting("taken in; the log is on its way")
			return
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
	}
	if time.Since(b.reported) > 10*time.Second && ctx.Err() == nil {
		b.reported = time.Now()
		b.log.LogAttrs(ctx, slog.LevelWarn, "this master could not join yet", slog.Any(logkey.Err, errors.Join(errs...)))
	}
}

// follow waits for the log of the cluster that this master promised to begin, or for the proposal to be declared dead
// by its proposer. Nobody else may declare it dead, because it may have been decided. The promise is kept until there
// is a log: an empty master without one could begin another cluster together with others.
func (b *Bootstrapper) follow(ctx context.Context, p *proposal) {
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var answer outcomeAnswer
	err := b.cfg.Peers.Call(limit, p.Proposer, "/peer/proposal", url.Values{"id": {p.ID}}, nil, &answer)
	switch {
	case err == nil && answer.Outcome == outcomeDead:
		if err := b.promises.release(p.ID, p.Proposer); err != nil {
			b.log.LogAttrs(ctx, slog.LevelWarn, "a promise could not be given back", slog.Any(logkey.Err, err))
		}
		return
	case err == nil && answer.Outcome == outcomeBegun:
		b.setWaiting("the cluster that %s began exists; its log is on the way", b.cfg.NameOf(p.Proposer))
		if time.Since(p.Since) < 10*b.cfg.Election {
			return
		}
		// It may have moved, or been removed, before it had an entry.
		if err := b.cfg.Join(ctx, p.Proposer); err != nil && time.Since(b.reported) > promiseOpen && ctx.Err() == nil {
			b.reported = time.Now()
			b.log.LogAttrs(ctx, slog.LevelWarn, "this master is not taken in yet by the cluster that it promised to begin",
				slog.Any(logkey.Err, err))
		}
		return
	}
	b.setWaiting("waiting for the cluster that %s begins with %s", b.cfg.NameOf(p.Proposer), p.names())
	if time.Since(p.Since) > promiseOpen && time.Since(b.reported) > promiseOpen && ctx.Err() == nil {
		b.reported = time.Now()
		cure := "stop all masters of the set, empty their data directories and start them again"
		if with := withState(b.cfg.Gossip.Members(), b.cfg.ID); len(with) > 0 {
			cure = "empty the data directory of this master alone and start it again: it joins the cluster of " + with[0].Name
		}
		b.log.LogAttrs(ctx, slog.LevelError,
			"a cluster that was promised does not begin: its proposer is silent, or has decided and not carried "+
				"it out; the cure is for the case that it never comes back", slog.String(logkey.Cure, cure),
			slog.String(logkey.Proposer, b.cfg.NameOf(p.Proposer)), slog.String(logkey.MasterID, p.Proposer),
			slog.String(logkey.Set, p.names()), slog.Time(logkey.Since, p.Since), slog.Any(logkey.Err, err))
	}
}

// Promised reports whether this master has promised to begin a cluster and has had no entry of its log yet.
func (b *Bootstrapper) Promised() bool { return b.promises.current().Promise != nil }

// propose asks every master of the set to promise, and carries the proposal out if all do.
func (b *Bootstrapper) propose(ctx context.Context, set []member) time.Duration {
	p := &proposal{ID: uuid.NewString(), Proposer: b.cfg.ID, Set: set, Since: time.Now()}
	if err := b.promises.begin(p); err != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "a cluster could not be proposed", slog.Any(logkey.Err, err))
		return b.jitter()
	}
	b.setWaiting("asking %s to begin a cluster", p.names())
	b.log.LogAttrs(ctx, slog.LevelInfo, "proposing to begin a cluster", slog.String(logkey.Set, p.names()),
		slog.String(logkey.Proposal, p.ID))
	if err := b.ask(ctx, p); err != nil {
		b.abandon(ctx, err.Error())
		return b.jitter()
	}
	if err := b.promises.decide(p.ID); err != nil {
		b.abandon(ctx, err.Error())
		return b.jitter()
	}
	return b.carryOut(ctx, p)
}

// jitter is a random pause, so that two proposers do not refuse each other again and again.
func (b *Bootstrapper) jitter() time.Duration {
	e := b.cfg.Election
	return e/2 + rand.N(4*e)
}

// ask returns nil when every other master of the set has promised.
func (b *Bootstrapper) ask(ctx context.Context, p *proposal) error {
	limit, cancel := context.WithTimeout(ctx, promiseTimeout)
	defer cancel()
	errs := make(chan error, len(p.Set))
	asked := 0
	for _, m := range p.Set {
		if m.ID == b.cfg.ID {
			continue
		}
		asked++
		go func() {
			err := b.cfg.Peers.Call(limit, m.ID, "/peer/promise", nil, promiseRequest{Proposal: *p, Expect: b.cfg.Expect}, nil)
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

// abandon makes this master's undecided proposal dead, durably, and then hands the promises back. A master that cannot
// be reached now asks later.
func (b *Bootstrapper) abandon(ctx context.Context, why string) {
	p, err := b.promises.abandon()
	if err != nil || p == nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "a proposal could not be given up", slog.Any(logkey.Err, err))
		return
	}
	b.log.LogAttrs(ctx, slog.LevelInfo, "the proposal to begin a cluster is given up; it will be tried again",
		slog.String(logkey.Proposal, p.ID), slog.String(logkey.Err, why))
	limit, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range p.Set {
		if m.ID != b.cfg.ID {
			wg.Go(func() { _ = b.cfg.Peers.Call(limit, m.ID, "/peer/release", nil, releaseRequest{ID: p.ID}, nil) })
		}
	}
	wg.Wait()
}

// carryOut begins the cluster. It is repeated after a crash, because the set can follow nothing else.
func (b *Bootstrapper) carryOut(ctx context.Context, p *proposal) time.Duration {
	limit, cancel := context.WithTimeout(ctx, promiseTimeout)
	defer cancel()
	err := b.cfg.Begin(limit, p.configuration())
	if err == nil {
		b.log.LogAttrs(ctx, slog.LevelInfo, "a cluster begins", slog.String(logkey.Set, p.names()))
		return 0
	}
	if time.Since(b.reported) > 10*time.Second && ctx.Err() == nil {
		b.reported = time.Now()
		b.log.LogAttrs(ctx, slog.LevelError, "a decided cluster could not be begun; it will be tried again",
			slog.String(logkey.Set, p.names()), slog.Any(logkey.Err, err))
	}
	return time.Second
}

// promiseRequest asks a master to follow one proposal and no other.
type promiseRequest struct {
	Proposal proposal `json:"proposal"`
	Expect   int      `json:"expect"`
}

// outcomeAnswer says what became of a proposal.
type outcomeAnswer struct {
	Outcome string `json:"outcome"`
}

// releaseRequest hands back the promise to follow a proposal.
type releaseRequest struct {
	ID string `json:"id"`
}

// promiseTo answers the request of another master to follow its proposal.
func (b *Bootstrapper) promiseTo(ctx context.Context, r promiseRequest, caller string) error {
	p := r.Proposal
	switch {
	case p.ID == "" || p.Proposer != caller:
		return fmt.Errorf("%w: a proposal of %q came from %q", command.ErrRefused, p.Proposer, caller)
	case b.cfg.HasLog():
		return fmt.Errorf("%w: %s belongs to a cluster already; join it", command.ErrRefused, b.cfg.Name)
	case r.Expect != b.cfg.Expect:
		return fmt.Errorf("%w: BootstrapExpect is %d on %s and %d on %s; it must be the same on all masters",
			command.ErrRefused, r.Expect, b.cfg.NameOf(caller), b.cfg.Expect, b.cfg.Name)
	case len(p.Set) != r.Expect || !p.has(b.cfg.ID) || !p.has(caller):
		return fmt.Errorf("%w: the proposed set of %d does not hold %s", command.ErrRefused, len(p.Set), b.cfg.Name)
	case b.cfg.Stopping():
		return fmt.Errorf("%w: %s", command.ErrStopping, b.cfg.Name)
	}
	if with := withState(b.cfg.Gossip.Members(), b.cfg.ID); len(with) > 0 {
		return fmt.Errorf("%w: %s hears of a cluster already, through %s", command.ErrRefused, b.cfg.Name, with[0].Name)
	}
	p.Since = time.Now()
	if err := b.promises.promise(&p); err != nil {
		return err
	}
	b.log.LogAttrs(ctx, slog.LevelInfo, "promised to begin a cluster",
		slog.String(logkey.Proposer, b.cfg.NameOf(caller)), slog.String(logkey.Set, p.names()))
	return nil
}
