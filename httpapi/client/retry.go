package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

// do tries the masters until one answers, a refusal stands, or the time is over.
func (c *Client) do(ctx context.Context, r *request) (*answer, error) {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: c.cfg.Backoff, MaxInterval: c.cfg.MaxBackoff, Multiplier: 2, RandomizationFactor: 0.5,
	}
	timeout := c.cfg.Timeout
	if r.timeout > 0 {
		timeout = min(timeout, r.timeout)
	}
	failingSince := time.Now()
	heard := c.watchSilence(timeout)
	defer heard()
	var u unknownOutcome
	var before []error // of the previous round: they say more than an unfinished round when ctx ends
	for {
		masters := c.tryOrder()
		failed := make([]error, 0, len(masters))
		for i := 0; i < len(masters); i++ {
			m := masters[i]
			if r.libraryKey && u.keyMayExpire(0) {
				return nil, u.wrap(exhausted(slices.Concat(before, failed)))
			}
			began := time.Now()
			share := max((timeout-time.Since(failingSince))/time.Duration(len(masters)-i), minShare)
			limited, cancel := u.limit(ctx, r)
			a, err := c.attempt(limited, m, r, share, heard)
			cancel()
			if err == nil {
				if a.stops && len(masters) > 1 {
					m = masters[(i+1)%len(masters)]
				}
				c.answeredBy(m)
				return a, nil
			}
			if ctx.Err() != nil {
				if before == nil && len(failed) == 0 {
					before = []error{atMaster(m, err)}
				}
				return nil, gaveUp(context.Cause(ctx), append(before, failed...))
			}
			next, done := classify(err, r)
			if done != nil {
				return nil, done
			}
			if wait := limitWait(err); wait > 0 {
				// The limit is the cluster's, or this caller's at every master: asking another master does not help.
				if r.oneRound || time.Since(failingSince)+wait > timeout || r.libraryKey && u.keyMayExpire(wait) {
					return nil, u.wrap(err)
				}
				if !pauseFor(ctx, wait+rand.N(wait/4)) {
					return nil, gaveUp(context.Cause(ctx), append(before, atMaster(m, err)))
				}
			}
			u.observe(began, err)
			var f *failure
			if errors.As(err, &f) && f.worked && !r.held {
				// The master worked on the call until now, perhaps for hours: the call begins to fail only now. For a held
				// call that is different: without a leader every master holds it beyond its time.
				failingSince = time.Now()
				pause.Reset()
			}
			c.log.LogAttrs(ctx, slog.LevelDebug, "call failed, trying another master",
				slog.String(logkey.Master, m), slog.String(logkey.Path, r.path), slog.Any(logkey.Err, err))
			failed = append(failed, atMaster(m, err))
			if at := slices.Index(masters, next); at > i+1 {
				masters[i+1], masters[at] = masters[at], masters[i+1]
			}
		}
		left := timeout - time.Since(failingSince)
		if r.oneRound || untrusted(failed) || unanimous(failed, r.localRefusal) || left <= 0 ||
			r.libraryKey && u.keyMayExpire(0) {
			err := exhausted(failed)
			if r.method != http.MethodGet {
				err = u.wrap(err)
			}
			return nil, err
		}
		before = failed
		c.waiting(exhausted(failed), left)
		if !pauseFor(ctx, min(pause.NextBackOff(), left)) {
			return nil, gaveUp(context.Cause(ctx), failed)
		}
	}
}

// limitWait returns how long to wait before a call that a limit refused is tried again, and 0 if no limit refused it.
func limitWait(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) && outcomeOf(e) == noRoom {
		return e.RetryAfter
	}
	return 0
}

// pauseFor waits for d and returns false if ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// classify returns the error of the call if the attempt's error is final. Otherwise done is nil, and next is the master
// to try next, if it is known.
func classify(err error, r *request) (next string, done error) {
	var e *Error
	var f *failure
	switch {
	case errors.As(err, &e):
		switch outcomeOf(e) {
		case final:
			if r.localRefusal != "" && e.Code == r.localRefusal {
				return "", nil
			}
			return "", e
		case unknown:
			if !r.repeatable {
				return "", e
			}
		}
		if e.Code == wire.CodeNotLeader && e.Problem.Leader != nil {
			next = e.Problem.Leader.Address
		}
		return next, nil
	case errors.As(err, &f):
		if f.sent && !r.repeatable {
			return "", fmt.Errorf("%w: %w", ErrUnknownOutcome, f.err)
		}
		return "", nil
	}
	return "", err
}

// untrusted reports whether this client trusts none of the masters' certificates: waiting would not change that.
func untrusted(failed []error) bool {
	for _, err := range failed {
		var refused *tls.CertificateVerificationError
		if !errors.As(err, &refused) {
			return false
		}
	}
	return len(failed) > 0
}

// unanimous reports whether every master refused with the code. Then the refusal holds for the whole cluster.
func unanimous(failed []error, code string) bool {
	for _, err := range failed {
		if Code(err) != code {
			return false
		}
	}
	return code != "" && len(failed) > 0
}

// masterError is the error of an attempt at one master.
type masterError struct {
	master string
	err    error
}

func (e *masterError) Error() string { return e.master + ": " + e.err.Error() }
func (e *masterError) Unwrap() error { return e.err }

func atMaster(master string, err error) error { return &masterError{master, err} }

// exhausted returns the error of a call that no master answered: the last refusal of a master if there was one.
func exhausted(failed []error) error {
	var e *Error
	for _, err := range slices.Backward(failed) {
		if errors.As(err, &e) {
			return e
		}
	}
	if untrusted(failed) {
		return fmt.Errorf("%w: %s", ErrUntrusted, describe(failed))
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, describe(failed))
}

// gaveUp returns the error of a call whose context ended while masters failed.
func gaveUp(cause error, failed []error) error {
	var e *Error
	if errors.As(errors.Join(failed...), &e) {
		return fmt.Errorf("%w; %w", cause, e)
	}
	return fmt.Errorf("%w; %w: %s", cause, ErrUnreachable, describe(failed))
}

func describe(failed []error) string {
	texts := make([]string, len(failed))
	for i, err := range failed {
		texts[i] = err.Error()
		var m *masterError
		var dial *net.OpError
		if errors.As(err, &m) && errors.As(err, &dial) && dial.Op == "dial" {
			texts[i] = m.master + ": " + dial.Err.Error() // the master's address already says what was dialed
		}
	}
	return strings.Join(texts, "; ")
}
