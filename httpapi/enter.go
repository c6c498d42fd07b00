package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// enter is what every request passes before its handler: identity, permission, bounds, the way to the leader, and the
// way of errors back.
func (a *API) enter(rt *route) http.Handler {
	flight := a.metrics.flight.WithLabelValues(rt.name)
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		after := a.cfg.Processing
		if rt.quick {
			after = time.Hour // answered from memory, so no 102 Processing is sent
		}
		r := &request{Request: hr, route: rt, id: newID(), received: time.Now(), limit: rt.limit}
		r.w = newProgress(w, hr, after, a.bodyTimes(rt))
		flight.Inc()
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the server compares it like this too
				a.log.LogAttrs(hr.Context(), slog.LevelError, "panic", slog.String(logkey.Route, rt.name),
					slog.String(logkey.RequestID, r.id), slog.Any(logkey.Panic, p), slog.String(logkey.Stack, string(debug.Stack())))
				if !r.w.begun() {
					a.fail(r, fmt.Errorf("panic: %v", p))
					p = nil
				} else {
					p = http.ErrAbortHandler
				}
			}
			status := r.w.finish()
			flight.Dec()
			if status == 0 {
				status = http.StatusOK
			}
			a.metrics.duration.WithLabelValues(rt.name, strconv.Itoa(status)).Observe(time.Since(r.received).Seconds())
			if p != nil {
				panic(p)
			}
		}()
		if err := a.serve(r); err != nil {
			a.fail(r, err)
		}
	})
}

func (a *API) serve(r *request) error {
	rt := r.route
	err := a.identify(r)
	r.account = accountOf(r.caller, r.RemoteAddr)
	r.w.Header().Set(wire.HeaderRequestID, r.id)
	if limit := a.reached(r.Request); limit != nil {
		r.w.Header().Set("Connection", "close")
		return limit
	}
	if err != nil && !rt.who.open {
		a.refused(r, err)
		return err
	}
	done, err := a.quotas.call(r.account)
	if err != nil {
		return err
	}
	defer done()
	if err := a.admit(rt, r.caller); err != nil {
		return err
	}
	// net/url drops what it cannot read: a filter would be lost without a word.
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return invalid("the query string cannot be read: %v", err)
	}
	if rt.enter != nil {
		if err := rt.enter(a, r); err != nil {
			return err
		}
	}
	if ms, err := strconv.ParseInt(r.Header.Get(wire.HeaderElapsed), 10, 64); err == nil && ms > 0 {
		r.elapsed = time.Duration(ms) * time.Millisecond
	}
	free, err := a.read(r)
	if err != nil {
		return err
	}
	defer free()
	// The answer is at least as new as this index. A handler that reads or changes the state sets its own.
	r.w.Header().Set(wire.HeaderIndex, strconv.FormatUint(a.service.Index(), 10))
	place := a.cfg.Member.Place()
	if place.Known && place.Leader.Name != "" {
		r.w.Header().Set(wire.HeaderLeader, place.Leader.Name)
	}
	if rt.here != nil && rt.here(r.Request) {
		return a.handle(r, r.w, r.Request)
	}
	if rt.keyed {
		if err := ensureKey(r.Header); err != nil {
			return err
		}
	}
	call := &forward.Call{
		RequestID: r.id, Arrived: r.hop != "", Repeatable: rt.repeatable, Stays: rt.stays,
		Body: r.body, Stream: rt.stream, Received: r.received.Add(-r.elapsed),
		Caller: wire.Caller{Kind: r.caller.Kind, Name: r.caller.Name, Roles: r.caller.Roles},
		Local: func(w http.ResponseWriter, hr *http.Request) error {
			w.Header().Set(wire.HeaderLeader, a.cfg.Member.Name())
			return a.handle(r, w, hr)
		},
	}
	// A header that is no number is ignored; the forwarder cuts a time that is longer than its own.
	if ms, err := strconv.ParseInt(r.Header.Get(wire.HeaderLeaderWait), 10, 32); err == nil && ms > 0 {
		call.LeaderWait = time.Duration(ms) * time.Millisecond
	}
	if rt.stopped != nil {
		call.Stopped = func(w http.ResponseWriter) error { return rt.stopped(a, w, r) }
	}
	return a.forward.Serve(r.w, r.Request, call)
}

