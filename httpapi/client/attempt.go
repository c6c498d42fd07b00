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

// request is one call, independent of the master to which it is sent.
type request struct {
	method string
	path   string
	query  url.Values
	header http.Header
	body   []byte
	// open replaces body if the content is too large for memory; size is its length.
	open func() (io.ReadCloser, error)
	size int64
	// repeatable: the call may be repeated after an unknown outcome.
	repeatable bool
	// held: the master may hold the call for the time hold. The final status is due that time and a grace after sending.
	held bool
	hold time.Duration
	// localRefusal is the code of a refusal that says nothing about other masters: one of them may still answer.
	localRefusal string
	// oneRound: the call is tried once at each master, without pauses.
	oneRound bool
	// timeout, if set, shortens Config.Timeout.
	timeout time.Duration
	// libraryKey: the library made the request key, which the masters keep for a short time only.
	libraryKey bool
	// stream, if set, reads the body of a successful answer.
	stream func(io.Reader) error
	limit  int64 // of the answer's body; 0: maxAnswer
}

// answer is an answer with a 2xx status.
type answer struct {
	status int
	header http.Header
	body   []byte
	sent   time.Time // when the sending of the answered attempt began
	master string
	stops  bool // the master closes the connection, because it stops
}

const maxAnswer = 64 << 20

var (
	errNoConnection = errors.New("no connection in time")
	errSilent       = errors.New("the master got the request and stays silent")
	errLate         = errors.New("the master gave no final answer in time")
	errStalled      = errors.New("the transfer stands still")
	errKeyExpired   = errors.New("the masters may have forgotten the call's key by now")
)

// failure is an attempt without an answer.
type failure struct {
	err    error
	sent   bool // a part of the request may have reached the master
	worked bool // the master said that it works on the call
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// attempt sends the call to one master, which it must reach within share. It calls heard at the master's first sign of
// life. The error is an *Error (the master refused), a *failure, or an error that another master would not change.
func (c *Client) attempt(
	ctx context.Context, master string, r *request, share time.Duration, heard func(),
) (*answer, error) {
	w := &watchdog{silence: c.cfg.Silence, quiet: c.cfg.Quiet, heard: heard}
	if r.held {
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
		// With this the transport itself can repeat a request if the idle connection that it chose was already closed.
		req.GetBody = func() (io.ReadCloser, error) {
			body, _, err := r.reader(w.progress)
			return body, err
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
	w.expect(share, errNoConnection)
	w.mu.Unlock()
	started := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, w.failure(ctx, err)
	}
	defer resp.Body.Close()
	w.headers()
	if cause := context.Cause(ctx); cause != nil {
		// net/http may still deliver what the master wrote when the call was canceled: that is not an answer.
		return nil, w.failure(ctx, cause)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := problemOf(master, resp)
		return nil, e
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, sent: started, master: master, stops: resp.Close}
	in := &progressReader{resp.Body, w.progress}
	if r.stream != nil {
		err = r.stream(in)
	} else {
		limit := r.limit
		if limit == 0 {
			limit = maxAnswer
		}
		a.body, err = wire.ReadAll(in, limit)
	}
	var sink *sinkError
	var large *wire.BadInput
	switch {
	case errors.As(err, &sink):
		return nil, sink.err
	case errors.As(err, &large):
		return nil, fmt.Errorf("client: answer of %s: %s", master, large.Detail)
	case err != nil:
		return nil, w.failure(ctx, err)
	}
	return a, nil
}

// reader returns the request's body from its beginning and the body's length. It calls progress at each read.
func (r *request) reader(progress func()) (io.ReadCloser, int64, error) {
	switch {
	case r.open != nil:
		b, err := r.open()
		if err != nil {
			return nil, 0, err
		}
		return &progressReader{b, progress}, r.size, nil
	case r.body != nil:
		return &progressReader{io.NopCloser(bytes.NewReader(r.body)), progress}, int64(len(r.body)), nil
	}
	return nil, 0, nil
}

// watchdog cancels an attempt whose master shows no sign of life in time.
type watchdog struct {
	silence, quiet, final time.Duration
	cancel                context.CancelCauseFunc
	heard                 func()

	mu     sync.Mutex
	timer  *time.Timer // runs until the next sign of life is due
	due    *time.Timer // runs until the final status is due
	wrote  bool        // the whole request was sent
	sent   bool
	worked bool
	ended  bool
}

func (w *watchdog) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent = true // from here on bytes may be sent
			w.expect(stallTimeout, errStalled)
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
			w.heard()
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

// expect cancels the attempt with the cause after d, unless expect is called again before. The caller holds the lock.
func (w *watchdog) expect(d time.Duration, cause error) {
	if w.timer != nil {
		w.timer.Stop()
	}
	if !w.ended {
		w.timer = time.AfterFunc(d, func() { w.cancel(cause) })
	}
}

// progress records that a body made progress, in either direction.
func (w *watchdog) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil && !w.ended {
		w.timer.Reset(stallTimeout)
	}
}

// headers records the final status. From here on only the body must make progress.
func (w *watchdog) headers() {
	w.heard()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due != nil {
		w.due.Stop()
	}
	w.due = nil
	w.expect(stallTimeout, errStalled)
}

func (w *watchdog) end() {
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

func (w *watchdog) failure(ctx context.Context, err error) *failure {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the caller's own message names the method and the URL
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return &failure{err: err, sent: w.sent, worked: w.worked}
}

// progressReader calls progress at each read that returns data.
type progressReader struct {
	io.ReadCloser
	progress func()
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 {
		r.progress()
	}
	return n, err
}

// sinkError is an error of the caller's own function that reads a stream. Another master would not change it.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
