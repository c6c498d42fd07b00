package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A caller's unused connection does not hold up a stop, and a call under way is answered all the same.
func TestShutdownWaitsForCallsAndNotForUnusedConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "answered")
	}), slog.New(slog.DiscardHandler), Bounds{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()

	unused, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer unused.Close()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answer <- string(text)
	}()
	<-entered // connections are taken in order: the unused one has been seen too

	// Less than the 5 s that net/http alone gives to the unused connection.
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(ctx) }()
	if _, err := unused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the unused connection: %v; want it closed", err)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if text := <-answer; text != "answered" {
		t.Errorf("the call under way got %q", text)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// A head is kept in memory before anybody knows whose it is: it is small, but for masters, who send others' heads on.
func TestTheHeadOfARequestIsBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		bounds Bounds
		bytes  int
		status string
	}{
		{"of an ordinary call", Bounds{}, 8 << 10, "200 OK"},
		{"beyond the bound", Bounds{}, 13 << 10, "431 Request Header Fields Too Large"},
		{"that a master sends on", Bounds{HeadBytes: 64 << 10}, 13 << 10, "200 OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(nil)
			s.Config = NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler),
				c.bounds).Server
			s.Start()
			defer s.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Long", strings.Repeat("x", c.bytes))
			resp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.Status != c.status {
				t.Errorf("%d bytes: %s; want %s", c.bytes, resp.Status, c.status)
			}
		})
	}
}