// handle runs the route's own work within its time, and in its caller's turn where it computes.
func (a *API) handle(r *request, w http.ResponseWriter, hr *http.Request) error {
	ctx := hr.Context()
	if !r.route.untimed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.service.Timeout(), service.ErrTimeout)
		defer cancel()
	}
	// A call that carries a project file takes no turn: storing it takes long, and the memory for bodies keeps such calls
	// few.
	if r.route.computes && !r.called.CarriesFile() {
		t := a.quotas.turn(r.account)
		ctx, r.w.turn = service.WithTurn(ctx, t), t
		defer t.End()
		t.Take(ctx)
	}
	timed := *r
	timed.Request = hr.WithContext(ctx)
	err := r.route.handle(a, w, &timed)
	if err != nil && errors.Is(context.Cause(ctx), service.ErrTimeout) && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: no answer within %v: %w", service.ErrTimeout, a.service.Timeout(), err)
	}
	return err
}

// read takes the body into memory, within the bound and the time of the route. It takes the body's part of the caller's
// share of memory before it reads anything; free gives it back.
func (a *API) read(r *request) (free func(), err error) {
	if r.limit == 0 || r.route.stream || r.ContentLength == 0 {
		return func() {}, nil
	}
	size := r.ContentLength
	if size > r.limit {
		return nil, &wire.BadInput{Code: wire.CodeBodyTooLarge,
			Detail: fmt.Sprintf("the body has %d bytes; at most %d are taken here", size, r.limit)}
	}
	if size < 0 {
		size = r.limit // it may become that large
	}
	if free, err = a.quotas.body(r.account, size); err != nil {
		return nil, err
	}
	if err := r.receive(); err != nil {
		free()
		return nil, err
	}
	return free, nil
}

// receive reads the body, in one piece where its length is known.
func (r *request) receive() (err error) {
	if r.ContentLength >= 0 {
		r.body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, r.body)
	} else {
		r.body, err = wire.ReadAll(r.Body, r.limit)
	}
	var bad *wire.BadInput
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad), errors.Is(err, errSlow):
		return err
	}
	return fmt.Errorf("%w: the body did not arrive: %w", context.Canceled, err)
}

// decode reads the body strictly, and calls Validate if v has it.
func (r *request) decode(v any) error {
	if err := wire.Unmarshal(r.body, v); err != nil {
		return err
	}
	if c, ok := v.(interface{ Validate() error }); ok {
		return c.Validate()
	}
	return nil
}

// name returns a variable of the path, unescaped.
func (r *request) name(part string) (string, error) {
	raw := mux.Vars(r.Request)[part]
	s, err := url.PathUnescape(raw)
	if err != nil {
		return "", invalid("%q in the path: %v", raw, err)
	}
	return s, nil
}

// boolean is a query parameter that says true or false; absent or empty, it is missing.
func (r *request) boolean(name string, missing bool) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return missing, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, invalid("%s: %.64q; true or false was expected", name, s)
	}
	return v, nil
}

// invalid refuses an argument of a request.
func invalid(format string, args ...any) error {
	return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: fmt.Sprintf(format, args...)}
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return answerRaw(w, status, buf.Bytes())
}

func answerRaw(w http.ResponseWriter, status int, b []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a caller who is gone cannot be told
	return nil
}

