package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"scaleout/cluster"
	"scaleout/httpapi/wire"
)

// Node is this master's node of the cluster.
type Node interface {
	// CaughtUp is closed once the state has reached what the cluster had committed when this master started.
	CaughtUp() <-chan struct{}
	Leader() (cluster.Leader, bool)
	Waiting() string // what it waits for before it is in a cluster
	DiskError() error
	State() cluster.State
}

// Port is this master's port, with a way past the listener to each of the servers behind it.
type Port interface {
	Alive() error // an error when it does not go on accepting
	DialHTTP(ctx context.Context) (net.Conn, error)
	DialStranger(ctx context.Context) (net.Conn, error)
}

// Probe answers for one master.
type Probe struct {
	node     Node
	port     Port
	draining atomic.Bool
}

// New makes a Probe.
func New(node Node, port Port) *Probe { return &Probe{node: node, port: port} }

// Drain makes the master not ready for good: it is about to hand over.
func (p *Probe) Drain() { p.draining.Store(true) }

// Ready lists the conditions of readiness: what /readyz answers.
func (p *Probe) Ready(context.Context) []wire.Check {
	check := func(name string, ok bool, detail string) wire.Check {
		if ok {
			detail = ""
		}
		return wire.Check{Name: name, OK: ok, Detail: detail}
	}
	caught := false
	select {
	case <-p.node.CaughtUp():
		caught = true
	default:
	}
	_, leader := p.node.Leader()
	waiting := p.node.Waiting()
	if waiting == "" {
		waiting = "no master leads"
	}
	disk := ""
	if err := p.node.DiskError(); err != nil {
		disk = err.Error()
	}
	return []wire.Check{
		check("running", !p.draining.Load(), "this master is stopping"),
		check("leader", leader, waiting),
		check("caught_up", caught, "the state has not reached what the cluster had committed when this master started"),
		check("disk", disk == "", disk),
		check(wire.CheckMember, p.node.State() != cluster.StateRemoved, "this master was removed from the cluster"),
	}
}

// Waiting says what this master waits for before it can serve, "" when it can.
func (p *Probe) Waiting(ctx context.Context) string {
	var waits []string
	for _, c := range p.Ready(ctx) {
		if !c.OK {
			waits = append(waits, c.Detail)
		}
	}
	return strings.Join(waits, "; ")
}

// Alive asks /livez of each server behind the port, and whether the port goes on accepting. An error means that this
// master does not work any more, whatever else it does.
func (p *Probe) Alive(ctx context.Context) error {
	if err := p.port.Alive(); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		dial func(context.Context) (net.Conn, error)
	}{{"https", p.port.DialHTTP}, {"strangers", p.port.DialStranger}} {
		if err := askLive(ctx, s.dial); err != nil {
			return fmt.Errorf("this master's server %q does not answer: %w", s.name, err)
		}
	}
	return nil
}

func askLive(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	transport := &http.Transport{
		DisableKeepAlives: true, // a connection of its own each time: that one is taken is part of the question
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inside/livez", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez: %s", resp.Status)
	}
	return nil
}
