package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// devPort is a port that a dev cluster needs.
type devPort struct {
	number int
	what   string
	udp    bool
}

func (l layout) ports() []devPort {
	var out []devPort
	for i := range l.Masters {
		out = append(out,
			devPort{l.httpsPort(i), "HTTPS of " + l.masterName(i), false},
			devPort{l.gossipPort(i), "gossip of " + l.masterName(i), false},
			devPort{l.gossipPort(i), "gossip of " + l.masterName(i), true})
	}
	return out
}

// taken tries the port: "" means that it is free. Whoever takes it between this look and its use is told of by the
// master's own error.
func (p devPort) taken() string {
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
	return fmt.Sprintf("%s %d (%s): %v", network, p.number, p.what, bareListenError(err))
}

// bareListenError leaves out the address, which the caller says.
func bareListenError(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

var errPortsTaken = errors.New("nothing was started")

// portsFree looks at all ports before anything is started: a master that cannot listen would be found out much later, and
// in its log.
func (l layout) portsFree() error {
	var taken []string
	for _, p := range l.ports() {
		if why := p.taken(); why != "" {
			taken = append(taken, why)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	advice := "--port takes the first of another row"
	if free, ok := l.freeRow(); ok {
		advice = fmt.Sprintf("%s; --port %d begins one that is free", advice, free.Port)
	}
	return fmt.Errorf("%w: the cluster needs the ports %d to %d of 127.0.0.1, of which are taken:\n%s\n%s",
		errPortsTaken, l.httpsPort(0), l.gossipPort(l.Masters-1), strings.Join(taken, "\n"), advice)
}

// freeRow is the layout on ports nearby that are all free.
func (l layout) freeRow() (free layout, ok bool) {
	for range 20 {
		if l.Port += 100; l.check() != nil {
			break
		}
		if !slices.ContainsFunc(l.ports(), func(p devPort) bool { return p.taken() != "" }) {
			return l, true
		}
	}
	return l, false
}
