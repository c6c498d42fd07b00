package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Server wraps a handler in a server with bounds on what a connection may do before a route's own apply: HTTP/1.1 only
// (measured faster here than HTTP/2, which would share one connection between held polls and everything else), 10 s for
// a request's head, 2 min between two requests, 64 KiB of headers.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.Default()
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(log.With("component", "http").Handler(), slog.LevelDebug),
	}
}
