package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager plays systemd: it takes what a service says.
func manager(t *testing.T) func() string {
	t.Helper()
	// A socket's path must be short.
	dir, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		buf := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

// until reads until something is said that begins so, and returns what came before.
func until(said func() string, begins string) (before []string) {
	for {
		s := said()
		if strings.HasPrefix(s, begins) {
			return before
		}
		before = append(before, s)
	}
}

func TestReadyIsSaidWhenItCanServe(t *testing.T) {
	said := manager(t)
	var ready atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	end := Announce(ctx, slog.Default(), Heartbeat{
		Waiting: func(context.Context) string {
			if ready.Load() {
				return ""
			}
			return "no master leads"
		},
		Alive: func(context.Context) error { return nil },
	})
	defer end()
	if s := said(); s != "STATUS=waiting: no master leads" {
		t.Fatal(s)
	}
	ready.Store(true)
	for _, s := range until(said, "READY=1") {
		if s != "STATUS=serving" {
			t.Errorf("said %q", s)
		}
	}
	cancel()
	until(said, "STOPPING=1")
}

func TestANewOneIsReadyAtOnce(t *testing.T) {
	said := manager(t)
	end := Announce(t.Context(), slog.Default(), Heartbeat{
		Waiting: func(context.Context) string { return "alone" },
		Alive:   func(context.Context) error { return nil }, Started: true,
	})
	defer end()
	if s := said(); s != "READY=1" {
		t.Fatal(s)
	}
}

func TestTheWatchdogHearsOnlyOfTheLiving(t *testing.T) {
	said := manager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	var dead atomic.Bool
	asked := make(chan struct{}, 1000)
	end := Announce(t.Context(), slog.New(slog.DiscardHandler), Heartbeat{
		Waiting: func(context.Context) string { return "" },
		Alive: func(context.Context) error {
			asked <- struct{}{}
			if dead.Load() {
				return errors.New("dead")
			}
			return nil
		},
	})
	defer end()
	until(said, "WATCHDOG=1")
	dead.Store(true)
	mark := func(text string) {
		// The one that is being asked may still be answered as living.
		for len(asked) > 0 {
			<-asked
		}
		for range 3 {
			<-asked
		}
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	mark("first")
	mark("second")
	until(said, "first")
	if words := until(said, "second"); len(words) > 0 {
		t.Errorf("a dead service said %q", words)
	}
}

func TestHealthFile(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := Health(dir, now); err == nil {
		t.Error("healthy without a worker")
	}
	for _, test := range []struct {
		name string
		health
		want string
	}{
		{"fresh", health{Time: now}, ""},
		{"old", health{Time: now.Add(-time.Minute)}, "said nothing"},
		{"waiting", health{Time: now, Waiting: "no master"}, "no master"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := writeHealth(dir, test.health); err != nil {
				t.Fatal(err)
			}
			err := Health(dir, now)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v", test.health, err)
			}
		})
	}
	RemoveHealth(dir)
	if err := Health(dir, now); err == nil {
		t.Error("healthy after its end")
	}
}
