package dev

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// port is a port that a cluster needs.
type port struct {
	number int
	what   string
	udp    bool
}

func (l Layout) ports() []port {
	var out []port
	for i := range l.Masters {
		out = append(out,
			port{l.httpsPort(i), "HTTPS of " + l.masterName(i), false},
			port{l.gossipPort(i), "gossip of " + l.masterName(i), false},
			port{l.gossipPort(i), "gossip of " + l.masterName(i), true})
	}
	return out
}

// taken tries the port: "" means that it is free. If another process takes the port between this try and its use, the
// master's own error tells.
func (p port) taken() string {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number))
	network := "TCP"
	var err error
	if p.udp {
		network = "UDP"
		var c net.PacketConn
		if c, err = net.ListenPacket("udp", address); err == nil {
			_ = c.Close()
		}
	} else {
		var ln net.Listener
		if ln, err = net.Listen("tcp", address); err == nil {
			_ = ln.Close()
		}
	}
	if err == nil {
		return ""
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the address, which is said already
	}
	return fmt.Sprintf("%s %d (%s): %v", network, p.number, p.what, err)
}

// PortsError says that nothing was started, since other processes have ports that the cluster needs.
type PortsError struct {
	First, Last int      // ports that the cluster needs
	Taken       []string // each with its use and the system's reason
	Free        int      // first port of a row nearby that is free; 0: none was found
}

func (e *PortsError) Error() string {
	return fmt.Sprintf("nothing was started: the cluster needs the ports %d to %d of 127.0.0.1, of which are taken:\n%s",
		e.First, e.Last, strings.Join(e.Taken, "\n"))
}

// portsFree tries all ports before anything is started: that a master cannot listen would show much later, and only in
// its log.
func (l Layout) portsFree() error {
	e := &PortsError{First: l.httpsPort(0), Last: l.gossipPort(l.Masters - 1)}
	for _, p := range l.ports() {
		if why := p.taken(); why != "" {
			e.Taken = append(e.Taken, why)
		}
	}
	if len(e.Taken) == 0 {
		return nil
	}
	if free, ok := l.freeRow(); ok {
		e.Free = free.Port
	}
	return e
}

// freeRow is the layout on ports nearby that are all free.
func (l Layout) freeRow() (free Layout, ok bool) {
	for range 20 {
		if l.Port += 100; l.Check() != nil {
			break
		}
		if !slices.ContainsFunc(l.ports(), func(p port) bool { return p.taken() != "" }) {
			return l, true
		}
	}
	return l, false
}
