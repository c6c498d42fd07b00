package cluster

import (
	"context"
	"time"

	"scaleout/cluster/proposer"
	"scaleout/fsm/command"
)

// Read is the gate of a linearizable read. It returns nil if it is proved that this node led at a moment after the
// call, and if this node still leads in the same term. The state that is read after that is current. Waiting reads
// share one proof.
func (n *Node) Read(ctx context.Context) error {
	arrival := time.Now()
	r, err := n.readyLeadership()
	if err != nil {
		return err
	}
	if err := r.prover.Wait(ctx, arrival); err != nil {
		return err
	}
	if n.leadership.Load() != r || n.raft.CurrentTerm() != r.term {
		return command.ErrNotLeader
	}
	return nil
}

// Proved returns the newest moment at which this node is proved to have led in its present generation, or zero if it
// does not lead.
func (n *Node) Proved() time.Time {
	if r := n.leadership.Load(); r != nil {
		return r.prover.Newest()
	}
	return time.Time{}
}

// Doubt is closed when this node has not proved its leadership within the last two election time-outs, or does not
// lead. A caller that holds a call open must then end it.
func (n *Node) Doubt() <-chan struct{} {
	if r := n.leadership.Load(); r != nil {
		return r.prover.Doubt()
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

// Propose applies a command and returns the state machine's result and the index of its entry. Only a ready leader
// takes commands. Propose stamps the time; the caller fills in the rest.
//
// A rejection is a Result, not an error. Of the errors, command.ErrUnknownOutcome alone leaves open whether the command
// was or will be applied; every other one is certain that it was not. While leadership is being transferred commands
// wait here, and go on or end with command.ErrNotLeader.
func (n *Node) Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error) {
	r, err := n.readyLeadership()
	if err != nil {
		return command.Result{}, 0, err
	}
	if err := proposer.Check(env, n.machine.Reader().Level()); err != nil {
		return command.Result{}, 0, err
	}
	return r.proposer.Propose(ctx, env)
}
