package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// acceptTime is how long the accepting goroutine may take for one connection. It never waits, so that is a long time.
const acceptTime = 5 * time.Second

// Alive returns an error if the goroutine that accepts connections hangs.
func (t *Transport) Alive() error {
	if since := t.busy.Load(); since != 0 {
		if d := time.Since(time.Unix(0, since)); d > acceptTime {
			return fmt.Errorf("no connection has been accepted for %v: the accepting goroutine hangs", d.Round(time.Second))
		}
	}
	return nil
}

// DialHTTP connects to the server of HTTP, and DialStranger to that of Strangers, within this process: without a
// socket, without TLS and without limits.
func (t *Transport) DialHTTP(ctx context.Context) (net.Conn, error) { return dialInside(ctx, t.http) }

// DialStranger is DialHTTP for the server of Strangers.
func (t *Transport) DialStranger(ctx context.Context) (net.Conn, error) {
	return dialInside(ctx, t.strangers)
}

func dialInside(ctx context.Context, q *queue) (net.Conn, error) {
	near, far := net.Pipe()
	within := time.Minute
	if until, ok := ctx.Deadline(); ok {
		within = time.Until(until)
	}
	if !q.put(far, within) {
		_ = near.Close()
		return nil, errors.New("no server takes connections")
	}
	return near, nil
}