// fail turns an error into a problem document.
func (a *API) fail(r *request, err error) {
	k, detail := explain(err)
	level := slog.LevelDebug
	if k.hide {
		level = slog.LevelError
	}
	a.log.LogAttrs(r.Context(), level, "request failed",
		slog.String(logkey.Route, r.route.name), slog.String(logkey.RequestID, r.id), slog.Int(logkey.Status, k.status),
		slog.String(logkey.Code, k.code), slog.String(logkey.Caller, r.caller.Name), slog.Any(logkey.Err, err))
	if r.w.begun() {
		panic(http.ErrAbortHandler) // the answer must look broken, not complete
	}
	switch k.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		a.linger(r)
	}
	limit := limitOf(err)
	if limit != "" {
		a.metrics.limits.WithLabelValues(limit).Inc()
	}
	p := wire.Problem{
		Type: "about:blank", Title: title(k.status), Status: k.status, Detail: detail, Instance: r.URL.EscapedPath(),
		Code: k.code, RequestID: r.id, Limit: limit,
	}
	var no *command.Rejection
	if errors.As(err, &no) && command.Family(no.Code) == k.code {
		p.Message, p.Args = no.Code, no.Args
	}
	var passed *service.IndexPassed
	if errors.As(err, &passed) {
		p.Index = passed.Index
	}
	var more interface{ extend(*wire.Problem) }
	if errors.As(err, &more) {
		more.extend(&p)
	}
	h := r.w.Header()
	if k.code == wire.CodeNotLeader {
		if place := a.cfg.Member.Place(); place.Known {
			p.Leader = &place.Leader
		}
	}
	if k.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(k.retry))
	}
	if errors.Is(err, command.ErrStopping) {
		h.Set("Connection", "close")
	}
	h.Set("Content-Type", wire.ContentProblem)
	h.Set("Cache-Control", "no-store")
	b, err := json.Marshal(p)
	if err != nil { // a problem is strings and numbers
		panic(err)
	}
	b = append(b, '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	r.w.WriteHeader(k.status)
	_, _ = r.w.Write(b)
}

// linger delays the refusal of a caller who goes on in spite of many. A caller who is refused at once would ask, or
// connect, again at once.
func (a *API) linger(r *request) {
	wait := a.quotas.refuse(r.account)
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-a.stopping.Done():
	}
}

func title(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Client Closed Request"
}

// refused counts a caller who is not of this cluster. It logs each kind of refusal only now and then, so that strangers
// cannot fill the log.
func (a *API) refused(r *request, err error) {
	k, _ := explain(err)
	a.metrics.refused.WithLabelValues(k.code).Inc()
	silent, due := a.cfg.Refusals.Due(k.code, time.Now())
	if !due {
		return
	}
	level := slog.LevelWarn
	if errors.Is(err, ErrCertificateRequired) {
		level = slog.LevelInfo // browsers and scanners
	}
	a.log.LogAttrs(r.Context(), level, "caller refused", slog.String(logkey.Code, k.code),
		slog.String(logkey.Remote, r.RemoteAddr), slog.String(logkey.RequestID, r.id), slog.Any(logkey.Err, err),
		slog.Int(logkey.MoreSinceLast, silent))
}

// ensureKey checks a call's request key and gives one to a call without: the call may then be repeated when its
// leader is lost.
func ensureKey(h http.Header) error {
	given := h.Values(wire.HeaderKey)
	if len(given) == 0 {
		h.Set(wire.HeaderKey, newID())
		h.Set(wire.HeaderKeyOrigin, wire.KeyOriginLibrary)
		return nil
	}
	if len(given) > 1 {
		return invalid("%s is given %d times; once was expected", wire.HeaderKey, len(given))
	}
	key := given[0]
	if len(key) == 0 || len(key) > 128 {
		return invalid("%s has %d characters; 1 to 128 were expected", wire.HeaderKey, len(key))
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return invalid("%s holds a space or a character that is not printable ASCII", wire.HeaderKey)
		}
	}
	if o := h.Get(wire.HeaderKeyOrigin); o != "" && o != wire.KeyOriginLibrary {
		return invalid("%s is %q; %q or no such header was expected", wire.HeaderKeyOrigin, o, wire.KeyOriginLibrary)
	}
	return nil
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
