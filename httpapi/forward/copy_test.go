package forward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/httpapi/wire"
)

// follower serves calls by passing them on, and tells how each ended.
func follower(t *testing.T, r *fixture, tweak func(*Call)) (url string, ended <-chan any) {
	out := make(chan any, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				out <- p
				panic(p)
			}
		}()
		c := call()
		c.Stream = true
		if tweak != nil {
			tweak(c)
		}
		if !c.Stream {
			c.Body, _ = io.ReadAll(req.Body)
		}
		w.Header().Set("X-Own", "kept")
		out <- r.f.Serve(w, req, c)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, out
}

// raw sends text over a connection and returns the response as it came.
func raw(t *testing.T, url, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHopByHopHeadersEndAtTheHop(t *testing.T) {
	hop := map[string]string{
		"Connection": "X-Named, X-Other,Idempotency-Key, Scaleout-Key-Origin", "X-Named": "1", "X-Other": "1",
		"Proxy-Connection": "keep-alive", "Keep-Alive": "timeout=5", "Proxy-Authenticate": "Basic",
		"Proxy-Authorization": "Basic x", "Te": "gzip", "Upgrade": "h2c",
	}
	r := newFixture(t, nil)
	var seen http.Header
	leading, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		seen = req.Header
		w.Header().Set("X-End", "to end")
		for k, v := range hop {
			w.Header().Set(k, v)
		}
	})
	r.set(leads("l", leading, 1))
	req := request(t, "")
	for k, v := range hop {
		req.Header.Set(k, v)
	}
	req.Header.Add("Connection", "Upgrade")
	req.Header.Set("Expect", "100-continue")
	req.Header.Set("X-End", "to end")
	req.Header.Set(wire.HeaderKey, "chosen")
	req.Header.Set(wire.HeaderKeyOrigin, wire.KeyOriginLibrary)
	w := recorder()
	if err := r.f.Serve(w, req, call()); err != nil {
		t.Fatal(err)
	}
	for k := range hop {
		if seen.Get(k) != "" {
			t.Errorf("the leader got %s: %q", k, seen.Get(k))
		}
		if w.Header().Get(k) != "" {
			t.Errorf("the caller got %s: %q", k, w.Header().Get(k))
		}
	}
	if seen.Get("Expect") != "" || seen.Get("X-End") != "to end" || w.Header().Get("X-End") != "to end" {
		t.Error(seen, w.Header())
	}
	// Without its key the leader would give the call another one, and a repeated call would be another call.
	if seen.Get(wire.HeaderKey) != "chosen" || seen.Get(wire.HeaderKeyOrigin) != wire.KeyOriginLibrary {
		t.Errorf("the key was lost: %v", seen)
	}
}

func TestTrailersOfTheAnswer(t *testing.T) {
	r := newFixture(t, nil)
	leading, _ := leader(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, Scaleout-Internal-Told")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "7")
		w.Header().Set("Scaleout-Internal-Told", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "8")
		w.Header().Set(http.TrailerPrefix+"Scaleout-Internal-Late", "1")
	})
	r.set(leads("l", leading, 1))
	url, _ := follower(t, r, nil)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || string(b) != "body" || resp.Trailer.Get("X-Sum") != "7" || resp.Trailer.Get("X-Late") != "8" {
		t.Errorf("%v, %q, trailers %v", err, b, resp.Trailer)
	}
	for k := range resp.Trailer {
		if internal(k) {
			t.Errorf("the caller got %s", k)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestTrailersOfAStreamedCall(t *testing.T) {
	r := newFixture(t, nil)
	leading, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s, sum %s", b, req.Trailer.Get("X-Sum"))
	})
	r.set(leads("l", leading, 1))
	url, _ := follower(t, r, nil)
	got := raw(t, url, "PUT / HTTP/1.1\nHost: x\nConnection: close\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n"+
		"4\nbody\n0\nX-Sum: 7\n\n")
	if !strings.Contains(got, "body, sum 7") {
		t.Error(got)
	}
}

