package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/httpapi/wire"
)

// transportFunc is a transport that a test writes.
type transportFunc func(req *http.Request) (*http.Response, error)

func (n transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return n(req) }

// blackHole never answers.
func blackHole(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}

func refused(req *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// leaderless holds a call for as long as the caller allows, and answers that there is no leader.
func leaderless(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	_ = trace.Got1xxResponse(http.StatusProcessing, nil)
	ms, err := strconv.Atoi(req.Header.Get(wire.HeaderLeaderWait))
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return &http.Response{
		StatusCode: 503, Header: http.Header{"Content-Type": {wire.ContentProblem}},
		Body: io.NopCloser(strings.NewReader(`{"code":"no_leader","detail":"nobody leads"}`)),
	}, nil
}

// Without masters a call is told of within a second and ends when the timeout of the client ends.
func TestNobodyAnswers(t *testing.T) {
	const timeout = 10 * time.Second
	for _, test := range []struct {
		name   string
		peers  [3]transportFunc
		told   time.Duration // how soon, at the latest
		beyond time.Duration // how much longer than its timeout a call may take
		want   error
		says   string
	}{
		{"black holes", [3]transportFunc{blackHole, blackHole, blackHole}, time.Second, minShare * 3, ErrUnreachable,
			"https://b"},
		{"refused", [3]transportFunc{refused, refused, refused}, 0, 0, ErrUnreachable, "https://c: connection refused"},
		{"one refuses, the others are black holes", [3]transportFunc{refused, blackHole, blackHole}, time.Second,
			minShare * 3, ErrUnreachable, "https://a"},
		{"nobody leads", [3]transportFunc{leaderless, leaderless, leaderless}, 3 * time.Second, minShare * 3, ErrNoLeader,
			"nobody leads"},
		{"one is left", [3]transportFunc{refused, refused, leaderless}, time.Second, minShare * 3, ErrNoLeader,
			"nobody leads"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var mu sync.Mutex
				tried := map[string]bool{}
				var told []string
				c, err := New(Config{
					Masters: []string{"https://a", "https://b", "https://c"}, Timeout: timeout, LeaderWait: time.Second,
					Logger: slog.New(slog.DiscardHandler),
					HTTPClient: &http.Client{Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
						mu.Lock()
						tried[req.URL.Host] = true
						mu.Unlock()
						return test.peers[slices.Index([]string{"a", "b", "c"}, req.URL.Host)](req)
					})},
					Waiting: func(err error, left time.Duration) {
						mu.Lock()
						defer mu.Unlock()
						told = append(told, err.Error())
						if soon := time.Since(began); soon > test.told {
							t.Errorf("told after %v", soon)
						}
						if left <= 0 || left > timeout {
							t.Errorf("%v are left", left)
						}
						if !errors.Is(err, test.want) && !errors.Is(err, ErrUnreachable) {
							t.Errorf("told %v", err)
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Procedures(t.Context())
				if took := time.Since(began); took < timeout || took > timeout+test.beyond {
					t.Errorf("it took %v", took)
				}
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v", err)
				}
				if len(tried) != 3 {
					t.Errorf("tried %v", tried)
				}
				// One outage is told of once, however many calls it meets.
				_, _ = c.Views(t.Context())
				if mu.Lock(); len(told) != 1 {
					t.Errorf("told %q", told)
				}
				mu.Unlock()
			})
		})
	}
}

// An outage is told of again after a call was answered in between; a call that is answered in time is not told of.
func TestEachOutageIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		told := 0
		c, err := New(Config{
			Masters: []string{"https://a"}, Timeout: time.Second, Logger: slog.New(slog.DiscardHandler),
			HTTPClient: &http.Client{Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
				if down {
					return refused(req)
				}
				time.Sleep(noticeAfter / 2)
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("{}"))}, nil
			})},
			Waiting: func(error, time.Duration) { told++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{0, 1, 1, 2} {
			down = i%2 == 1
			if _, err := c.Views(t.Context()); (err != nil) != down {
				t.Fatal(err)
			}
			if told != want {
				t.Errorf("after call %d: told %d times, want %d", i+1, told, want)
			}
		}
	})
}

// A call that a deadline ends says whom it tried, and that they are not reachable.
func TestGivenUpAmongTheDead(t *testing.T) {
	c := newClient(t, closedAddress(t))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Views(ctx)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(fmt.Sprint(err), "refused") {
		t.Errorf("%v", err)
	}
}

func TestWithTimeoutChangesNoOtherClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{
			Masters: []string{"https://a"}, Timeout: time.Second, Logger: slog.New(slog.DiscardHandler),
			HTTPClient: &http.Client{Transport: transportFunc(refused)},
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.WithTimeout(time.Minute).Views(t.Context()); !errors.Is(err, ErrUnreachable) ||
			time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		began = time.Now()
		if _, err := c.Views(t.Context()); !errors.Is(err, ErrUnreachable) || time.Since(began) != time.Second {
			t.Errorf("the other one's timeout changed: after %v: %v", time.Since(began), err)
		}
	})
}
