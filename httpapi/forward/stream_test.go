package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

// spy counts reads.
type spy struct {
	io.Reader
	reads atomic.Int64
}

func (s *spy) Read(p []byte) (int, error) { s.reads.Add(1); return s.Reader.Read(p) }
func (s *spy) Close() error               { return nil }

func TestStreamsAreNotRepeatedOnceRead(t *testing.T) {
	r := newFixture(t, nil)
	good, _ := leader(t, ok)
	big := bytes.Repeat([]byte("x"), 1<<20)
	broken, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		io.CopyN(io.Discard, req.Body, 100)
		panic(http.ErrAbortHandler)
	})
	r.set(leads("broken", broken, 1))
	c := call()
	c.Stream, c.Repeatable = true, true
	req := request(t, "")
	body := &spy{Reader: bytes.NewReader(big)}
	req.Body, req.ContentLength = body, int64(len(big))
	if err := r.f.Serve(recorder(), req, c); !errors.Is(err, command.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	// Nothing was read: a refused connection is no obstacle.
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	r.set(leads("gone", "http://"+l.Addr().String(), 1))
	time.AfterFunc(50*time.Millisecond, func() { r.set(leads("good", good, 1)) })
	req.Body = &spy{Reader: strings.NewReader("whole")}
	req.ContentLength = 5
	w := recorder()
	if err := r.f.Serve(w, req, c); err != nil || w.Body.String() != "POST whole hop=me" {
		t.Fatal(err, w.Body.String())
	}
}

// A leader that read some of the body and refused the call cannot be followed by another attempt: its refusal is the
// answer, and the caller repeats the call.
func TestARefusalAfterTheBodyWasReadIsTheAnswer(t *testing.T) {
	r := newFixture(t, nil)
	leading, calls := leader(t, func(w http.ResponseWriter, req *http.Request) {
		io.CopyN(io.Discard, req.Body, 1)
		refuse(w, wire.CodeNotLeader)
	})
	r.set(leads("l", leading, 1))
	c := call()
	c.Stream = true
	w := recorder()
	err := r.f.Serve(w, request(t, "whole"), c)
	if err != nil || w.Code != 503 || !strings.Contains(w.Body.String(), wire.CodeNotLeader) || calls.Load() != 1 {
		t.Errorf("%v, %d %s after %d calls", err, w.Code, w.Body, calls.Load())
	}
}

// A leader that loses its leadership with half a body in hand cannot try again by itself: it would find the body empty
// and call it damaged. The caller is told, who has all of it.
func TestAStreamReadHereIsNotReadAgain(t *testing.T) {
	r := newFixture(t, func(c *Config) { c.Outcome = func(error) Outcome { return NotApplied } })
	r.set(Place{Here: true, Known: true, Leader: wire.Leader{ID: "self"}})
	for _, reads := range []bool{true, false} {
		c := call()
		c.Stream = true
		tries := 0
		c.Local = func(w http.ResponseWriter, req *http.Request) error {
			tries++
			if tries > 1 && !reads {
				ok(w, req)
				return nil
			}
			if reads {
				_, _ = io.CopyN(io.Discard, req.Body, 1)
			}
			return command.ErrNotLeader
		}
		w := recorder()
		err := r.f.Serve(w, request(t, "whole"), c)
		if reads && (!errors.Is(err, command.ErrNotLeader) || tries != 1) {
			t.Errorf("half the body was read, and the call was tried %d times: %v", tries, err)
		}
		if !reads && (err != nil || !strings.Contains(w.Body.String(), "whole")) {
			t.Errorf("nothing was read: %v, %q", err, w.Body)
		}
	}
}

// A call without a body has nothing that could be read only once: it is tried again, and passed on without one.
func TestAStreamedCallWithoutABodyGoesOn(t *testing.T) {
	r := newFixture(t, func(c *Config) { c.Outcome = func(error) Outcome { return NotApplied } })
	length := make(chan int64, 1)
	next, _ := leader(t, func(w http.ResponseWriter, req *http.Request) {
		length <- req.ContentLength
		ok(w, req)
	})
	r.set(Place{Here: true, Known: true, Leader: wire.Leader{ID: "self"}})
	c := call()
	c.Stream = true
	c.Local = func(_ http.ResponseWriter, req *http.Request) error {
		_, _ = io.Copy(io.Discard, req.Body)
		r.set(leads("next", next, 2))
		return command.ErrNotLeader
	}
	req := request(t, "")
	req.Body, req.ContentLength = http.NoBody, 0
	if err := r.f.Serve(recorder(), req, c); err != nil {
		t.Fatal(err)
	}
	if n := <-length; n != 0 {
		t.Errorf("the next leader got a body of %d bytes (-1: unknown); want none", n)
	}
}
