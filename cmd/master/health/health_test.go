package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is the node of a master that can serve, but for what a test changes.
type fakeNode struct {
	behind, leaderless bool
	waiting            string
	disk               error
	state              cluster.State
}

func (n fakeNode) CaughtUp() <-chan struct{} {
	c := make(chan struct{})
	if !n.behind {
		close(c)
	}
	return c
}
func (n fakeNode) Leader() (cluster.Leader, bool) { return cluster.Leader{}, !n.leaderless }
func (n fakeNode) Waiting() string                { return n.waiting }
func (n fakeNode) DiskError() error               { return n.disk }
func (n fakeNode) State() cluster.State           { return n.state }

func TestReadiness(t *testing.T) {
	const behind = "the state has not reached what the cluster had committed when this master started"
	for _, c := range []struct {
		name   string
		node   fakeNode
		drain  bool
		failed []string // names of the checks
		want   string
	}{
		{"serving", fakeNode{state: cluster.StateFollower}, false, nil, ""},
		{"leading", fakeNode{state: cluster.StateLeader}, false, nil, ""},
		{"non-voter", fakeNode{state: cluster.StateNonvoter}, false, nil, ""},
		{"draining", fakeNode{}, true, []string{"running"}, "this master is stopping"},
		{"no leader", fakeNode{leaderless: true}, false, []string{"leader"}, "no master leads"},
		{"no cluster yet", fakeNode{leaderless: true, waiting: "2 of 3 masters"}, false, []string{"leader"},
			"2 of 3 masters"},
		{"a leader is known, whatever the bootstrap waits for", fakeNode{waiting: "2 of 3 masters"}, false, nil, ""},
		{"behind", fakeNode{behind: true}, false, []string{"caught_up"}, behind},
		{"ill disk", fakeNode{disk: errors.New("nearly full")}, false, []string{"disk"}, "nearly full"},
		{"removed", fakeNode{state: cluster.StateRemoved}, false, []string{"member"},
			"this master was removed from the cluster"},
		{"several", fakeNode{behind: true, leaderless: true, disk: errors.New("nearly full")}, true,
			[]string{"running", "leader", "caught_up", "disk"},
			"this master is stopping; no master leads; " + behind + "; nearly full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(c.node, nil)
			if c.drain {
				p.Drain()
			}
			var names, failed []string
			for _, check := range p.Ready(t.Context()) {
				names = append(names, check.Name)
				if !check.OK {
					failed = append(failed, check.Name)
				}
				if check.OK != (check.Detail == "") {
					t.Errorf("%+v", check)
				}
			}
			if want := []string{"running", "leader", "caught_up", "disk", "member"}; !reflect.DeepEqual(names, want) {
				t.Errorf("checks %q, want %q", names, want)
			}
			if !reflect.DeepEqual(failed, c.failed) {
				t.Errorf("failed: %q, want %q", failed, c.failed)
			}
			if got := p.Waiting(t.Context()); got != c.want {
				t.Errorf("waits for %q, want %q", got, c.want)
			}
		})
	}
}

// fakePort is a port whose servers answer, but for what a test changes.
type fakePort struct {
	err             error
	https, stranger func(context.Context) (net.Conn, error)
}

func (p fakePort) Alive() error                                       { return p.err }
func (p fakePort) DialHTTP(ctx context.Context) (net.Conn, error)     { return p.https(ctx) }
func (p fakePort) DialStranger(ctx context.Context) (net.Conn, error) { return p.stranger(ctx) }

func TestLiveness(t *testing.T) {
	type dial = func(context.Context) (net.Conn, error)
	serve := func(status int) dial {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/livez" || !r.Close {
				status = http.StatusTeapot
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
		}
	}
	refuse := func(context.Context) (net.Conn, error) { return nil, errors.New("the queue is closed") }
	silent := func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		return here, nil
	}
	well := serve(http.StatusOK)
	for _, c := range []struct {
		name string
		port fakePort
		want string // part of the error; "": none
	}{
		{"alive", fakePort{nil, well, well}, ""},
		{"the port accepts no more", fakePort{errors.New("accept: bad file"), well, well}, "accept: bad file"},
		{"no server takes connections", fakePort{nil, refuse, well}, `server "https" does not answer: the queue is closed`},
		{"the server of strangers takes none", fakePort{nil, well, refuse}, `server "strangers" does not answer`},
		{"a server answers an error", fakePort{nil, serve(http.StatusServiceUnavailable), well}, "/livez: 503"},
		{"a server says nothing", fakePort{nil, well, silent}, "context deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			limit := time.Minute // never reached
			if c.want == context.DeadlineExceeded.Error() {
				limit = 20 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := New(nil, c.port).Alive(ctx)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
