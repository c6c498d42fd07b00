package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePlace is a place that a test changes.
type fakePlace struct {
	mu      sync.Mutex
	place   Place
	changed chan struct{}
}

func (c *fakePlace) where() Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.place
}

func (c *fakePlace) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *fakePlace) set(p Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place = p
	close(c.changed)
	c.changed = make(chan struct{})
}

type fixture struct {
	*fakePlace
	f    *Forwarder
	stop chan struct{}
}

var errUnknown = errors.New("unknown")

func newFixture(t *testing.T, tweak func(*Config)) *fixture {
	r := &fixture{fakePlace: &fakePlace{changed: make(chan struct{})}, stop: make(chan struct{})}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	cfg := Config{
		Self: "self", Name: "me", Where: r.where, Changed: r.change, Stopping: r.stop, Transport: tr,
		URL: func(l wire.Leader) string { return l.Address }, Hold: time.Second, Quiet: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
		Outcome: func(err error) Outcome {
			if errors.Is(err, errUnknown) {
				return Unknown
			}
			return Final
		},
	}
	if tweak != nil {
		tweak(&cfg)
	}
	var err error
	if r.f, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// leads points at a server.
func leads(id, url string, term uint64) Place {
	return Place{Leader: wire.Leader{ID: id, Name: id, Address: url, Term: term}, Known: true}
}

func leader(t *testing.T, h http.HandlerFunc) (string, *atomic.Int64) {
	calls := new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); h(w, r) }))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, calls
}

func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", wire.ContentProblem)
	w.WriteHeader(503)
	json.NewEncoder(w).Encode(wire.Problem{Status: 503, Code: code, Detail: "d"})
}

func ok(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s hop=%s", r.Method, b, r.Header.Get(wire.HeaderHop))
}

func call() *Call {
	return &Call{
		RequestID: "id", Caller: wire.Caller{Kind: "user", Name: "u"}, Received: time.Now(),
		Local: func(http.ResponseWriter, *http.Request) error { return errors.New("not here") },
	}
}

// request is a request as net/http's server hands it to a handler.
func request(t *testing.T, body string) *http.Request {
	ctx := context.WithValue(t.Context(), http.ServerContextKey, new(http.Server))
	return httptest.NewRequestWithContext(ctx, "POST", "https://x/path?q=1", strings.NewReader(body))
}

func TestHeadersOfAHop(t *testing.T) {
	r := newFixture(t, nil)
	var seen http.Header
	var uri string
	url, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		seen, uri = req.Header, req.RequestURI
		w.Header().Set("Scaleout-Internal-Secret", "x")
		w.Header().Set("Connection", "close")
		w.WriteHeader(201)
	})
	r.set(leads("l", url, 1))
	req := request(t, "")
	req.URL.RawPath, req.URL.Path = "/a%2Fb", "/a/b"
	req.Header = http.Header{
		"Scaleout-Internal-Caller": {"forged"}, "scaleout-internal-hop": {"forged"}, "Te": {"x"}, "X-Mine": {"kept"},
	}
	w := recorder()
	c := call()
	c.Received = time.Now().Add(-3 * time.Second)
	if err := r.f.Serve(w, req, c); err != nil {
		t.Fatal(err)
	}
	who, err := wire.DecodeCaller(seen.Get(wire.HeaderCaller))
	if err != nil || who.Name != "u" || !slices.Equal(seen.Values(wire.HeaderHop), []string{"me"}) ||
		seen.Get(wire.HeaderHopRequestID) != "id" || seen.Get("Te") != "" || seen.Get("X-Mine") != "kept" {
		t.Fatal(seen)
	}
	if ms, _ := strconv.Atoi(seen.Get(wire.HeaderElapsed)); ms < 3000 || ms > 10_000 {
		t.Fatal(seen.Get(wire.HeaderElapsed))
	}
	if uri != "/a%2Fb?q=1" {
		t.Fatal(uri)
	}
	if w.Code != 201 || w.Header().Get("Scaleout-Internal-Secret") != "" || w.Header().Get("Connection") != "" ||
		w.Header().Get(wire.HeaderForwardedBy) != "me" {
		t.Fatal(w.Code, w.Header())
	}
}

func TestArrivedNeverGoesOn(t *testing.T) {
	r := newFixture(t, nil)
	url, calls := leader(t, ok)
	r.set(leads("l", url, 1))
	c := call()
	c.Arrived, c.Repeatable = true, true
	if err := r.f.Serve(recorder(), request(t, ""), c); !errors.Is(err, command.ErrNotLeader) || calls.Load() != 0 {
		t.Fatal(err, calls.Load())
	}
	// And on the leader, an unknown outcome is told back: the master that passed the call on decides.
	r.set(Place{Known: true, Here: true, Leader: wire.Leader{ID: "self"}})
	n := 0
	c.Local = func(http.ResponseWriter, *http.Request) error { n++; return errUnknown }
	if err := r.f.Serve(recorder(), request(t, ""), c); !errors.Is(err, errUnknown) || n != 1 {
		t.Fatal(err, n)
	}
}

