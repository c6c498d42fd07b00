package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

var (
	errMoved   = errors.New("another master was elected while the leader worked on the call")
	errStopped = errors.New("this master stops")
	errSilent  = errors.New("the leader gave no sign of life")
	// errLost: the leader got the call and gave no answer, and the call must not be repeated.
	errLost = fmt.Errorf("%w: the leader was lost while it worked on the call", command.ErrUnknownOutcome)
)

// attempt is one try to get the answer of the leader. net/http/httputil copies headers, bodies and trailers; what an
// attempt that brings no answer means for the call is decided here.
type attempt struct {
	*Forwarder
	call    *Call
	place   Place
	ctx     context.Context // ends with the call, or with a cause of watch or idle
	idle    *idleTimer
	target  *url.URL
	body    *onceBody // nil if the body is in memory
	reached atomic.Bool
	failure error // why there is no answer
}

// pass sends the call to the leader and copies the answer to w. An error means that nothing was written to w.
func (f *Forwarder) pass(
	w http.ResponseWriter, r *http.Request, call *Call, place Place, changed <-chan struct{},
) (Outcome, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	a := &attempt{Forwarder: f, call: call, place: place}
	a.idle = newIdleTimer(f.cfg.Quiet, func() { cancel(errSilent) })
	defer a.idle.end()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		f.watch(ctx, cancel, call, place, changed)
	}()
	// The watcher ends with ctx; waiting for it keeps every goroutine inside the call.
	defer func() { cancel(nil); <-watching }()

	var err error
	a.target, err = url.Parse(strings.TrimRight(f.cfg.URL(place.Leader), "/") + r.URL.EscapedPath())
	if err != nil {
		return Final, fmt.Errorf("forward: %w", err)
	}
	a.target.RawQuery = r.URL.RawQuery
	a.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { a.reached.Store(true) },
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			a.idle.restart()
			return nil
		},
	})
	proxy := httputil.ReverseProxy{
		Transport: f.cfg.Transport, Rewrite: a.rewrite, ModifyResponse: a.accept,
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { a.failure = err },
		ErrorLog:     log.New(io.Discard, "", 0), // answerBody logs what breaks off
		BufferPool:   buffers{},
	}
	proxy.ServeHTTP(newAnswerWriter(w), a.request(r))
	if a.failure == nil {
		stripTrailers(w.Header())
		return Final, nil
	}
	return a.failed(w, r)
}

// request returns r with the body and the context of this attempt.
func (a *attempt) request(r *http.Request) *http.Request {
	r.Header.Del("Upgrade") // no protocol is switched across a hop
	in := r.WithContext(a.ctx)
	if a.call.streams(r) {
		a.body = &onceBody{ReadCloser: r.Body}
		in.Body = &uploadBody{a.body, a.idle}
		return in
	}
	in.Body, in.ContentLength, in.TransferEncoding, in.Trailer = http.NoBody, int64(len(a.call.Body)), nil, nil
	if len(a.call.Body) > 0 {
		in.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.call.Body)), nil }
		in.Body, _ = in.GetBody()
	}
	return in
}

// rewrite addresses the request to the leader. Hop-by-hop headers are gone already.
func (a *attempt) rewrite(p *httputil.ProxyRequest) {
	out := p.Out
	out.URL, out.Host = a.target, a.target.Host
	out.Trailer = p.In.Trailer // filled as the body is read, so it has to be the same map
	h := Strip(out.Header)
	h.Del("Expect") // answered here already
	// The key is this master's word that the call may be repeated: a caller that names its header in Connection must not
	// get it lost on the way.
	for _, name := range []string{wire.HeaderKey, wire.HeaderKeyOrigin} {
		if v, ok := p.In.Header[name]; ok {
			h[name] = v
		}
	}
	h.Set(wire.HeaderHop, a.cfg.Name)
	h.Set(wire.HeaderCaller, wire.EncodeCaller(a.call.Caller))
	h.Set(wire.HeaderHopRequestID, a.call.RequestID)
	h.Set(wire.HeaderElapsed, strconv.FormatInt(time.Since(a.call.Received).Milliseconds(), 10))
}

// accept decides whether the leader's response is the answer; an error means that it is not.
func (a *attempt) accept(resp *http.Response) error {
	if a.ctx.Err() != nil {
		// net/http may still deliver what the leader wrote when it saw the call dropped: that is no answer.
		return context.Cause(a.ctx)
	}
	a.idle.restart()
	if resp.StatusCode == http.StatusServiceUnavailable && isProblem(resp) {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return err
		}
		if no := refused(text); no != nil && (no.outcome != Unknown || a.call.Repeatable) && a.body.seal() {
			return no
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(text))
	}
	a.tries.WithLabelValues("answered").Inc()
	Strip(resp.Trailer)
	Strip(resp.Header).Set(wire.HeaderForwardedBy, a.cfg.Name)
	resp.Body = &answerBody{resp.Body, a}
	return nil
}

