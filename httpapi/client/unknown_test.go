package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script answers the attempts of a call, counted from 1.
type script func(attempt int, r *http.Request) (*http.Response, error)

// scriptedTransport lets a script answer, and notes when attempts begin and end.
type scriptedTransport struct {
	script script
	began  []time.Time
	ended  time.Time
}

func (p *scriptedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	p.began = append(p.began, time.Now())
	defer func() { p.ended = time.Now() }()
	return p.script(len(p.began), r)
}

// upload reads the body slowly: one byte per second.
func upload(r *http.Request) error {
	one := make([]byte, 1)
	for {
		if _, err := r.Body.Read(one); err != nil {
			return err
		}
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(time.Second):
		}
	}
}

// work shows signs of life for d, unless the attempt is canceled.
func work(r *http.Request, d time.Duration) error {
	httptrace.ContextClientTrace(r.Context()).WroteRequest(httptrace.WroteRequestInfo{})
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		_ = httptrace.ContextClientTrace(r.Context()).Got1xxResponse(http.StatusProcessing, nil)
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(time.Second):
		}
	}
	return errors.New("broken")
}

func answered() (*http.Response, error) {
	return &http.Response{
		StatusCode: 200,
		Header:     http.Header{},
		Body:       io.NopCloser(strings.NewReader(`{"return_value":5}`)),
	}, nil
}

// The masters keep a key that the library made for 3 min: whatever the timeout, the library must not send it later.
func TestALibraryKeyIsNotSentWhenItMayBeForgotten(t *testing.T) {
	broken := errors.New("broken")
	for _, x := range []struct {
		name      string
		script    script
		key       string
		ok        bool
		last, end time.Duration // from the first attempt on: when the last one began at most, and when it ended
		least     time.Duration
	}{
		{name: "every try breaks", script: func(int, *http.Request) (*http.Response, error) { return nil, broken },
			last: 90 * time.Second, end: 90 * time.Second, least: 80 * time.Second},
		{name: "a chosen key may be sent for as long as the timeout lasts", key: "mine",
			script: func(int, *http.Request) (*http.Response, error) { return nil, broken }, last: 20 * time.Minute,
			end: 20 * time.Minute, least: 19 * time.Minute},
		{name: "short work proves nothing",
			script: func(_ int, r *http.Request) (*http.Response, error) { return nil, work(r, 10*time.Second) },
			last:   90 * time.Second, end: 100 * time.Second, least: 80 * time.Second},
		{name: "the last try ends in time", script: func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				return nil, broken
			}
			return nil, upload(r)
		}, last: 90 * time.Second, end: 150 * time.Second},
		{name: "a call that waited for an hour is taken up again", ok: true,
			script: func(n int, r *http.Request) (*http.Response, error) {
				switch n {
				case 1:
					return nil, work(r, time.Hour)
				case 2, 3, 4:
					return nil, broken
				}
				return answered()
			}, last: time.Hour + time.Minute, end: time.Hour + time.Minute, least: time.Hour},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &scriptedTransport{script: x.script}
				c, err := New(
					Config{
						Masters:    []string{"https://a:1", "https://b:1"},
						HTTPClient: &http.Client{Transport: p},
						Timeout:    20 * time.Minute,
					},
				)
				if err != nil {
					t.Fatal(err)
				}
				var opts []CallOption
				if x.key != "" {
					opts = append(opts, WithKey(x.key))
				}
				_, err = c.Call(t.Context(), "p", map[string]any{"a": strings.Repeat("a", 1000)}, opts...)
				if (err == nil) != x.ok || !x.ok && !errors.Is(err, ErrUnknownOutcome) {
					t.Errorf("ended with %v", err)
				}
				last, end := p.began[len(p.began)-1].Sub(p.began[0]), p.ended.Sub(p.began[0])
				if last > x.last || end > x.end || last < x.least {
					t.Errorf("the last of %d attempts began after %v and ended after %v", len(p.began), last, end)
				}
			})
		})
	}
}