// A call that was passed on to a master just elected waits there until that master is ready: refused, it would only
// come again.
func TestArrivedWaitsForOneBeingEstablished(t *testing.T) {
	elected := Place{Known: true, Leader: wire.Leader{ID: "self", Term: 2}}
	ready := elected
	ready.Here = true
	for _, x := range []struct {
		name string
		then Place
		want error
	}{
		{"ready", ready, nil},
		{"another is elected", leads("other", "http://nowhere", 3), command.ErrNotLeader},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFixture(t, nil)
				r.set(elected)
				c := call()
				c.Arrived = true
				c.Local = func(http.ResponseWriter, *http.Request) error { return nil }
				began, done := time.Now(), make(chan error)
				go func() { done <- r.f.Serve(recorder(), request(t, ""), c) }()
				synctest.Wait()
				r.set(x.then)
				if err := <-done; !errors.Is(err, x.want) || time.Since(began) > 0 {
					t.Fatal(err, time.Since(began))
				}
			})
		})
	}
}

// A call whose leader changed while it failed goes to the next leader without a pause. A call that has nowhere else to
// go pauses.
func TestAnotherPlaceIsTriedAtOnce(t *testing.T) {
	place := func(term uint64) Place {
		return Place{Known: true, Here: true, Leader: wire.Leader{ID: "self", Term: term}}
	}
	for _, moves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newFixture(t, func(c *Config) { c.Outcome = func(error) Outcome { return NotApplied } })
			r.set(place(1))
			c := call()
			calls := 0
			c.Local = func(http.ResponseWriter, *http.Request) error {
				if calls++; calls > 1 {
					return nil
				}
				if moves {
					r.set(place(2))
				}
				return errors.New("not any more")
			}
			began := time.Now()
			if err := r.f.Serve(recorder(), request(t, ""), c); err != nil || (time.Since(began) == 0) != moves {
				t.Fatal(err, moves, time.Since(began))
			}
		})
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	gone := "http://" + l.Addr().String()
	for _, x := range []struct {
		name  string
		first http.HandlerFunc // nil: refuses connections
		again bool
		want  error // nil: the second attempt's answer
		times int64
	}{
		{"not connected", nil, false, nil, 0},
		{"not_leader", func(w http.ResponseWriter, _ *http.Request) { refuse(w, wire.CodeNotLeader) }, false, nil, 1},
		{"stopping", func(w http.ResponseWriter, _ *http.Request) { refuse(w, wire.CodeStopping) }, false, nil, 1},
		{"unknown, repeatable",
			func(w http.ResponseWriter, _ *http.Request) { refuse(w, wire.CodeUnknownOutcome) }, true, nil, 1},
		{"broken, repeatable", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, nil, 1},
		{"broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false,
			command.ErrUnknownOutcome, 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newFixture(t, nil)
			second, _ := leader(t, ok)
			first, calls := gone, new(atomic.Int64)
			if x.first != nil {
				first, calls = leader(t, func(w http.ResponseWriter, req *http.Request) {
					r.set(leads("second", second, 1)) // known by the time the call is tried again
					x.first(w, req)
				})
			} else {
				time.AfterFunc(50*time.Millisecond, func() { r.set(leads("second", second, 1)) })
			}
			r.set(leads("first", first, 1))
			c := call()
			c.Repeatable, c.Body = x.again, []byte("body")
			c.Stays = true // here it is the answers that count, not the news of another leader
			w := recorder()
			err := r.f.Serve(w, request(t, ""), c)
			if !errors.Is(err, x.want) || x.want == nil && w.Body.String() != "POST body hop=me" {
				t.Fatal(err, w.Body.String())
			}
			if calls.Load() != x.times {
				t.Fatal(calls.Load())
			}
		})
	}
}

func TestUnknownPassesOn(t *testing.T) {
	r := newFixture(t, nil)
	url, calls := leader(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, wire.CodeUnknownOutcome) })
	r.set(leads("l", url, 1))
	w := recorder()
	err := r.f.Serve(w, request(t, ""), call())
	if err != nil || w.Code != 503 || !strings.Contains(w.Body.String(), wire.CodeUnknownOutcome) || calls.Load() != 1 {
		t.Fatal(err, w.Code, calls.Load())
	}
}

// TestDoubtStays: once a call may have been applied, no later failure may say that it was not.
func TestDoubtStays(t *testing.T) {
	r := newFixture(t, func(c *Config) { c.Hold = 200 * time.Millisecond })
	url, _ := leader(t, func(http.ResponseWriter, *http.Request) {
		r.set(Place{})
		panic(http.ErrAbortHandler)
	})
	r.set(leads("l", url, 1))
	c := call()
	c.Repeatable = true
	err := r.f.Serve(recorder(), request(t, ""), c)
	if !errors.Is(err, command.ErrUnknownOutcome) || !errors.Is(err, command.ErrNoLeader) {
		t.Fatal(err)
	}
}

