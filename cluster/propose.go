package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"scaleout/fsm/command"
)

const (
	maxFlights       = 2
	maxWaitingBytes  = 32 << 20
	envelopeOverhead = 64 // kind, time and CBOR framing, generously
	// holdPause is how long commands wait before Raft, which hands leadership over, is asked again.
	holdPause = 10 * time.Millisecond
)

// Propose applies a command and returns the state machine's answer and the index of its entry. Only a ready leader
// takes commands. It stamps the time; the caller fills in the rest.
//
// A rejection is a Result, not an error. Of the errors, command.ErrUnknownOutcome alone leaves open whether the command
// was or will be applied; every other one is certain that it was not. While leadership is being transferred commands
// wait here, and go on or end with command.ErrNotLeader.
func (n *Node) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	r, err := n.readyReign()
	if err != nil {
		return command.Result{}, 0, err
	}
	if err := n.admit(env); err != nil {
		return command.Result{}, 0, err
	}
	return r.proposer.propose(ctx, env)
}

// admit checks what can be checked before the log.
func (n *Node) admit(env command.Envelope) error {
	spec, ok := command.Specs[env.Kind]
	if !ok {
		return fmt.Errorf("%w: command kind %d is unknown to this program", command.ErrLevel, env.Kind)
	}
	if have := n.machine.View().Level(); spec.Level > have {
		return fmt.Errorf("%w: %s needs level %d, the cluster is at %d; it rises once every master runs a version that knows it",
			command.ErrLevel, spec.Name, spec.Level, have)
	}
	limit := command.HardCommand
	if env.Kind == command.KindDeployProject {
		limit += command.HardManifest
	}
	if size := envelopeSize(env); size > limit+envelopeOverhead {
		return fmt.Errorf("%w: %s takes %d bytes; want at most %d", command.ErrTooLarge, spec.Name, size, limit)
	}
	return nil
}

func envelopeSize(env command.Envelope) int {
	size := envelopeOverhead + len(env.Body) + len(env.Caller.Kind) + len(env.Caller.Name) + len(env.Key.Text) + len(env.Key.Request)
	for _, role := range env.Caller.Roles {
		size += len(role) + 2
	}
	return size
}

// A proposal's states. It can be withdrawn by its caller only as long as no batch has taken it.
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

// propose waits for the outcome. It never waits for a Raft future: some of those are never answered.
func (p *proposer) propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	started := time.Now()
	pr := &proposal{env: env, size: envelopeSize(env), done: make(chan outcome, 1)}
	if err := p.enqueue(pr); err != nil {
		return command.Result{}, 0, err
	}
	select {
	case o := <-pr.done:
		p.metrics.proposed(env.Kind.String(), o.err, time.Since(started))
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
	p.metrics.proposed(env.Kind.String(), command.ErrUnknownOutcome, time.Since(started))
	return command.Result{}, 0, fmt.Errorf("%w: the caller stopped waiting: %w",
		command.ErrUnknownOutcome, context.Cause(ctx))
}
