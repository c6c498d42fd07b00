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

// relay carries all connections of one worker process to the masters, so that this process can cut them. A connection
// begins with a line that names the master's address.
type relay struct {
	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	cuts  []*relayCut
	conns map[*relayedConn]bool
}

// relayCut drops what goes between the worker and the masters at the addresses.
type relayCut struct {
	oneWay    bool     // only what the masters send is dropped
	addresses []string // none: all masters
}

func (k *relayCut) matches(address string) bool {
	return len(k.addresses) == 0 || slices.Contains(k.addresses, address)
}

// relayedConn is one connection of the worker.
type relayedConn struct {
	address string   // of the master
	worker  net.Conn // to the worker
	lost    bool     // bytes were dropped; guarded by relay.mu
}

func newRelay() (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, conns: map[*relayedConn]bool{}}
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

// relayed returns a dial function whose connections go through the relay at an address.
func relayed(relay string) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, relay)
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

func (r *relay) serve(toWorker net.Conn) {
	defer toWorker.Close()
	in := bufio.NewReader(toWorker)
	address, err := in.ReadString('\n')
	if err != nil {
		return
	}
	c := &relayedConn{address: strings.TrimSpace(address), worker: toWorker}
	r.mu.Lock()
	r.conns[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, c)
	}()
	toMaster, err := net.Dial("tcp", c.address)
	if err != nil {
		return
	}
	defer toMaster.Close()
	var answers sync.WaitGroup
	answers.Go(func() {
		defer toWorker.Close()
		r.copy(c, toWorker, toMaster, true)
	})
	r.copy(c, toMaster, in, false)
	toMaster.Close()
	answers.Wait()
}

// copy passes on what no cut drops.
func (r *relay) copy(c *relayedConn, to io.Writer, from io.Reader, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !r.drops(c, answers) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) drops(c *relayedConn, answers bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.cuts {
		if k.matches(c.address) && (answers || !k.oneWay) {
			c.lost = true
			return true
		}
	}
	return false
}

// cut adds a cut. The returned function removes it and closes the connections that lost bytes: a real connection would
// not survive the loss either.
func (r *relay) cut(k *relayCut) (heal func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cuts = append(r.cuts, k)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cuts = slices.DeleteFunc(r.cuts, func(x *relayCut) bool { return x == k })
		for c := range r.conns {
			if c.lost {
				c.worker.Close()
			}
		}
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		c.worker.Close()
	}
	r.mu.Unlock()
	r.group.Wait()
}
