package transport

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// When all places are taken, a handshake older than this makes room. A real one
// takes milliseconds; waiting lets a rush of workers through in order, and the
// age keeps clients that connect and say nothing from shutting the masters out.
const gateGrace = time.Second

// gate bounds how many handshakes go on at a time.
type gate struct {
	max   int
	freed chan struct{}

	mu     sync.Mutex
	inside []*visit // oldest first
}

type visit struct {
	conn  net.Conn
	since time.Time
}

func newGate(limit int) *gate {
	return &gate{max: limit, freed: make(chan struct{}, 1)}
}

// enter waits for a place and returns the function that gives it back; nil when
// ctx ended first.
func (g *gate) enter(ctx context.Context, c net.Conn) (leave func()) {
	for {
		v, wait := g.try(c)
		if v != nil {
			return func() { g.leave(v) }
		}
		timer := time.NewTimer(wait)
		select {
		case <-g.freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

func (g *gate) try(c net.Conn) (*visit, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if len(g.inside) >= g.max {
		oldest := g.inside[0]
		if age := now.Sub(oldest.since); age < gateGrace {
			return nil, gateGrace - age
		}
		_ = oldest.conn.Close()
		g.inside = g.inside[1:]
	}
	v := &visit{conn: c, since: now}
	g.inside = append(g.inside, v)
	return v, 0
}

func (g *gate) leave(v *visit) {
	g.mu.Lock()
	if i := slices.Index(g.inside, v); i >= 0 {
		g.inside = slices.Delete(g.inside, i, i+1)
	}
	g.mu.Unlock()
	select {
	case g.freed <- struct{}{}:
	default:
	}
}