func TestNewsOfAnotherLeader(t *testing.T) {
	for name, news := range map[string]func(second string) Place{
		"another leader": func(s string) Place { return leads("second", s, 1) },
		"a higher term":  func(s string) Place { return leads("first", s, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, nil)
			second, _ := leader(t, ok)
			first, _ := leader(t, func(_ http.ResponseWriter, req *http.Request) {
				io.Copy(io.Discard, req.Body)
				p := leads("first", "", 1)
				p.Known = false
				r.set(p) // out of sight is not lost
				r.set(news(second))
				<-req.Context().Done()
			})
			r.set(leads("first", first, 1))
			c := call()
			c.Repeatable = true
			w := recorder()
			if err := r.f.Serve(w, request(t, ""), c); err != nil || w.Code != 200 {
				t.Fatal(err, w.Code)
			}
		})
	}
}

func TestSilentLeader(t *testing.T) {
	const quiet = 2 * time.Second // long enough for a busy machine to give the signs of life in time
	r := newFixture(t, func(c *Config) { c.Quiet = quiet })
	var n atomic.Int64
	url, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		if n.Add(1) == 1 {
			<-req.Context().Done()
			return
		}
		for range 6 { // signs of life keep it, however long it takes
			w.WriteHeader(http.StatusProcessing)
			select {
			case <-time.After(quiet / 5):
			case <-req.Context().Done():
				return
			}
		}
		io.WriteString(w, "done")
	})
	r.set(leads("l", url, 1))
	c := call()
	c.Repeatable = true
	w := recorder()
	if err := r.f.Serve(w, request(t, ""), c); err != nil || w.Body.String() != "done" || n.Load() != 2 {
		t.Fatal(err, w.Body.String(), n.Load())
	}
}

// quietRecorder takes 102 as net/http does; httptest's takes it for the final status.
type quietRecorder struct{ *httptest.ResponseRecorder }

func (q quietRecorder) WriteHeader(code int) {
	if code >= 200 {
		q.ResponseRecorder.WriteHeader(code)
	}
}

func recorder() quietRecorder { return quietRecorder{httptest.NewRecorder()} }

func TestStopping(t *testing.T) {
	// A held call of a master that stops still gets its successor's answer, or is told to go elsewhere.
	r := newFixture(t, func(c *Config) { c.Hold = 20 * time.Second })
	url, _ := leader(t, ok)
	close(r.stop)
	time.AfterFunc(50*time.Millisecond, func() { r.set(leads("l", url, 2)) })
	w := recorder()
	if err := r.f.Serve(w, request(t, ""), call()); err != nil || w.Code != 200 {
		t.Fatal(err)
	}
	r.set(Place{})
	if err := r.f.Serve(recorder(), request(t, ""), call()); !errors.Is(err, command.ErrStopping) {
		t.Fatal(err)
	}
}

func TestCallerGone(t *testing.T) {
	r := newFixture(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := leader(t, func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		cancel()
		<-req.Context().Done()
	})
	r.set(leads("l", url, 1))
	c := call()
	c.Repeatable = true
	if err := r.f.Serve(recorder(), request(t, "").WithContext(ctx), c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestBrokenAnswerLooksBroken(t *testing.T) {
	r := newFixture(t, nil)
	url, _ := leader(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r.set(leads("l", url, 1))
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // the server compares it like this too
			t.Fatal("half an answer must abort the connection")
		}
	}()
	err := r.f.Serve(recorder(), request(t, ""), call())
	t.Fatal("returned", err)
}

// racer answers like a transport whose response wins against the end of its call.
type racer struct {
	calls atomic.Int64
	news  func()
}

func (r *racer) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.calls.Add(1) == 1 {
		httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
		r.news()
		<-req.Context().Done()
		return &http.Response{StatusCode: 499, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestAnswerOfADroppedCallIsNone(t *testing.T) {
	tr := &racer{}
	r := newFixture(t, func(c *Config) { c.Transport = tr })
	tr.news = func() { r.set(leads("second", "http://b", 2)) }
	r.set(leads("first", "http://a", 1))
	c := call()
	c.Repeatable = true
	w := recorder()
	if err := r.f.Serve(w, request(t, ""), c); err != nil || w.Code != 200 || tr.calls.Load() != 2 {
		t.Fatal(err, w.Code, tr.calls.Load())
	}
}

// A caller that wants to hear soon that nobody leads is not held for longer; one that would wait longer is not held
// beyond this master's own time.
func TestALeaderIsWaitedForAsLongAsTheCallerWants(t *testing.T) {
	for _, x := range []struct{ wait, most time.Duration }{
		{time.Second, time.Second}, {0, 10 * time.Second}, {time.Hour, 10 * time.Second},
	} {
		t.Run(x.wait.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFixture(t, func(c *Config) { c.Hold = 10 * time.Second })
				c := call()
				c.LeaderWait = x.wait
				began := time.Now()
				err := r.f.Serve(recorder(), request(t, "x"), c)
				if took := time.Since(began); !errors.Is(err, command.ErrNoLeader) || took > x.most || took < x.most*7/10 {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}
