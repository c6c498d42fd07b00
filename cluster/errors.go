package cluster

import "errors"

// What a call on a Node can fail with. The first group is certain: the command was not applied.
var (
	// ErrNotLeader: another node leads, or none; ask Leader.
	ErrNotLeader = errors.New("this master does not lead")
	// ErrNoLeader: no leader is known.
	ErrNoLeader = errors.New("no master leads")
	// ErrNotReady: this node leads but has not caught up with its own log yet, or has not started.
	ErrNotReady = errors.New("this master is not ready yet")
	// ErrBusy: too much waits already.
	ErrBusy = errors.New("this master has too many commands waiting")
	// ErrTooLarge: the command exceeds the limit of a log entry.
	ErrTooLarge = errors.New("the command is too large for the log")
	// ErrLevel: the command is newer than the feature level of the cluster.
	ErrLevel = errors.New("the cluster's feature level is too low for this")
	// ErrStopping: this node is about to stop.
	ErrStopping = errors.New("this master is stopping")

	// ErrUnknownOutcome: the command may or may not have been applied, now or later.
	ErrUnknownOutcome = errors.New("the outcome is unknown")

	// ErrDoubt: this node leads, as far as it knows, but could not prove it for two election time-outs.
	ErrDoubt = errors.New("leadership is in doubt")
	// ErrUnknownMember: no such node in the configuration.
	ErrUnknownMember = errors.New("no such master in the cluster")
	// ErrRefused: a change of membership or leadership that would do harm. The text says which.
	ErrRefused = errors.New("refused")
	// ErrRemoved: this node's data directory belongs to a master that has been removed from the cluster.
	ErrRemoved = errors.New("this master was removed from the cluster")
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
