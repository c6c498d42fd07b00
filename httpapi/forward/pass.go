package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scaleout/httpapi/wire"
)

var (
	errMoved   = errors.New("another master was elected while the leader worked on the call")
	errStopped = errors.New("this master stops")
	errSilent  = errors.New("the leader shows no sign of life")
)

// pass sends the call to the leader and writes its answer. An error means that nothing was written.
func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, call *Call, place Place, changed <-chan struct{}) (Fate, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	life := newLife(f.cfg.Quiet, func() { cancel(errSilent) })
	defer life.end()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		f.watch(ctx, cancel, call, place, changed)
	}()
	// The watcher ends with ctx; waiting for it keeps every goroutine inside the call.
	defer func() { cancel(nil); <-watching }()

	var reached atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			life.sign()
			if code == http.StatusProcessing {
				w.WriteHeader(http.StatusProcessing)
			}
			return nil
		},
	}
	req, body, err := f.request(httptrace.WithClientTrace(ctx, trace), r, call, place, life)
	if err != nil {
		return Final, err
	}
	resp, err := f.cfg.Client.Do(req)
	if err == nil && ctx.Err() != nil {
		// net/http may still deliver what the leader wrote when it saw the call dropped: that is no answer.
		resp.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cause := context.Cause(ctx)
		if errors.Is(cause, errStopped) {
			f.tries.WithLabelValues("stopped").Inc()
			return Final, call.Stopped(w)
		}
		if cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return f.failed(r, place, err, reached.Load(), body.touched())
	}
	defer resp.Body.Close()
	life.sign()
	if resp.StatusCode == http.StatusServiceUnavailable && isProblem(resp) {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return f.failed(r, place, err, true, body.touched())
		}
		if fate, err := refused(text); err != nil && !body.touched() {
			f.tries.WithLabelValues("refused").Inc()
			if fate != Unknown || call.Again {
				return fate, err
			}
		}
		resp.Body = io.NopCloser(bytes.NewReader(text))
	}
	f.tries.WithLabelValues("answered").Inc()
	f.answer(w, r, resp, life)
	return Final, nil
}

// failed classifies an exchange with the leader that brought no answer.
func (f *Forwarder) failed(r *http.Request, place Place, err error, reached, touched bool) (Fate, error) {
	result, fate := "unreachable", NotApplied
	switch {
	case r.Context().Err() != nil:
		f.tries.WithLabelValues("canceled").Inc()
		return Final, context.Cause(r.Context())
	case errors.Is(err, errMoved):
		result, fate = "moved", Unknown
	case errors.Is(err, errSilent):
		result, fate = "silent", Unknown
	case reached:
		result, fate = "broken", Unknown
	}
	f.tries.WithLabelValues(result).Inc()
	f.log.LogAttrs(r.Context(), slog.LevelInfo, "call not answered by the leader", slog.String("leader", place.Leader.Name),
		slog.String("path", r.URL.Path), slog.String("result", result), slog.Any("error", err))
	switch {
	case !reached:
		// Nothing was sent: a change of leader while we dialled does not make the outcome unknown.
		fate = NotApplied
		err = &unreachable{fmt.Errorf("the leader %s could not be reached: %w", place.Leader.Name, err)}
	case fate == Unknown:
		err = fmt.Errorf("%w (%w)", errLost, err)
	}
	if touched {
		// The rest of a streamed body cannot be sent from its beginning again.
		return Final, fmt.Errorf("%w (%w)", errLost, err)
	}
	return fate, err
}

// refused reads the leader's structured refusals: those that say that nothing, or nobody knows what, happened.
func refused(text []byte) (Fate, error) {
	var p wire.Problem
	if json.Unmarshal(text, &p) != nil {
		return Final, nil
	}
	switch p.Code {
	case wire.CodeNotLeader, wire.CodeNoLeader, wire.CodeStopping:
		return NotApplied, &unreachable{fmt.Errorf("the master taken for the leader refused: %s", p.Detail)}
	case wire.CodeUnknownOutcome:
		return Unknown, fmt.Errorf("%w: %s", errLost, p.Detail)
	}
	return Final, nil
}

func isProblem(resp *http.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && kind == wire.ContentProblem
}

