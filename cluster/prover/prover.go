package prover

import (
	"context"
	"fmt"
	"sync"
	"time"

	"scaleout/fsm/command"
)

// Config of a Prover. Every field is required.
type Config struct {
	// Proof is the newest moment at which this node led for certain: a majority of the latest voters confirmed, in the
	// term of this leadership, a message that was sent then.
	Proof func() time.Time
	// Answered is closed at the next confirmation of any voter.
	Answered func() <-chan struct{}
	// Verify sends heartbeats at once and returns when they are answered, which may be never.
	Verify func() error
	// Go runs a call of Verify. It may outlive Run.
	Go func(f func())
	// Limit is how long this node may be without a proof before its leadership is in doubt.
	Limit time.Duration
}

// Prover keeps the newest proof of one leadership and lets calls wait for the next.
type Prover struct {
	cfg   Config
	pause time.Duration // between two calls of Verify that proved nothing
	wake  chan struct{}

	mu      sync.Mutex
	proven  time.Time
	since   time.Time
	doubt   chan struct{}
	closed  bool
	waiters []waiter
}

// waiter is a call that waits for a proof.
type waiter struct {
	arrival time.Time
	done    chan error
}

// New makes a Prover; Run makes it gather proofs.
func New(cfg Config) *Prover {
	return &Prover{
		cfg: cfg, pause: cfg.Limit / 40, wake: make(chan struct{}, 1), since: time.Now(), doubt: make(chan struct{}),
	}
}

// Wait returns nil once there is a proof for a moment after arrival.
func (p *Prover) Wait(ctx context.Context, arrival time.Time) error {
	r := waiter{arrival: arrival, done: make(chan error, 1)}
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
	case p.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no majority confirmed the leadership: %w", context.Cause(ctx))
	}
}

// Note takes a proof for the moment t.
func (p *Prover) Note(t time.Time) {
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
	if p.inDoubt() && time.Since(t) <= p.cfg.Limit {
		p.doubt = make(chan struct{})
	}
}

func (p *Prover) inDoubt() bool {
	select {
	case <-p.doubt:
		return true
	default:
		return false
	}
}

// look closes the doubt channel if it is time, and reports whether calls wait.
func (p *Prover) look() (waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := p.proven
	if p.since.After(newest) {
		newest = p.since
	}
	if time.Since(newest) > p.cfg.Limit && !p.inDoubt() {
		close(p.doubt)
		for _, r := range p.waiters {
			r.done <- command.ErrDoubt
		}
		p.waiters = nil
	}
	return len(p.waiters) > 0
}

// Run gathers proofs until ctx ends, then ends every waiting call with command.ErrNotLeader.
func (p *Prover) Run(ctx context.Context) {
	defer p.close()
	tick := time.NewTicker(p.cfg.Limit / 8)
	defer tick.Stop()
	var (
		triggered time.Time
		running   chan struct{}    // closed when the running trigger has ended; nil without one
		rested    <-chan time.Time // fires when the next trigger may begin; nil when it may now
	)
	for {
		answered := p.cfg.Answered()
		p.Note(p.cfg.Proof())
		if p.look() && running == nil && rested == nil {
			done := make(chan struct{})
			triggered, running = time.Now(), done
			// On a goroutine of its own: the call may never be answered, and blocks while Raft's disk stalls.
			p.cfg.Go(func() {
				defer close(done)
				_ = p.cfg.Verify()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-answered:
		case <-p.wake:
		case <-tick.C:
		case <-running:
			running = nil
			p.Note(p.cfg.Proof())
			if !p.Newest().After(triggered) {
				// The answers proved nothing: asking again at once would spin.
				rested = time.After(p.pause)
			}
		case <-rested:
			rested = nil
		}
	}
}

func (p *Prover) close() {
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

// Newest is the newest moment for which there is a proof, zero if there is none.
func (p *Prover) Newest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven
}

// Doubt is closed when the newest proof is older than the limit, and for good when the leadership has ended.
func (p *Prover) Doubt() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubt
}
