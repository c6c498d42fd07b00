package proposer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"scaleout/fsm/command"
)

const (
	maxFlights       = 2
	maxQueuedBytes   = 32 << 20
	envelopeOverhead = 64 // an upper bound for kind, time and the CBOR framing
	// retryPause is how long commands wait before Raft, which is transferring leadership, is asked again.
	retryPause = 10 * time.Millisecond
)

// Check returns why a command must not be proposed to a cluster of the given feature level, or nil.
func Check(env command.Envelope, level int) error {
	if err := env.CheckLevel(level); err != nil {
		return err
	}
	limit := env.Kind.Limit()
	if size := envelopeSize(env); size > limit+envelopeOverhead {
		return fmt.Errorf("%w: %s takes %d bytes; want at most %d", command.ErrTooLarge, env.Kind, size, limit)
	}
	return nil
}

func envelopeSize(env command.Envelope) int {
	size := envelopeOverhead + len(env.Body) + len(env.Caller.Kind) + len(env.Caller.Name) +
		len(env.Key.Text) + len(env.Key.Request)
	for _, role := range env.Caller.Roles {
		size += len(role) + 2
	}
	return size
}

// The states of a proposal. Its caller can withdraw it only as long as no batch has taken it.
const (
	waiting int32 = iota
	taken
	withdrawn
)

// proposal is one command on its way.
type proposal struct {
	env   command.Envelope
	size  int
	state atomic.Int32
	done  chan outcome // one send
}

type outcome struct {
	result command.Result
	index  uint64
	err    error
}

func (p *proposal) take() bool     { return p.state.CompareAndSwap(waiting, taken) }
func (p *proposal) withdraw() bool { return p.state.CompareAndSwap(waiting, withdrawn) }

// putBack makes a taken proposal, which Raft refused, wait again.
func (p *proposal) putBack() { p.state.Store(waiting) }

// Propose applies a command and returns the state machine's result and the index of its entry. Propose stamps the time;
// the caller fills in the rest.
//
// A rejection is a Result, not an error. Of the errors, command.ErrUnknownOutcome alone leaves open whether the command
// was or will be applied; every other one is certain that it was not.
func (p *Proposer) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	started := time.Now()
	pr := &proposal{env: env, size: envelopeSize(env), done: make(chan outcome, 1)}
	if err := p.enqueue(pr); err != nil {
		return command.Result{}, 0, err
	}
	select {
	case o := <-pr.done:
		p.cfg.Metrics.proposed(env.Kind.String(), o.err, time.Since(started))
		return o.result, o.index, o.err
	case <-ctx.Done():
	}
	if pr.withdraw() {
		p.forget(pr)
		return command.Result{}, 0, fmt.Errorf("the command waited and was not proposed: %w", context.Cause(ctx))
	}
	select {
	case o := <-pr.done:
		return o.result, o.index, o.err
	default:
	}
	p.cfg.Metrics.proposed(env.Kind.String(), command.ErrUnknownOutcome, time.Since(started))
	return command.Result{}, 0, fmt.Errorf("%w: the caller stopped waiting: %w", command.ErrUnknownOutcome,
		context.Cause(ctx))
}

// ProposeOwn proposes a command that the node itself decided on.
func (p *Proposer) ProposeOwn(ctx context.Context, c command.Command) (command.Result, uint64, error) {
	env, err := command.Wrap(c)
	if err != nil {
		return command.Result{}, 0, err
	}
	env.Caller = command.Caller{Kind: "master"}
	return p.Propose(ctx, env)
}
