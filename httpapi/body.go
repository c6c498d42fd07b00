package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"scaleout/httpapi/service"
)

// stallTime is by how much a streamed body may fall behind its rate.
const stallTime = 60 * time.Second

// bodyTimes bounds how long a body may take: a time for the whole of it, or a rate if it is streamed.
type bodyTimes struct {
	whole time.Duration
	rate  int64 // bytes a second; 0: the whole time counts
}

func (a *API) bodyTimes(rt *route) bodyTimes {
	t := bodyTimes{whole: a.cfg.BodyTime}
	if t.whole == 0 {
		t.whole = 30 * time.Second
	}
	if rt.stream {
		if t.rate = a.cfg.UploadRate; t.rate == 0 {
			t.rate = 4 << 10
		}
	}
	return t
}

// reached returns the limit because of which a request is refused whatever it asks, and nil if there is none.
func (a *API) reached(r *http.Request) *service.LimitReached {
	if a.cfg.Reached == nil {
		return nil
	}
	return a.cfg.Reached(r)
}

// body is a request's body with a bound on its time. net/http has no such bound, and before it answers it reads what a
// handler left unread, however long that takes. Here a body that has not been read to its end when the answer begins is
// abandoned: unless the rest has come already, net/http then answers at once and closes the connection.
type body struct {
	io.ReadCloser
	rc    *http.ResponseController
	times bodyTimes
	end   time.Time     // of the whole time
	left  time.Duration // of a streamed body's time
	ended atomic.Bool   // it has been read to its end
	gone  atomic.Bool   // it has been abandoned
	wait  atomic.Bool   // net/http may be writing 100 Continue itself
}

func newBody(r *http.Request, rc *http.ResponseController, t bodyTimes) *body {
	b := &body{ReadCloser: r.Body, rc: rc, times: t, end: time.Now().Add(t.whole), left: stallTime}
	b.wait.Store(r.Header.Get("Expect") != "")
	return b
}

// Read reads within what is left of the body's time. The time of a streamed body passes only while Read waits for it,
// and each byte that comes gives some of it back.
func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	until := b.end
	if b.times.rate > 0 {
		until = began.Add(b.left)
	}
	if !b.gone.Load() {
		_ = b.rc.SetReadDeadline(until)
	}
	if b.gone.Load() { // abandoned meanwhile: the deadline that was just set must not stand
		b.expire()
	}
	n, err := b.ReadCloser.Read(p)
	b.wait.Store(false) // by now net/http has written its 100 Continue
	if b.times.rate > 0 {
		earned := time.Duration(float64(n) / float64(b.times.rate) * float64(time.Second))
		b.left = min(b.left-time.Since(began)+earned, stallTime)
	}
	switch {
	case errors.Is(err, io.EOF):
		b.ended.Store(true)
		_ = b.rc.SetReadDeadline(time.Time{}) // a held call must not end with it
	case errors.Is(err, os.ErrDeadlineExceeded) && !b.gone.Load():
		err = b.slow()
	}
	return n, err
}

func (b *body) slow() error {
	if b.times.rate > 0 {
		return fmt.Errorf("%w: it brought less than %d bytes a second for %v", errSlow, b.times.rate, stallTime)
	}
	return fmt.Errorf("%w: %v are the most that it may take", errSlow, b.times.whole)
}

// abandon ends the reading of a body that has not been read to its end.
func (b *body) abandon() {
	if b == nil || b.ended.Load() {
		return
	}
	b.gone.Store(true)
	b.expire()
}

// expire makes every read from the connection fail from now on.
func (b *body) expire() { _ = b.rc.SetReadDeadline(time.Unix(1, 0)) }

// held reports whether net/http may be writing 100 Continue.
func (b *body) held() bool { return b != nil && b.wait.Load() }
