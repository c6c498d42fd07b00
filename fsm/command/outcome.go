package command

import (
	"errors"
	"slices"
)

// Outcomes of a proposal and of a proof of leadership. Each is declared here once; whoever returns one wraps it.
// A command that the state machine refuses is none of these: that is a Rejection.
var (
	// ErrNotLeader: another node leads, or none.
	ErrNotLeader = errors.New("this master does not lead")
	// ErrNoLeader: no leader is known.
	ErrNoLeader = errors.New("no master leads")
	// ErrNotReady: this node leads but has not caught up with its own log yet, or has not started.
	ErrNotReady = errors.New("this master is not ready yet")
	// ErrDoubt: this node leads, as far as it knows, but could not prove it for two election time-outs.
	ErrDoubt = errors.New("leadership is in doubt")
	// ErrBusy: too many commands wait already.
	ErrBusy = errors.New("this master has too many commands waiting")
	// ErrTooLarge: the command, or its manifest, exceeds the limit of a log entry and must not be proposed.
	ErrTooLarge = errors.New("the command is too large for the log")
	// ErrLevel: the command is newer than the feature level of the cluster.
	ErrLevel = errors.New("the cluster's feature level is too low for this")
	// ErrStopping: this node is about to stop.
	ErrStopping = errors.New("this master is stopping")

	// ErrUnknownOutcome: the command may or may not have been applied, now or later.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
)

// Outcomes of a change of the membership or of the leadership.
var (
	// ErrUnknownMember: no such master in the configuration.
	ErrUnknownMember = errors.New("no such master in the cluster")
	// ErrRefused: the change would do harm. The text says which.
	ErrRefused = errors.New("refused")
)

// Outcomes of storing and of reading a blob.
var (
	// ErrNoBlob: no reachable master has the blob.
	ErrNoBlob = errors.New("blob not found on any reachable master")
	// ErrBlobTooLarge: the content goes beyond the limit of the call.
	ErrBlobTooLarge = errors.New("content too large")
	// ErrDigest: content and digest differ, or a digest is not one.
	ErrDigest = errors.New("wrong digest")
	// ErrNoSpace: a file system is full, or its quota is used up.
	ErrNoSpace = errors.New("no space left on disk")
	// ErrNoMajority: too few voters have stored the blob.
	ErrNoMajority = errors.New("blob not stored by a majority of the voters")
)

// ErrIndexPassed: the state is past the index that was asked for.
var ErrIndexPassed = errors.New("the state is past that index")

// Outcomes of a restore.
var (
	// ErrBackupDamaged: the file is not a backup, or not what was written.
	ErrBackupDamaged = errors.New("the backup cannot be restored")
	// ErrBackupKey: the key ring in the backup cannot be decrypted with what was given, or does not fit.
	ErrBackupKey = errors.New("the key ring of the backup stays closed")
	// ErrNotEmpty: the cluster holds something that a restore would replace.
	ErrNotEmpty = errors.New("only a new, empty cluster can be restored into")
)

// After these outcomes of a proposal the command is not applied, now or later: for the state that this node is in, and
// for what the command or the cluster is.
var (
	ofNode    = []error{ErrNotLeader, ErrNoLeader, ErrNotReady, ErrDoubt, ErrStopping}
	ofCommand = []error{ErrBusy, ErrTooLarge, ErrLevel}
)

// NotApplied reports whether err says for certain that the command was not applied and never will be. If it is false
// for an error, the outcome is unknown: that holds for an error that this package does not know, and for one that wraps
// ErrUnknownOutcome beside a certain outcome, since the certain one may be about a later attempt.
func NotApplied(err error) bool {
	return TryElsewhere(err) || !errors.Is(err, ErrUnknownOutcome) && isOne(err, ofCommand)
}

// TryElsewhere reports whether the command was not applied for a reason that another master need not have.
func TryElsewhere(err error) bool { return !errors.Is(err, ErrUnknownOutcome) && isOne(err, ofNode) }

func isOne(err error, outcomes []error) bool {
	return slices.ContainsFunc(outcomes, func(outcome error) bool { return errors.Is(err, outcome) })
}
