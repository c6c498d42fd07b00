package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections within a test's bubble, where time passes only while everybody waits.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble serves a handler and gives the test connections to it.
func inBubble(t *testing.T, h func(http.ResponseWriter, *http.Request), times bodyTimes,
	f func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pw := newProgress(w, r, 24*time.Hour, times)
			defer pw.finish()
			h(pw, r)
		}), slog.New(slog.DiscardHandler), Bounds{})
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Serve(p) }()
		f(t, func() net.Conn {
			near, far := net.Pipe()
			p.conns <- far
			return near
		})
		_ = s.Close()
		<-ended
	})
}

// send writes in the background, as a kernel's buffer would take it.
func send(c net.Conn, pieces ...string) {
	go func() {
		for _, p := range pieces {
			if _, err := io.WriteString(c, p); err != nil {
				return
			}
		}
	}()
}

// answered reads one answer and says when it came, and whether the connection ended with it.
func answered(t *testing.T, c net.Conn) (status int, after time.Duration, closed bool) {
	t.Helper()
	began := time.Now()
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, time.Since(began), true
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	after = time.Since(began)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, err = r.ReadByte()
	_ = c.Close()
	return resp.StatusCode, after, errors.Is(err, io.EOF)
}

func head(length int, more ...string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", length, strings.Join(more, ""))
}

func TestNothingWaitsForABodyThatNeverComes(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }
	readAll := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); errors.Is(err, errSlow) {
			w.WriteHeader(408)
			return
		}
		w.WriteHeader(200)
	}
	large := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 64<<10)) }
	whole := bodyTimes{whole: 30 * time.Second}
	for _, x := range []struct {
		name   string
		handle func(http.ResponseWriter, *http.Request)
		send   []string
		status int
		after  time.Duration
		stays  bool // the connection may be used again
	}{
		{"refused without a byte", refuse, []string{head(1000)}, 403, 0, false},
		{"refused with a part of it", refuse, []string{head(1000), "abc"}, 403, 0, false},
		{"refused with all of it", refuse, []string{head(3) + "abc"}, 403, 0, true},
		{"refused, in chunks", refuse, []string{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
			"1\r\na\r\n"}, 403, 0, false},
		{"refused, and it would wait for 100", refuse, []string{head(1000, "Expect: 100-continue\r\n")}, 403, 0, false},
		{"no answer of the handler's own", func(http.ResponseWriter, *http.Request) {}, []string{head(1000)}, 200, 0, false},
		{"a long answer", large, []string{head(1000)}, 200, 0, false},
		{"read in vain", readAll, []string{head(1000), "abc"}, 408, 30 * time.Second, false},
		{"read in full", readAll, []string{head(3), "abc"}, 200, 0, true},
		{"none", readAll, []string{head(0)}, 200, 0, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, x.handle, whole, func(t *testing.T, dial func() net.Conn) {
				c := dial()
				send(c, x.send...)
				status, after, closed := answered(t, c)
				if status != x.status || after != x.after || closed == x.stays {
					t.Errorf("%d after %v, closed %t; want %d after %v, stays: %t", status, after, closed, x.status, x.after, x.stays)
				}
			})
		})
	}
}

// A held call outlives the time of its body by far, and its end is noticed.
func TestAHeldCallOutlivesItsBody(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		select {
		case <-time.After(time.Hour):
			w.WriteHeader(200)
		case <-r.Context().Done():
			w.WriteHeader(500)
		}
	}, bodyTimes{whole: 30 * time.Second}, func(t *testing.T, dial func() net.Conn) {
		c := dial()
		send(c, head(3), "abc")
		if status, after, _ := answered(t, c); status != 200 || after != time.Hour {
			t.Errorf("%d after %v", status, after)
		}
	})
}

func TestAStreamedBodyMayTakeItsTimeAndNotStandStill(t *testing.T) {
	const rate, size = 4 << 10, 1 << 20
	for _, x := range []struct {
		name   string
		first  int // bytes at once
		piece  int
		pause  time.Duration
		work   time.Duration // what the handler does with each piece
		status int
	}{
		{name: "at twice its rate", piece: rate, pause: time.Second / 2, status: 200},
		{name: "at half its rate", piece: rate, pause: 2 * time.Second, status: 408},
		{name: "a byte a minute", piece: 1, pause: 59 * time.Second, status: 408},
		{name: "fast, then nothing", first: size - rate, piece: 1, pause: 50 * time.Second, status: 408},
		{name: "a pause of less than a minute", first: size / 2, piece: size / 2, pause: 59 * time.Second, status: 200},
		{name: "the handler takes its time", piece: size / 16, work: time.Minute, status: 200},
	} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, func(w http.ResponseWriter, r *http.Request) {
				buf := make([]byte, size/16)
				for {
					_, err := r.Body.Read(buf)
					time.Sleep(x.work)
					switch {
					case err == io.EOF:
						w.WriteHeader(200)
						return
					case errors.Is(err, errSlow):
						w.WriteHeader(408)
						return
					case err != nil:
						w.WriteHeader(400)
						return
					}
				}
			}, bodyTimes{whole: 30 * time.Second, rate: rate}, func(t *testing.T, dial func() net.Conn) {
				c := dial()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, err := io.WriteString(c, head(size)+strings.Repeat("x", x.first))
					for sent := x.first; sent < size && err == nil; sent += x.piece {
						time.Sleep(x.pause)
						_, err = io.WriteString(c, strings.Repeat("x", min(x.piece, size-sent)))
					}
				}()
				if status, after, _ := answered(t, c); status != x.status {
					t.Errorf("%d after %v, want %d", status, after, x.status)
				}
				<-sent
			})
		})
	}
}

func TestAHeadHasItsTime(t *testing.T) {
	for _, x := range []struct{ name, sent string }{{"nothing at all", ""}, {"a part", "GET / HTTP/1.1\r\nHost:"}} {
		t.Run(x.name, func(t *testing.T) {
			inBubble(t, func(w http.ResponseWriter, _ *http.Request) {}, bodyTimes{whole: time.Second},
				func(t *testing.T, dial func() net.Conn) {
					c := dial()
					send(c, x.sent)
					began := time.Now()
					_, _ = io.Copy(io.Discard, c)
					if d := time.Since(began); d > 11*time.Second {
						t.Errorf("closed after %v", d)
					}
				})
		})
	}
}
