package httpapi

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"scaleout/fsm/logkey"
)

// Server is an http.Server whose Shutdown does not wait for connections on which nothing was ever asked. net/http gives
// each 5 s, and callers open more connections than they use.
type Server struct {
	*http.Server
	fresh sync.Map // of net.Conn: those on which nothing was asked yet
}

// freshGrace is how long a new connection may take at the stop to bring the request that it was opened for.
const freshGrace = 100 * time.Millisecond

// Bounds are what a connection may do before a route's own bounds apply; zero means the default.
type Bounds struct {
	Head time.Duration // for a request's head; 10 s
	Idle time.Duration // between two requests; 2 min
	// HeadBytes is the size of a request's head; 8 KiB. net/http takes 4 KiB more, and a head of many short lines takes
	// about thirty times its size in memory.
	HeadBytes int
}

// NewServer wraps a handler in a server with the bounds b. It speaks HTTP/1.1 only: that was measured to be faster here
// than HTTP/2, which would share one connection between held polls and everything else.
func NewServer(h http.Handler, log *slog.Logger, b Bounds) *Server {
	if b.Head == 0 {
		b.Head = 10 * time.Second
	}
	if b.Idle == 0 {
		b.Idle = 2 * time.Minute
	}
	if b.HeadBytes == 0 {
		b.HeadBytes = 8 << 10
	}
	if log == nil {
		log = slog.Default()
	}
	s := &Server{}
	s.Server = &http.Server{
		Handler:           h,
		ConnState:         s.follow,
		ReadHeaderTimeout: b.Head,
		IdleTimeout:       b.Idle,
		MaxHeaderBytes:    b.HeadBytes,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(log.With(slog.String(logkey.Component, "http")).Handler(), slog.LevelDebug),
	}
	return s
}

// follow keeps fresh. It is called twice in each call; to delete a key that is not there takes no lock.
func (s *Server) follow(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.fresh.Store(c, nil)
	} else {
		s.fresh.Delete(c)
	}
}

// Shutdown takes no more connections and returns when every call is answered, or with ctx's error when it ends first.
func (s *Server) Shutdown(ctx context.Context) error {
	timer := time.AfterFunc(freshGrace, func() {
		s.fresh.Range(func(c, _ any) bool {
			_ = c.(net.Conn).Close()
			return true
		})
	})
	defer timer.Stop()
	return s.Server.Shutdown(ctx)
}
