package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/httpapi/wire"
)

// limitingTransport refuses so many calls because of a limit before it answers.
type limitingTransport struct {
	refusals   int64
	retryAfter string
	calls      atomic.Int64
}

func (l *limitingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	h := http.Header{}
	if l.calls.Add(1) > l.refusals {
		return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(`{"return_value":5}`))}, nil
	}
	h.Set("Content-Type", wire.ContentProblem)
	if l.retryAfter != "" {
		h.Set("Retry-After", l.retryAfter)
	}
	b, err := json.Marshal(
		wire.Problem{Status: 429, Code: wire.CodeLimitReached, Limit: "MaxCallsInFlight", Detail: "256 calls are in flight"},
	)
	return &http.Response{StatusCode: 429, Header: h, Body: io.NopCloser(strings.NewReader(string(b)))}, err
}

func TestALimitIsWaitedForWithinTheTimeout(t *testing.T) {
	for _, x := range []struct {
		name       string
		refusals   int64
		retryAfter string
		ok         bool
		calls      int64
		least      time.Duration
	}{
		{"room after the wait that was asked for", 2, "3", true, 3, 6 * time.Second},
		{"no room within the timeout", 1000, "4", false, 3, 8 * time.Second},
		{"a wait beyond the timeout is no wait", 1, "3600", false, 1, 0},
		{"a limit that waiting does not help", 1, "", false, 1, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &limitingTransport{refusals: x.refusals, retryAfter: x.retryAfter}
				c, err := New(
					Config{
						Masters:    []string{"https://a:1", "https://b:1"},
						HTTPClient: &http.Client{Transport: l},
						Timeout:    12 * time.Second,
					},
				)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				got, err := c.Call(t.Context(), "p", nil)
				if (err == nil) != x.ok || x.ok && got.ReturnValue != 5 || l.calls.Load() != x.calls ||
					time.Since(began) < x.least {
					t.Fatal(got, err, l.calls.Load(), time.Since(began))
				}
				if x.ok {
					return
				}
				var e *Error
				if !errors.As(err, &e) || e.Code != wire.CodeLimitReached || e.Problem.Limit != "MaxCallsInFlight" {
					t.Fatal(err)
				}
			})
		})
	}
}