// Of the 1xx responses of the leader, 102 Processing tells the caller that the call is worked on. The others are about
// the leader's connection, and none has headers for the answer.
func TestInformationalResponses(t *testing.T) {
	r := newFixture(t, nil)
	leading, _ := leader(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</x>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Link")
		io.WriteString(w, "done")
	})
	r.set(leads("l", leading, 1))
	url, _ := follower(t, r, nil)
	var codes []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			codes = append(codes, code)
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := send(t, req)
	if !slices.Equal(codes, []int{http.StatusProcessing}) || resp.Header.Get("Link") != "" ||
		resp.Header.Get("X-Own") != "kept" || resp.Header.Get(wire.HeaderForwardedBy) != "me" {
		t.Error(codes, resp.Header)
	}
}

// What the leader writes reaches the caller when it is written, before the answer has ended.
func TestAnAnswerIsNotHeldBack(t *testing.T) {
	r := newFixture(t, nil)
	read := make(chan struct{})
	leading, _ := leader(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, s := range []string{"", "first\n", "second\n"} { // the headers alone, too
			io.WriteString(w, s)
			http.NewResponseController(w).Flush()
			<-read
		}
	})
	r.set(leads("l", leading, 1))
	url, _ := follower(t, r, nil)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	read <- struct{}{}
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"first\n", "second\n"} {
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		read <- struct{}{}
	}
}

func TestBodiesOfBothDirections(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	r := newFixture(t, nil)
	lengths := make(chan int64, 1)
	leading, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		lengths <- req.ContentLength
		if req.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(req.ContentLength))
		}
		b, _ := io.ReadAll(req.Body)
		w.Write(b)
	})
	r.set(leads("l", leading, 1))
	for _, c := range []struct {
		name   string
		length int64
		stream bool
	}{
		{"streamed, length known", int64(len(big)), true},
		{"streamed, length unknown", -1, true},
		{"in memory", int64(len(big)), false},
		{"in memory, came in chunks", -1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, _ := follower(t, r, func(call *Call) { call.Stream = c.stream })
			req, err := http.NewRequestWithContext(t.Context(), "PUT", url, io.NopCloser(bytes.NewReader(big)))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = c.length
			resp := send(t, req)
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, big) {
				t.Errorf("%v, %d bytes came back of %d", err, len(got), len(big))
			}
			want := c.length
			if !c.stream {
				want = int64(len(big))
			}
			if at := <-lengths; at != want || resp.ContentLength != want {
				t.Errorf("the leader saw a length of %d, the caller of %d; want %d", at, resp.ContentLength, want)
			}
		})
	}
}

