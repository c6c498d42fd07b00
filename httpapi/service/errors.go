package service

import (
	"errors"
	"fmt"
	"time"

	"scaleout/fsm/command"
)

// ErrTimeout: the call took longer than it may.
var ErrTimeout = errors.New("the call took too long")

// LimitReached is an error that refuses what would go beyond a limit of the masters' settings; nothing was done.
type LimitReached struct {
	Limit  string        // name of the setting
	Detail string        // a sentence with the number, and what to do
	Retry  time.Duration // when another try may help
}

func (e *LimitReached) Error() string { return command.FamilyLimitReached + ": " + e.Detail }

// IndexPassed is command.ErrIndexPassed with the index at which the state is.
type IndexPassed struct {
	Index uint64
	err   error
}

func (e *IndexPassed) Error() string {
	return fmt.Sprintf("%v: it is at %d; ask without an index", e.err, e.Index)
}
func (e *IndexPassed) Unwrap() error { return e.err }
