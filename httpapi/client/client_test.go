package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMaster is a server whose answers a test writes.
type fakeMaster struct {
	*httptest.Server
	calls atomic.Int64
}

func serve(t *testing.T, h http.HandlerFunc) *fakeMaster {
	m := &fakeMaster{}
	release := make(chan struct{})
	m.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.calls.Add(1)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		stop := context.AfterFunc(ctx, func() {})
		defer stop()
		go func() {
			select {
			case <-release:
				cancel()
			case <-ctx.Done():
			}
		}()
		h(w, r.WithContext(ctx))
	}))
	t.Cleanup(func() { close(release); m.CloseClientConnections(); m.Close() })
	return m
}

func problem(w http.ResponseWriter, status int, p wire.Problem) {
	w.Header().Set("Content-Type", wire.ContentProblem)
	p.Status = status
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set(wire.HeaderIndex, "42")
	json.NewEncoder(w).Encode(v)
}

func silentMaster(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// newClient returns a client whose time-outs only a failing test reaches. A test of one of them sets it.
func newClient(t *testing.T, addresses ...string) *Client {
	pool := x509.NewCertPool()
	probe := httptest.NewUnstartedServer(nil)
	probe.StartTLS()
	pool.AddCert(probe.Certificate())
	probe.Close()
	c, err := New(Config{
		Masters: addresses, TLS: &tls.Config{RootCAs: pool}, Silence: 20 * time.Second, Quiet: 20 * time.Second,
		Timeout: time.Minute, Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// closedAddress returns an address that refuses connections.
func closedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String()
}

func TestNewRefusesBadMasters(t *testing.T) {
	for _, test := range []struct {
		name    string
		masters []string
	}{
		{"none", nil}, {"an empty one", []string{""}}, {"no TLS", []string{"http://a:1"}}, {"no scheme", []string{"a:8391"}},
		{"a path", []string{"https://a:1/x"}}, {"a user", []string{"https://u@a:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(Config{Masters: test.masters}); err == nil {
				t.Errorf("%q was accepted", test.masters)
			}
		})
	}
	c, err := New(Config{Masters: []string{"https://a:1/", "https://a:1", " https://b:2"}})
	if err != nil || fmt.Sprint(c.Masters()) != "[https://a:1 https://b:2]" {
		t.Fatal(c.Masters(), err)
	}
	if err := c.SetMasters(nil); err == nil || len(c.Masters()) != 2 {
		t.Fatal("an empty list must change nothing")
	}
}

func TestFailoverAndMemory(t *testing.T) {
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, wire.CallAnswer{ReturnValue: 1}) })
	mute := serve(t, silentMaster)
	c := newClient(t, closedAddress(t), mute.URL, good.URL)
	c.cfg.Silence = time.Second
	began := time.Now()
	if r, err := c.Call(t.Context(), "p", nil); err != nil || r.ReturnValue != 1 || r.Index != 42 {
		t.Fatal(r, err)
	}
	if d := time.Since(began); d < c.cfg.Silence || d > c.cfg.Quiet {
		t.Fatalf("the silent master was given %v", d)
	}
	if _, err := c.Call(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
	if mute.calls.Load() != 1 || good.calls.Load() != 2 {
		t.Fatalf("the good master was not remembered: silent %d, good %d", mute.calls.Load(), good.calls.Load())
	}
}

func TestProcessingKeepsTheCall(t *testing.T) {
	const silence = time.Second
	var other atomic.Int64
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			w.WriteHeader(http.StatusProcessing)
			select {
			case <-time.After(silence / 3):
			case <-r.Context().Done():
				return
			}
		}
		reply(w, wire.CallAnswer{ReturnValue: 7})
	})
	o := serve(t, func(w http.ResponseWriter, r *http.Request) { other.Add(1) })
	c := newClient(t, slow.URL, o.URL)
	c.cfg.Silence = silence
	if r, err := c.Call(t.Context(), "p", nil); err != nil || r.ReturnValue != 7 || other.Load() != 0 {
		t.Fatal(r, err, other.Load())
	}
}

func TestSilenceAfterProcessing(t *testing.T) {
	frozen := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		<-r.Context().Done()
	})
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, wire.CallAnswer{}) })
	c := newClient(t, frozen.URL, good.URL)
	c.cfg.Quiet = 200 * time.Millisecond
	if _, err := c.Call(t.Context(), "p", nil); err != nil {
		t.Fatal(err)
	}
}