// A caller who goes away in the middle of the answer frees the leader of the call.
func TestCallerGoneWhileTheAnswerComes(t *testing.T) {
	r := newFixture(t, nil)
	freed := make(chan struct{})
	leading, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		defer close(freed)
		for req.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	r.set(leads("l", leading, 1))
	url, ended := follower(t, r, nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := send(t, req)
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-freed
	if p := <-ended; p != http.ErrAbortHandler { //nolint:errorlint // what was recovered is no error by type
		t.Errorf("the call ended with %v; want ErrAbortHandler", p)
	}
}

// A leader whose answer ends too early has applied the call, or not: the caller must not take the half for the whole.
func TestAnAnswerThatBreaksOffIsNotComplete(t *testing.T) {
	for _, c := range []struct{ name, length string }{{"length known", "100"}, {"length unknown", ""}} {
		t.Run(c.name, func(t *testing.T) {
			r := newFixture(t, nil)
			leading, _ := leader(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.length != "" {
					w.Header().Set("Content-Length", c.length)
				}
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			r.set(leads("l", leading, 1))
			url, ended := follower(t, r, nil)
			resp, err := http.Get(url)
			if err == nil {
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
			}
			if p := <-ended; err == nil || p != http.ErrAbortHandler { //nolint:errorlint // as above
				t.Errorf("the caller saw %v, the call ended with %v", err, p)
			}
		})
	}
}

// A redirect is the answer: the forwarder goes to no other address.
func TestARedirectIsAnAnswer(t *testing.T) {
	r := newFixture(t, nil)
	leading, calls := leader(t, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/elsewhere", http.StatusFound)
	})
	r.set(leads("l", leading, 1))
	w := recorder()
	if err := r.f.Serve(w, request(t, ""), call()); err != nil || w.Code != http.StatusFound || calls.Load() != 1 {
		t.Error(err, w.Code, calls.Load())
	}
}

// A caller who asks for another protocol gets the answer to the call in this one.
func TestNoProtocolIsSwitched(t *testing.T) {
	r := newFixture(t, nil)
	leading, _ := leader(t, ok)
	r.set(leads("l", leading, 1))
	url, _ := follower(t, r, nil)
	for _, protocol := range []string{"websocket", "caf\xe9"} {
		got := raw(t, url, "GET / HTTP/1.1\nHost: x\nConnection: close, Upgrade\nUpgrade: "+protocol+"\n\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("%q: %s", protocol, got)
		}
	}
}

// send sends a request over a connection of its own, which ends with the test.
func send(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// slowWriter is a caller who takes each piece of the answer late.
type slowWriter struct {
	quietRecorder
	pause time.Duration
}

func (s slowWriter) Write(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.quietRecorder.Write(p)
}

// pieces is an answer in several reads.
type pieces struct{ left int }

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.left--
	return copy(b, "x"), nil
}

type answering struct{ body io.Reader }

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
	body := readerContext{req.Context(), a.body}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: 3}, nil
}

// readerContext reads as net/http does: not once the request was dropped.
type readerContext struct {
	ctx context.Context
	io.Reader
}

func (r readerContext) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// A caller who is slow to take the answer is not taken for a leader that is silent.
func TestASlowCallerIsNotASilentLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFixture(t, func(c *Config) { c.Transport, c.Quiet = answering{&pieces{3}}, time.Second })
		r.set(leads("l", "http://l", 1))
		w := slowWriter{recorder(), 3 * time.Second}
		if err := r.f.Serve(w, request(t, ""), call()); err != nil || w.Body.String() != "xxx" {
			t.Errorf("%v, %q", err, w.Body)
		}
	})
}

// lateReader fails a call and begins to read its body afterwards, as net/http's writer may.
type lateReader struct {
	read   chan struct{}
	result chan error
	calls  int
}

func (l *lateReader) RoundTrip(req *http.Request) (*http.Response, error) {
	if l.calls++; l.calls > 1 {
		close(l.read)
		<-l.result
		b, err := io.ReadAll(req.Body)
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(b))}, err
	}
	go func() {
		<-l.read
		_, err := req.Body.Read(make([]byte, 1))
		l.result <- err
	}()
	return nil, errors.New("connection refused")
}

// A streamed body belongs to one attempt: what is left over of an earlier one gets nothing of it.
func TestALateReadTakesNothing(t *testing.T) {
	tr := &lateReader{read: make(chan struct{}), result: make(chan error, 1)}
	r := newFixture(t, func(c *Config) { c.Transport = tr })
	r.set(leads("l", "http://l", 1))
	c := call()
	c.Stream = true
	w := recorder()
	if err := r.f.Serve(w, request(t, "whole"), c); err != nil || w.Body.String() != "whole" || tr.calls != 2 {
		t.Error(err, w.Body, tr.calls)
	}
}

// What is sealed was not read, and will not be.
func TestASealedBodyIsNotRead(t *testing.T) {
	b := &onceBody{ReadCloser: io.NopCloser(strings.NewReader("x"))}
	for range 2 {
		if !b.seal() {
			t.Error("an untouched body was not sealed")
		}
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errSealed) {
		t.Errorf("%d, %v", n, err)
	}
	b = &onceBody{ReadCloser: io.NopCloser(strings.NewReader("x"))}
	if _, err := b.Read(make([]byte, 1)); err != nil || b.seal() {
		t.Errorf("%v: a body that was read counts as untouched", err)
	}
}
