package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// doubt knows since when a call may have been applied without an answer.
type doubt struct{ since time.Time }

// note takes an attempt's error.
func (d *doubt) note(began time.Time, err error) {
	var f *failure
	if !errors.Is(err, ErrUnknownOutcome) && !(errors.As(err, &f) && f.sent) {
		return
	}
	now, since := time.Now(), began
	// A master that worked on the call for so long did not have it from an earlier attempt: it was not applied before, or
	// it waits for an execution, and the masters count from the end of that.
	long := f != nil && f.worked && now.Sub(began) > longestHold
	if long {
		since = now.Add(-longestHold)
	}
	if long || d.since.IsZero() {
		d.since = since
	}
}

// over reports whether an attempt that begins after that time may find its key forgotten.
func (d *doubt) over(after time.Duration) bool {
	return !d.since.IsZero() && time.Since(d.since)+after > libraryPatience
}

// bound ends an attempt before the masters forget the key that the library made.
func (d *doubt) bound(ctx context.Context, r *request) (context.Context, context.CancelFunc) {
	if !r.library || d.since.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, d.since.Add(libraryEnd), errOld)
}

// mark says of a call's error that the outcome is unknown, if it is.
func (d *doubt) mark(err error) error {
	if d.since.IsZero() || errors.Is(err, ErrUnknownOutcome) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}
