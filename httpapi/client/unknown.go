package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// unknownOutcome remembers since when a call may have been applied without an answer. Its zero value: certainly not
// applied.
type unknownOutcome struct{ since time.Time }

// observe takes the error of an attempt that began at a time.
func (u *unknownOutcome) observe(began time.Time, err error) {
	var f *failure
	if !errors.Is(err, ErrUnknownOutcome) && !(errors.As(err, &f) && f.sent) {
		return
	}
	now, since := time.Now(), began
	// A master that works on the call for so long did not find it applied by an earlier attempt. Either it was not applied
	// before, or it waits for an execution, and the masters keep its key for 3 min from the end of that wait.
	long := f != nil && f.worked && now.Sub(began) > longestHold
	if long {
		since = now.Add(-longestHold)
	}
	if long || u.since.IsZero() {
		u.since = since
	}
}

// keyMayExpire reports whether the masters may have forgotten the key by the time of an attempt that begins so much
// later.
func (u *unknownOutcome) keyMayExpire(delay time.Duration) bool {
	return !u.since.IsZero() && time.Since(u.since)+delay > libraryRetries
}

// limit ends an attempt before the masters forget the key that the library made.
func (u *unknownOutcome) limit(ctx context.Context, r *request) (context.Context, context.CancelFunc) {
	if !r.libraryKey || u.since.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, u.since.Add(libraryEnd), errKeyExpired)
}

// wrap adds ErrUnknownOutcome to a call's error if the outcome is unknown.
func (u *unknownOutcome) wrap(err error) error {
	if u.since.IsZero() || errors.Is(err, ErrUnknownOutcome) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}