func TestRetriesKeepTheKey(t *testing.T) {
	var mu sync.Mutex
	var keys, origins []string
	h := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys, origins = append(keys, r.Header.Get(wire.HeaderKey)), append(origins, r.Header.Get(wire.HeaderKeyOrigin))
		n := len(keys)
		mu.Unlock()
		switch n {
		case 1:
			problem(w, 503, wire.Problem{Code: wire.CodeUnknownOutcome})
		case 2:
			panic(http.ErrAbortHandler)
		case 3:
			problem(w, 503, wire.Problem{Code: wire.CodeNotLeader})
		default:
			reply(w, wire.CallAnswer{})
		}
	}
	c := newClient(t, serve(t, h).URL, serve(t, h).URL)
	if _, err := c.Call(t.Context(), "p", map[string]any{"a": 1}); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if keys[i] != keys[0] || len(keys[i]) != 32 || origins[i] != wire.KeyOriginLibrary {
			t.Fatalf("keys %v, origins %v", keys, origins)
		}
	}
	if _, err := c.Call(t.Context(), "p", nil, WithKey("mine")); err != nil {
		t.Fatal(err)
	}
	if last := len(keys) - 1; keys[last] != "mine" || origins[last] != "" {
		t.Fatalf("keys %v, origins %v", keys, origins)
	}
}

func TestUnknownOutcomeIsNotRepeatedWhereItMatters(t *testing.T) {
	m := serve(t, silentMaster)
	o := serve(t, silentMaster)
	c := newClient(t, m.URL, o.URL)
	c.cfg.Silence = 200 * time.Millisecond
	_, err := c.Transfer(t.Context(), "b")
	if !errors.Is(err, ErrUnknownOutcome) || m.calls.Load()+o.calls.Load() != 1 {
		t.Fatal(err, m.calls.Load(), o.calls.Load())
	}
	// A refused connection and a structured refusal are certain: these are tried elsewhere.
	no := serve(t, func(w http.ResponseWriter, r *http.Request) { problem(w, 503, wire.Problem{Code: wire.CodeStopping}) })
	yes := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, wire.Leader{ID: "x"}) })
	if l, err := newClient(t, closedAddress(t), no.URL, yes.URL).Transfer(t.Context(), "b"); err != nil || l.ID != "x" {
		t.Fatal(l, err)
	}
}

func TestRefusalsStand(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		problem(w, 429, wire.Problem{Code: "too_many_keys", Detail: "wait", RequestID: "r1"})
	})
	c := newClient(t, m.URL)
	_, err := c.Call(t.Context(), "p", nil)
	var e *Error
	if !errors.As(err, &e) || e.Status != 429 || e.Code != "too_many_keys" || e.RequestID != "r1" ||
		e.RetryAfter != time.Minute ||
		m.calls.Load() != 1 {
		t.Fatalf("%#v %d", err, m.calls.Load())
	}
	if Code(err) != "too_many_keys" {
		t.Fatal(Code(err))
	}
}

func TestPatienceEnds(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		problem(w, 503, wire.Problem{Code: wire.CodeNoLeader, Detail: "none"})
	})
	c := newClient(t, m.URL)
	c.cfg.Timeout = 200 * time.Millisecond
	if _, err := c.View(t.Context(), "v", Query{}); !errors.Is(err, ErrNoLeader) || m.calls.Load() < 3 {
		t.Fatal(err, m.calls.Load())
	}
	if _, err := c.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
		t.Fatal(err)
	}
	gone := newClient(t, closedAddress(t), closedAddress(t))
	gone.cfg.Timeout = 100 * time.Millisecond
	_, err := gone.View(t.Context(), "v", Query{})
	if !errors.Is(err, ErrUnreachable) || strings.Count(err.Error(), "https://") != 2 {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, closedAddress(t)).View(ctx, "v", Query{}); !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "refused") {
		t.Fatal(err)
	}
}

// Without a leader every master says that it works on the exchange, and gives no answer in time. That is trouble, not
// work.
func TestExchangeThatEveryMasterHoldsFails(t *testing.T) {
	hold := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusProcessing)
		<-r.Context().Done()
	}
	c := newClient(t, serve(t, hold).URL, serve(t, hold).URL)
	c.grace, c.cfg.Timeout = 50*time.Millisecond, 300*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, _, err := c.Exchange(ctx, "w", wire.Exchange{Incarnation: "i"})
	if err == nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
}

func TestExchangeHasAnEnd(t *testing.T) {
	forever := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusProcessing)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, wire.ExchangeAnswer{Enabled: true}) })
	c := newClient(t, forever.URL, good.URL)
	c.grace = 300 * time.Millisecond
	c.cfg.Silence, c.cfg.Quiet = time.Minute, time.Minute        // nothing but the end of the exchange ends it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the first master alone would hold the call for ever
	defer cancel()
	began := time.Now()
	a, sent, err := c.Exchange(ctx, "w", wire.Exchange{Incarnation: "i", WaitMs: 100})
	if err != nil || !a.Enabled {
		t.Fatal(a, err)
	}
	if d := time.Since(began); d < 400*time.Millisecond || d > c.cfg.Quiet {
		t.Fatalf("moved on after %v", d)
	}
	if sent.Sub(began) < 400*time.Millisecond {
		t.Fatal("sent must be the time of the attempt that was answered")
	}
}

