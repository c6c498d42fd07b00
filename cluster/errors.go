package cluster

import "errors"

// What ends a node, beside the outcomes of a call that package command declares.
var (
	// ErrStateMachine: the state machine met an entry that it must not skip.
	ErrStateMachine = errors.New("the state machine has failed")
	// ErrStalled: a write to this node's disk does not end.
	ErrStalled = errors.New("the disk stalls")
)

// Exit codes that Config.Exit is called with.
const (
	// ExitStalled: the disk stalls; another start may help.
	ExitStalled = 75
	// ExitStateMachine: an entry of the log cannot be applied; another start will not help, another program will.
	ExitStateMachine = 78
)
