package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// dial is the host's network: it knows to whom a connection leads and can be cut.
func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	link := [2]int{h.i, h.w.hostAt(addr)}
	h.w.mu.Lock()
	blocked, refused := h.w.blocked[link], h.w.refused[link]
	h.w.mu.Unlock()
	if refused {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	if blocked {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.w.blocked[link] {
		c.Close()
		return nil, errors.New("cut")
	}
	if h.w.conns[link] == nil {
		h.w.conns[link] = map[net.Conn]bool{}
	}
	h.w.conns[link][c] = true
	return c, nil
}

func (w *world) hostAt(addr string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, h := range w.hosts {
		if h.address == addr {
			return i
		}
	}
	return -1
}

// cut separates two masters, both ways.
func (w *world) cut(i, j int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, link := range [][2]int{{i, j}, {j, i}} {
		w.blocked[link] = true
		for c := range w.conns[link] {
			c.Close()
		}
		delete(w.conns, link)
	}
}

// refuse lets every connection between two masters break and the first one's new ones be refused.
func (w *world) refuse(i, j int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[[2]int{i, j}] = true
	for _, link := range [][2]int{{i, j}, {j, i}} {
		for c := range w.conns[link] {
			c.Close()
		}
		delete(w.conns, link)
	}
}

// isolate separates a master from all others.
func (w *world) isolate(h *host) {
	for _, o := range w.hosts {
		if o != h {
			w.cut(h.i, o.i)
		}
	}
}

func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.blocked)
	clear(w.refused)
}
