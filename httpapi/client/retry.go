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

	"scaleout/httpapi/wire"
)

// do tries the masters until one answers, a refusal stands, or patience ends.
func (c *Client) do(ctx context.Context, r *request) (*answer, error) {
	pause := &backoff.ExponentialBackOff{InitialInterval: c.cfg.Backoff, MaxInterval: c.cfg.MaxBackoff, Multiplier: 2, RandomizationFactor: 0.5}
	patience := c.cfg.Patience
	if r.patience > 0 {
		patience = min(patience, r.patience)
	}
	alive := time.Now() // since when it has been failing
	heard := c.watchSilence(patience)
	defer heard()
	var d doubt
	var before []error // of the round before: what says most when the context ends in the middle of one
	for {
		masters := c.round()
		failed := make([]error, 0, len(masters))
		for i := 0; i < len(masters); i++ {
			m := masters[i]
			if r.library && d.over(0) {
				return nil, d.mark(exhausted(slices.Concat(before, failed)))
			}
			began := time.Now()
			share := max((patience-time.Since(alive))/time.Duration(len(masters)-i), leastShare)
			bounded, cancel := d.bound(ctx, r)
			a, err := c.attempt(bounded, m, r, share, heard)
			cancel()
			if err == nil {
				if a.leaves && len(masters) > 1 {
					m = masters[(i+1)%len(masters)]
				}
				c.remember(m)
				return a, nil
			}
			if ended := ctx.Err(); ended != nil {
				if before == nil && len(failed) == 0 {
					before = []error{named(m, err)}
				}
				return nil, gaveUp(context.Cause(ctx), append(before, failed...))
			}
			next, done := judge(err, r)
			if done != nil {
				return nil, done
			}
			if room := roomIn(err); room > 0 {
				// A limit is the cluster's, or this caller's share of a master: another master asked at once is no way round it.
				if r.once || time.Since(alive)+room > patience || r.library && d.over(room) {
					return nil, d.mark(err)
				}
				if !pauseFor(ctx, room+rand.N(room/4)) {
					return nil, gaveUp(context.Cause(ctx), append(before, named(m, err)))
				}
			}
			d.note(began, err)
			var f *failure
			if errors.As(err, &f) && f.worked && !r.limited {
				// The master worked on the call until now, perhaps for hours: only now does it begin to fail. A call that
				// is due within a time has failed when that is over: with no leader every master holds it for longer.
				alive = time.Now()
				pause.Reset()
			}
			c.log.LogAttrs(ctx, slog.LevelDebug, "call failed, trying another master", slog.String("master", m), slog.String("path", r.path), slog.Any("error", err))
			failed = append(failed, named(m, err))
			if at := slices.Index(masters, next); at > i+1 {
				masters[i+1], masters[at] = masters[at], masters[i+1]
			}
		}
		left := patience - time.Since(alive)
		if r.once || untrusted(failed) || unanimous(failed, r.local) || left <= 0 || r.library && d.over(0) {
			err := exhausted(failed)
			if r.method != http.MethodGet {
				err = d.mark(err)
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

// roomIn is after how long a call that a limit refused may be tried again; 0 when none did.
func roomIn(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) && fateOf(e) == full {
		return e.RetryAfter
	}
	return 0
}

// pauseFor waits; false means that ctx ended first.
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

// judge tells whether an attempt's error stands (done), else which master to prefer next, if that is known.
func judge(err error, r *request) (next string, done error) {
	var e *Error
	var f *failure
	switch {
	case errors.As(err, &e):
		switch fateOf(e) {
		case final:
			if r.local != "" && e.Code == r.local {
				return "", nil
			}
			return "", e
		case unknown:
			if !r.again {
				return "", e
			}
		}
		if e.Code == wire.CodeNotLeader && e.Problem.Leader != nil {
			next = e.Problem.Leader.Address
		}
		return next, nil
	case errors.As(err, &f):
		if f.sent && !r.again {
			return "", fmt.Errorf("%w: %w", ErrUnknownOutcome, f.err)
		}
		return "", nil
	}
	return "", err
}

// untrusted reports whether every master presented a certificate that is refused here: waiting changes none of them.
func untrusted(failed []error) bool {
	for _, err := range failed {
		var refused *tls.CertificateVerificationError
		if !errors.As(err, &refused) {
			return false
		}
	}
	return len(failed) > 0
}

// unanimous reports whether every master refused with the code: together they know.
func unanimous(failed []error, code string) bool {
	for _, err := range failed {
		if Code(err) != code {
			return false
		}
	}
	return code != "" && len(failed) > 0
}

type masterError struct {
	master string
	err    error
}

func (e *masterError) Error() string { return e.master + ": " + e.err.Error() }
func (e *masterError) Unwrap() error { return e.err }

func named(master string, err error) error { return &masterError{master, err} }

// exhausted is the error of a call that no master answered: a master's own words where one spoke.
func exhausted(failed []error) error {
	var e *Error
	for _, err := range slices.Backward(failed) {
		if errors.As(err, &e) {
			return e
		}
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, list(failed))
}

// gaveUp is the error of a call whose context ended while masters failed.
func gaveUp(cause error, failed []error) error {
	var e *Error
	if errors.As(errors.Join(failed...), &e) {
		return fmt.Errorf("%w; %w", cause, e)
	}
	return fmt.Errorf("%w; %w: %s", cause, ErrUnreachable, list(failed))
}

func list(failed []error) string {
	texts := make([]string, len(failed))
	for i, err := range failed {
		texts[i] = err.Error()
		var m *masterError
		var dial *net.OpError
		if errors.As(err, &m) && errors.As(err, &dial) && dial.Op == "dial" {
			texts[i] = m.master + ": " + dial.Err.Error() // who was dialed is said by the master's address
		}
	}
	return strings.Join(texts, "; ")
}
