package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"sync"
	"time"

	"scaleout/httpapi/wire"
)

// request is one call, independent of the master that it goes to.
type request struct {
	method string
	path   string
	query  url.Values
	header http.Header
	body   []byte
	// open replaces body for content that is too large for memory; size is its length.
	open func() (io.ReadCloser, error)
	size int64
	// again: an unknown outcome may be tried again.
	again bool
	// limited: the final status is due hold and a grace after the request was sent.
	limited bool
	hold    time.Duration
	// local is the code of a refusal in which a master speaks for itself alone: another one may answer.
	local string
	// once: one round through the masters, no pauses.
	once bool
	// patience shortens the client's, when set.
	patience time.Duration
	// library: the library made the request's key, which the masters keep for a short time only.
	library bool
	// stream takes the body of a 200 itself.
	stream func(io.Reader) error
	limit  int64 // of the answer's body; 0: maxAnswer
}

// answer is a 2xx.
type answer struct {
	status int
	header http.Header
	body   []byte
	sent   time.Time // when the attempt that was answered began to be sent
	master string
	leaves bool // the master asked for the connection to be closed: it stops
}

const maxAnswer = 64 << 20

var (
	errUnmet  = errors.New("no connection in time")
	errSilent = errors.New("the master got the request and stays silent")
	errLate   = errors.New("the master gave no final answer in time")
	errStall  = errors.New("the transfer stands still")
	errOld    = errors.New("the call's key may be forgotten by now")
)

// failure is an attempt without an answer.
type failure struct {
	err    error
	sent   bool // something of the request may have reached the master
	worked bool // the master said that it works on the call
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// attempt sends the call to one master, which it has to reach within share. Its error is *Error (the master said no),
// *failure, or an error that no other master would cure. The master's first sign of life is told to met.
func (c *Client) attempt(ctx context.Context, master string, r *request, share time.Duration, met func()) (*answer, error) {
	w := &watch{silence: c.cfg.Silence, quiet: c.cfg.Quiet, met: met}
	if r.limited {
		w.final = r.hold + c.grace
	}
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.end()

	body, size, err := r.reader(w.progress)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, w.trace()), r.method, master+r.path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if body != nil {
		// Lets the transport itself repeat a request whose kept connection turned out to be closed.
		req.GetBody = func() (io.ReadCloser, error) {
			again, _, err := r.reader(w.progress)
			return again, err
		}
	}
	req.URL.RawQuery = r.query.Encode()
	for k, v := range r.header {
		req.Header[k] = v
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.cfg.LeaderWait > 0 {
		hold := min(c.cfg.LeaderWait, share)
		req.Header.Set(wire.HeaderLeaderWait, strconv.FormatInt(max(hold.Milliseconds(), 1), 10))
	}

	w.mu.Lock()
	w.expect(share, errUnmet)
	w.mu.Unlock()
	started := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, w.failure(ctx, err)
	}
	defer resp.Body.Close()
	w.headers()
	if cause := context.Cause(ctx); cause != nil {
		// net/http may still deliver what a master wrote when it saw the call given up: that is no answer.
		return nil, w.failure(ctx, cause)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := problemOf(master, resp)
		return nil, e
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, sent: started, master: master, leaves: resp.Close}
	in := &moving{resp.Body, w.progress}
	if r.stream != nil {
		err = r.stream(in)
	} else {
		limit := r.limit
		if limit == 0 {
			limit = maxAnswer
		}
		a.body, err = wire.ReadAll(in, limit)
	}
	var taken *sinkError
	var large *wire.BadInput
	switch {
	case errors.As(err, &taken):
		return nil, taken.err
	case errors.As(err, &large):
		return nil, fmt.Errorf("client: answer of %s: %s", master, large.Detail)
	case err != nil:
		return nil, w.failure(ctx, err)
	}
	return a, nil
}

func (r *request) reader(note func()) (io.ReadCloser, int64, error) {
	switch {
	case r.open != nil:
		b, err := r.open()
		if err != nil {
			return nil, 0, err
		}
		return &moving{b, note}, r.size, nil
	case r.body != nil:
		return &moving{io.NopCloser(bytes.NewReader(r.body)), note}, int64(len(r.body)), nil
	}
	return nil, 0, nil
}

// watch ends an attempt whose master shows no sign of life.
type watch struct {
	silence, quiet, final time.Duration
	cancel                context.CancelCauseFunc
	met                   func()

	mu     sync.Mutex
	timer  *time.Timer // the next sign of life is due
	due    *time.Timer // the final status is due
	wrote  bool
	sent   bool
	worked bool
	ended  bool
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent = true // from here on bytes may leave
			w.expect(stall, errStall)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wrote = true
			if w.worked {
				w.expect(w.quiet, errSilent)
			} else {
				w.expect(w.silence, errSilent)
			}
			if w.final > 0 && w.due == nil && !w.ended {
				w.due = time.AfterFunc(w.final, func() { w.cancel(errLate) })
			}
		},
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code != http.StatusProcessing {
				return nil
			}
			w.met()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.worked = true
			if w.wrote {
				w.expect(w.quiet, errSilent)
			}
			return nil
		},
	}
}

// expect replaces what is due next. The lock is held.
func (w *watch) expect(d time.Duration, cause error) {
	if w.timer != nil {
		w.timer.Stop()
	}
	if !w.ended {
		w.timer = time.AfterFunc(d, func() { w.cancel(cause) })
	}
}

// progress notes that a body moved, in either direction.
func (w *watch) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil && !w.ended {
		w.timer.Reset(stall)
	}
}

// headers notes the final status: from here on only the body has to move.
func (w *watch) headers() {
	w.met()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due != nil {
		w.due.Stop()
	}
	w.due = nil
	w.expect(stall, errStall)
}

func (w *watch) end() {
	w.mu.Lock()
	w.ended = true
	for _, t := range []*time.Timer{w.timer, w.due} {
		if t != nil {
			t.Stop()
		}
	}
	w.mu.Unlock()
	w.cancel(context.Canceled)
}

func (w *watch) failure(ctx context.Context, err error) *failure {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // method and URL stand in the caller's own words
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return &failure{err: err, sent: w.sent, worked: w.worked}
}

// moving tells of every read.
type moving struct {
	io.ReadCloser
	note func()
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.note()
	}
	return n, err
}

// sinkError is an error of whoever takes a stream: no master is to blame.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