// watch cancels the call when this node hears of another leader or a higher term. Merely losing the leader out of
// sight does not cancel: it may be back before anybody else is elected.
func (f *Forwarder) watch(ctx context.Context, cancel context.CancelCauseFunc, call *Call, sent Place, changed <-chan struct{}) {
	var stopping <-chan struct{}
	if call.Stopped != nil {
		stopping = f.cfg.Stopping
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			cancel(errStopped)
			return
		case <-changed:
		}
		changed = f.cfg.Changed()
		now := f.cfg.Where()
		if call.Stays {
			continue
		}
		if now.Leader.Term > sent.Leader.Term || (now.Known && now.Leader.ID != sent.Leader.ID) {
			cancel(errMoved)
			return
		}
	}
}

// Hop-by-hop headers belong to one connection.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func (f *Forwarder) request(ctx context.Context, r *http.Request, call *Call, place Place, life *life) (*http.Request, *stream, error) {
	url := strings.TrimRight(f.cfg.URL(place.Leader), "/") + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("forward: %w", err)
	}
	req.Header = Strip(r.Header.Clone())
	for _, h := range hopByHop {
		req.Header.Del(h)
	}
	req.Header.Del("Expect") // answered here already
	req.Header.Set(wire.HeaderHop, f.cfg.Name)
	req.Header.Set(wire.HeaderCaller, wire.EncodeCaller(call.Caller))
	req.Header.Set(wire.HeaderHopRequestID, call.RequestID)
	req.Header.Set(wire.HeaderElapsed, strconv.FormatInt(time.Since(call.Received).Milliseconds(), 10))
	var s *stream
	switch {
	case call.streams(r):
		s = &stream{once: once{ReadCloser: r.Body}, life: life}
		req.Body, req.ContentLength = s, r.ContentLength
	case len(call.Body) > 0:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(call.Body)), int64(len(call.Body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(call.Body)), nil }
	}
	return req, s, nil
}

// answer writes the leader's answer. A transfer that breaks off must look broken to the caller too.
func (f *Forwarder) answer(w http.ResponseWriter, r *http.Request, resp *http.Response, life *life) {
	for _, h := range hopByHop {
		resp.Header.Del(h)
	}
	h := w.Header()
	for k, v := range Strip(resp.Header) {
		h[k] = v
	}
	h.Set(wire.HeaderForwardedBy, f.cfg.Name)
	w.WriteHeader(resp.StatusCode)
	flush := resp.ContentLength < 0
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		life.sign()
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				panic(http.ErrAbortHandler)
			}
			if flush {
				_ = http.NewResponseController(w).Flush()
			}
		}
		switch {
		case err == io.EOF:
			return
		case err != nil:
			f.log.LogAttrs(r.Context(), slog.LevelInfo, "the leader's answer broke off", slog.String("path", r.URL.Path), slog.Any("error", err))
			panic(http.ErrAbortHandler)
		}
	}
}

// Strip removes the headers that only masters may set.
func Strip(h http.Header) http.Header {
	for k := range h {
		if len(k) >= len(wire.InternalPrefix) && strings.EqualFold(k[:len(wire.InternalPrefix)], wire.InternalPrefix) {
			delete(h, k)
		}
	}
	return h
}

// once is a streamed body, which nobody can read from its beginning again once something of it was read. Close does not
// close the caller's body: the server does that, and the caller's next request must not be lost with it.
type once struct {
	io.ReadCloser
	read atomic.Bool
}

func (o *once) Read(p []byte) (int, error) {
	o.read.Store(true)
	return o.ReadCloser.Read(p)
}

func (o *once) Close() error { return nil }

func (o *once) touched() bool { return o != nil && o.read.Load() }

// stream is such a body on its way to the leader.
type stream struct {
	once
	life *life
}

func (s *stream) Read(p []byte) (int, error) {
	s.life.pause() // now it is the caller who is waited for
	n, err := s.once.Read(p)
	s.life.sign()
	return n, err
}

func (s *stream) touched() bool { return s != nil && s.once.touched() }

// life ends a call whose other side shows none.
type life struct {
	quiet time.Duration
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

func newLife(quiet time.Duration, dead func()) *life {
	return &life{quiet: quiet, timer: time.AfterFunc(quiet, dead)}
}

func (l *life) sign() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.timer.Reset(l.quiet)
	}
}

func (l *life) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
}

func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.timer.Stop()
}
