package master

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Fresh reports whether the data directory was empty when this master opened it: it then waits for others to form or
// join a cluster with, which may need an operator's next step.
func (m *Master) Fresh() bool { return m.dir.New() }

// Waiting says what this master waits for before it can serve, "" when it can.
func (m *Master) Waiting(ctx context.Context) string {
	var waits []string
	for _, c := range m.ready(ctx) {
		if !c.OK {
			waits = append(waits, c.Detail)
		}
	}
	return strings.Join(waits, "; ")
}

// Alive asks this master's own /livez of each server behind the port, and whether the port goes on accepting. It asks
// within the process: how many others want to connect, and what stands between them and the port, is no sign that a
// restart helps. An error means that this master does not work any more, whatever else it does.
func (m *Master) Alive(ctx context.Context) error {
	if err := m.transport.Alive(); err != nil {
		return err
	}
	for name, dial := range map[string]func(context.Context) (net.Conn, error){"https": m.transport.DialHTTP,
		"strangers": m.transport.DialStranger} {
		if err := askLive(ctx, dial); err != nil {
			return fmt.Errorf("this master's server %q does not answer: %w", name, err)
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
