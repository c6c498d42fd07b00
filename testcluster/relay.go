package testcluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// relay is the way of a worker process to the masters: all its connections go through this process, where they can be
// cut. A connection begins with a line that names the master.
type relay struct {
	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	cuts  []*lineCut
	lines map[*line]bool
}

// lineCut drops what goes between the worker and the masters at some addresses, none named meaning all.
type lineCut struct {
	deaf      bool // only what comes back is dropped
	addresses []string
}

func (k *lineCut) hits(address string) bool {
	return len(k.addresses) == 0 || slices.Contains(k.addresses, address)
}

// line is one connection of the worker.
type line struct {
	address string
	here    net.Conn // to the worker
	lost    bool     // bytes were swallowed; guarded by relay.mu
}

func newRelay() (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, lines: map[*line]bool{}}
	r.group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.group.Go(func() { r.serve(conn) })
		}
	})
	return r, nil
}

// relayed dials by way of a relay.
func relayed(by string) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, by)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintln(conn, address); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func (r *relay) serve(here net.Conn) {
	defer here.Close()
	in := bufio.NewReader(here)
	address, err := in.ReadString('\n')
	if err != nil {
		return
	}
	l := &line{address: strings.TrimSpace(address), here: here}
	r.mu.Lock()
	r.lines[l] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.lines, l)
	}()
	there, err := net.Dial("tcp", l.address)
	if err != nil {
		return
	}
	defer there.Close()
	var back sync.WaitGroup
	back.Go(func() {
		defer here.Close()
		r.carry(l, here, there, true)
	})
	r.carry(l, there, in, false)
	there.Close()
	back.Wait()
}

// carry hands on what is not cut.
func (r *relay) carry(l *line, to io.Writer, from io.Reader, back bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !r.swallows(l, back) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) swallows(l *line, back bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.cuts {
		if k.hits(l.address) && (back || !k.deaf) {
			l.lost = true
			return true
		}
	}
	return false
}

// cut drops until mend; connections that lost bytes are dead then, as they would be.
func (r *relay) cut(k *lineCut) (mend func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cuts = append(r.cuts, k)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cuts = slices.DeleteFunc(r.cuts, func(x *lineCut) bool { return x == k })
		for l := range r.lines {
			if l.lost {
				l.here.Close()
			}
		}
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	for l := range r.lines {
		l.here.Close()
	}
	r.mu.Unlock()
	r.group.Wait()
}