// failed says what an attempt that brought no answer means for the call.
func (a *attempt) failed(w http.ResponseWriter, r *http.Request) (Outcome, error) {
	err, cause := a.failure, context.Cause(a.ctx)
	var no *refusal
	switch {
	case errors.Is(cause, errStopped):
		a.tries.WithLabelValues("stopped").Inc()
		return Final, a.call.Stopped(w)
	case errors.As(err, &no):
		a.tries.WithLabelValues("refused").Inc()
		return no.outcome, no.err
	case r.Context().Err() != nil:
		a.tries.WithLabelValues("canceled").Inc()
		return Final, context.Cause(r.Context())
	case cause != nil && !errors.Is(err, cause):
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	result, outcome := "broken", Unknown
	switch {
	case errors.Is(err, errMoved):
		result = "moved"
	case errors.Is(err, errSilent):
		result = "silent"
	case !a.reached.Load():
		result = "unreachable"
	}
	a.tries.WithLabelValues(result).Inc()
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "call not answered by the leader",
		slog.String(logkey.Leader, a.place.Leader.Name), slog.String(logkey.Path, r.URL.Path),
		slog.String(logkey.Result, result), slog.Any(logkey.Err, err))
	if a.reached.Load() {
		err = fmt.Errorf("%w (%w)", errLost, err)
	} else {
		// Nothing was sent: a change of leader while we dialled does not make the outcome unknown.
		outcome = NotApplied
		err = &unreachable{fmt.Errorf("the leader %s could not be reached: %w", a.place.Leader.Name, err)}
	}
	if !a.body.seal() {
		// The rest of a streamed body cannot be sent from its beginning again.
		return Final, fmt.Errorf("%w (%w)", errLost, err)
	}
	return outcome, err
}

// refusal is a response of the leader that says that nothing, or nobody knows what, happened.
type refusal struct {
	outcome Outcome
	err     error
}

func (r *refusal) Error() string { return r.err.Error() }

// refused reads a problem document. It returns nil if that is an answer like any other.
func refused(text []byte) *refusal {
	var p wire.Problem
	if json.Unmarshal(text, &p) != nil {
		return nil
	}
	switch p.Code {
	case wire.CodeNotLeader, wire.CodeNoLeader, wire.CodeStopping:
		return &refusal{NotApplied, &unreachable{fmt.Errorf("the master taken for the leader refused: %s", p.Detail)}}
	case wire.CodeUnknownOutcome:
		return &refusal{Unknown, fmt.Errorf("%w: %s", errLost, p.Detail)}
	}
	return nil
}

func isProblem(resp *http.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && kind == wire.ContentProblem
}

// watch cancels the call when this node hears of another leader or a higher term. Merely losing the leader out of
// sight does not cancel: it may be back before anybody else is elected.
func (f *Forwarder) watch(
	ctx context.Context, cancel context.CancelCauseFunc, call *Call, sent Place, changed <-chan struct{},
) {
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

// answerWriter writes the leader's answer. Until the answer begins it has headers of its own: those of a 1xx response
// are not the answer's, and those that the caller's writer has already must stay. Of the 1xx responses only
// 102 Processing goes on.
type answerWriter struct {
	http.ResponseWriter
	header http.Header
	begun  bool
}

func newAnswerWriter(w http.ResponseWriter) *answerWriter {
	return &answerWriter{ResponseWriter: w, header: make(http.Header)}
}

func (a *answerWriter) Header() http.Header {
	if a.begun {
		return a.ResponseWriter.Header() // trailers
	}
	return a.header
}

func (a *answerWriter) WriteHeader(code int) {
	switch {
	case code == http.StatusProcessing:
		a.ResponseWriter.WriteHeader(code)
	case code >= 200:
		maps.Copy(a.ResponseWriter.Header(), a.header)
		a.begun = true
		a.ResponseWriter.WriteHeader(code)
	}
}

// Unwrap lets http.ResponseController flush.
func (a *answerWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Strip removes the headers that only masters may set.
func Strip(h http.Header) http.Header {
	for k := range h {
		if internal(k) {
			delete(h, k)
		}
	}
	return h
}

// stripTrailers does so for trailers that were not announced.
func stripTrailers(h http.Header) {
	for k := range h {
		if internal(strings.TrimPrefix(k, http.TrailerPrefix)) {
			delete(h, k)
		}
	}
}

func internal(name string) bool {
	return len(name) >= len(wire.InternalPrefix) && strings.EqualFold(name[:len(wire.InternalPrefix)], wire.InternalPrefix)
}
