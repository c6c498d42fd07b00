package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// Read is the gate of a linearizable read: it returns nil when this node, ready in some term, led for certain at a
// moment after Read was called, and still leads in that term. What the state machine holds after that is current.
// Waiting reads share one proof.
func (n *Node) Read(ctx context.Context) error {
	arrival := time.Now()
	r, err := n.readyReign()
	if err != nil {
		return err
	}
	if err := r.prover.wait(ctx, arrival); err != nil {
		return err
	}
	if n.reign.Load() != r || n.raft.CurrentTerm() != r.term {
		return command.ErrNotLeader
	}
	return nil
}

// Proved is the newest moment at which this node led for certain in its present generation; zero when it does not lead.
func (n *Node) Proved() time.Time {
	if r := n.reign.Load(); r != nil {
		return r.prover.newest()
	}
	return time.Time{}
}

// Doubt is closed when this node is not, or no longer, a leader that proved its leadership within two election
// time-outs. Whoever holds a call open must then end it.
func (n *Node) Doubt() <-chan struct{} {
	if r := n.reign.Load(); r != nil {
		return r.prover.doubtful()
	}
	return closedChan
}

// Hold returns a context for a call that is held open on the leader: it ends with command.ErrDoubt when Doubt does.
func (n *Node) Hold(ctx context.Context) (context.Context, context.CancelFunc) {
	doubt := n.Doubt()
	held, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-doubt:
			cancel(command.ErrDoubt)
		case <-held.Done():
		}
	}()
	return held, func() { cancel(context.Canceled) }
}

var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// prover keeps the newest proof of one generation's leadership. The proof comes from the transport, which knows when
// each confirmed message was sent; Raft's VerifyLeader only makes it send heartbeats at once, since it counts answers
// of non-voters and of heartbeats sent before.
type prover struct {
	proof    func() time.Time       // majority of the latest voters, this term
	answered func() <-chan struct{} // closed at the next confirmation
	verify   func() raft.Future
	futures  *watchers
	limit    time.Duration // without a proof for so long, leadership is in doubt
	pause    time.Duration // between two triggers that brought nothing
	kick     chan struct{}

	mu      sync.Mutex
	proven  time.Time
	since   time.Time
	doubt   chan struct{}
	closed  bool
	waiters []reader
}

// reader is a waiting read.
type reader struct {
	arrival time.Time
	done    chan error
}

func newProver(limit time.Duration, futures *watchers) *prover {
	return &prover{futures: futures, limit: limit, pause: limit / 40, kick: make(chan struct{}, 1), since: time.Now(), doubt: make(chan struct{})}
}

// wait returns nil once a proof for a moment after arrival is there.
func (p *prover) wait(ctx context.Context, arrival time.Time) error {
	r := reader{arrival: arrival, done: make(chan error, 1)}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return command.ErrNotLeader
	case p.proven.After(arrival):
		p.mu.Unlock()
		return nil
	}
	p.waiters = append(p.waiters, r)
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no majority confirmed the leadership: %w", context.Cause(ctx))
	}
}

// note takes a proof for the moment t.
func (p *prover) note(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !t.After(p.proven) {
		return
	}
	p.proven = t
	keep := p.waiters[:0]
	for _, r := range p.waiters {
		if t.After(r.arrival) {
			r.done <- nil
			continue
		}
		keep = append(keep, r)
	}
	clear(p.waiters[len(keep):])
	p.waiters = keep
	if p.inDoubt() && time.Since(t) <= p.limit {
		p.doubt = make(chan struct{})
	}
}

func (p *prover) inDoubt() bool {
	select {
	case <-p.doubt:
		return true
	default:
		return false
	}
}

// look closes the doubt channel when it is time and says whether reads wait.
func (p *prover) look() (waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := p.proven
	if p.since.After(newest) {
		newest = p.since
	}
	if time.Since(newest) > p.limit && !p.inDoubt() {
		close(p.doubt)
		for _, r := range p.waiters {
			r.done <- command.ErrDoubt
		}
		p.waiters = nil
	}
	return len(p.waiters) > 0
}

// run gathers proofs until ctx ends, then ends every waiting read.
func (p *prover) run(ctx context.Context) {
	defer p.close()
	tick := time.NewTicker(p.limit / 8)
	defer tick.Stop()
	var (
		triggered time.Time
		running   chan struct{}    // closed when the running trigger has ended; nil without one
		rested    <-chan time.Time // fires when the next trigger may begin; nil when it may now
	)
	for {
		answered := p.answered()
		p.note(p.proof())
		if p.look() && running == nil && rested == nil {
			done := make(chan struct{})
			triggered, running = time.Now(), done
			// Detached: the future may never be answered, and the call itself blocks while Raft's disk stalls.
			p.futures.Go(func() {
				defer close(done)
				_ = p.verify().Error()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-answered:
		case <-p.kick:
		case <-tick.C:
		case <-running:
			running = nil
			p.note(p.proof())
			if !p.newest().After(triggered) {
				// Not those answers that count: asking again at once would spin.
				rested = time.After(p.pause)
			}
		case <-rested:
			rested = nil
		}
	}
}

func (p *prover) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, r := range p.waiters {
		r.done <- command.ErrNotLeader
	}
	p.waiters = nil
	if !p.inDoubt() {
		close(p.doubt)
	}
}

func (p *prover) newest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven
}

func (p *prover) doubtful() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubt
}