func TestViewPages(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("status") != "7" || q.Get("project") != "null" || q.Get("order") != "-id" || q.Get("page_size") != "2" ||
			q.Get("columns") != "zeta,alpha,n" || q.Get("zeta.gt") != "1" || fmt.Sprint(q["n"]) != "[1 null]" ||
			q.Get("alpha.le") != "z" || q.Get("alpha.like") != "[x-z]%" {
			problem(w, 400, wire.Problem{Code: "invalid_argument", Detail: r.URL.RawQuery})
			return
		}
		if q.Get("page_token") == "" {
			io.WriteString(
				w,
				`{"index":9,"columns":[{"name":"zeta","type":"bigint"},{"name":"alpha","type":"sysname"},`+
					`{"name":"n","type":"int"}],"rows":[{"zeta":9007199254740993,"alpha":"x","n":null},`+
					`{"zeta":2,"alpha":"y","n":1}],"next_page_token":"t"}`,
			)
		} else {
			io.WriteString(w, `{"index":9,"rows":[{"zeta":3,"alpha":"z","n":1}]}`)
		}
	})
	c := newClient(t, m.URL)
	q := Query{Equal: map[string]any{"status": 7, "project": nil}, Order: []string{"-id"}, PageSize: 2,
		Columns: []string{"zeta", "alpha", "n"}, Where: []Predicate{
			{Column: "zeta", Operator: Greater, Values: []any{1}}, {Column: "n", Values: []any{1, nil}},
			{Column: "alpha", Operator: AtMost, Values: []any{"z"}}, {Column: "alpha", Operator: Like, Values: []any{"[x-z]%"}}}}
	p, err := c.View(t.Context(), "v", q)
	if err != nil || fmt.Sprint(p.Columns) != "[{zeta bigint} {alpha sysname} {n int}]" || p.Next != "t" || p.Index != 9 {
		t.Fatal(p, err)
	}
	if n, ok := p.Rows[0].Int("zeta"); !ok || n != 9007199254740993 {
		t.Fatal(n, ok)
	}
	if _, ok := p.Rows[0].Int("n"); ok {
		t.Fatal("NULL is no number")
	}
	var all []string
	for row, err := range c.Rows(t.Context(), "v", q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row.Text("alpha"))
	}
	if fmt.Sprint(all) != "[x y z]" {
		t.Fatal(all)
	}
	for _, err := range c.Rows(t.Context(), "v", Query{}) {
		if Code(err) != "invalid_argument" {
			t.Fatal(err)
		}
	}
}

func TestReadyTellsWhatIsMissing(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		reply(w, wire.Ready{Checks: []wire.Check{{Name: "leader", Detail: "none"}}})
	})
	r, err := newClient(t, m.URL).Ready(t.Context())
	if err != nil || r.Ready || len(r.Checks) != 1 {
		t.Fatal(r, err)
	}
}

func TestNoRedirects(t *testing.T) {
	evil := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.URL, http.StatusTemporaryRedirect)
	})
	if _, err := newClient(t, m.URL).Call(t.Context(), "p", nil); err == nil || evil.calls.Load() != 0 {
		t.Fatal(err, evil.calls.Load())
	}
}

func TestAMasterThatStopsIsLeft(t *testing.T) {
	stops := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		reply(w, wire.ExchangeAnswer{})
	})
	good := serve(t, func(w http.ResponseWriter, r *http.Request) { reply(w, wire.ExchangeAnswer{}) })
	c := newClient(t, stops.URL, good.URL)
	for range 3 {
		if _, _, err := c.Exchange(t.Context(), "w", wire.Exchange{Incarnation: "i"}); err != nil {
			t.Fatal(err)
		}
	}
	if stops.calls.Load() != 1 || good.calls.Load() != 2 {
		t.Fatal(stops.calls.Load(), good.calls.Load())
	}
}

// lateTransport returns a response although its call has been canceled, as net/http may do.
type lateTransport struct{ calls atomic.Int64 }

func (r *lateTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.calls.Add(1) > 1 {
		return &http.Response{
			StatusCode: 200,
			Header:     http.Header{},
			Body:       io.NopCloser(strings.NewReader(`{"return_value":5}`)),
		}, nil
	}
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GotConn(httptrace.GotConnInfo{})
	trace.WroteRequest(httptrace.WroteRequestInfo{})
	<-req.Context().Done()
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestAnAnswerAfterTheCancellationIsNone(t *testing.T) {
	r := &lateTransport{}
	c, err := New(
		Config{
			Masters:    []string{"https://a:1", "https://b:1"},
			HTTPClient: &http.Client{Transport: r},
			Silence:    20 * time.Millisecond,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Call(t.Context(), "p", nil); err != nil || got.ReturnValue != 5 || r.calls.Load() != 2 {
		t.Fatal(got, err, r.calls.Load())
	}
}
