package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/service"
	"scaleout/httpapi/wire"
)

// limitOfError is the setting that an error names, and fails the test for any other error.
func limitOfError(t *testing.T, err error) string {
	t.Helper()
	var limit *service.LimitReached
	if err != nil && !errors.As(err, &limit) {
		t.Fatal(err)
	}
	return limitOf(err)
}

func TestQuotas(t *testing.T) {
	q := newQuotas(Limits{CallsInFlight: 2, CallsPerSecond: 1000, EventStreams: 1, BodyBytes: 4 << 20,
		CallerBodyBytes: 2 << 20})
	call := func() (func(), error) { return q.call("user a") }
	stream := func() (func(), error) { return q.stream("user a") }
	body := func(who string, n int64) func() (func(), error) {
		return func() (func(), error) { return q.body(who, n) }
	}
	for _, x := range []struct {
		name  string
		takes []func() (func(), error)
		limit string // of the last one
	}{
		{"calls up to the limit", []func() (func(), error){call, call}, ""},
		{"a call too many", []func() (func(), error){call, call, call}, "MaxCallsInFlight"},
		{"another caller's calls", []func() (func(), error){call, call, func() (func(), error) { return q.call("user b") }},
			""},
		{"a master's own calls", []func() (func(), error){call, call, func() (func(), error) { return q.call("") }}, ""},
		{"a stream too many", []func() (func(), error){stream, stream}, "MaxEventStreams"},
		{"bodies of a caller", []func() (func(), error){body("user a", 1<<20), body("user a", 1<<20)}, ""},
		{"a caller's body too many", []func() (func(), error){body("user a", 2<<20), body("user a", 1)},
			"MaxBodyMemoryBytesPerCaller"},
		{"large bodies leave a quarter", []func() (func(), error){body("user a", 2<<20), body("user b", 1<<20),
			body("user c", 1<<20)}, "MaxBodyMemoryBytes"},
		{"to small ones", []func() (func(), error){body("user a", 2<<20), body("user b", 1<<20), body("user c", 64<<10)}, ""},
		{"a master's body counts in all", []func() (func(), error){body("", 3<<20), body("user a", 65<<10)},
			"MaxBodyMemoryBytes"},
	} {
		t.Run(x.name, func(t *testing.T) {
			for round := range 2 { // the second finds everything given back
				var releases []func()
				for i, take := range x.takes {
					release, err := take()
					want := ""
					if i == len(x.takes)-1 {
						want = x.limit
					}
					if got := limitOfError(t, err); got != want {
						t.Fatalf("round %d, %d: %q, want %q", round, i, got, want)
					}
					if err == nil {
						releases = append(releases, release)
					}
				}
				for _, f := range releases {
					f()
				}
			}
			if q.bodies != 0 {
				t.Fatal(q.bodies)
			}
		})
	}
}

func TestCallsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuotas(Limits{CallsPerSecond: 10})
		taken := func() (n int) {
			for range 100 {
				done, err := q.call("user a")
				if limitOfError(t, err) != "" {
					return n
				}
				done()
				n++
			}
			return n
		}
		if n := taken(); n != 20 {
			t.Fatalf("%d calls at once; twice the rate was expected", n)
		}
		time.Sleep(time.Second)
		if n := taken(); n != 10 {
			t.Fatalf("%d calls after a second", n)
		}
	})
}

// An address has few calls: anybody has many addresses.
func TestCallsPerSecondWithoutACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuotas(Limits{})
		for i := range 2 * strangersPerSecond {
			done, err := q.call(accountOf(command.Caller{}, fmt.Sprintf("[2001:db8::%x]:1", i+1)))
			if err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
			done()
		}
		if _, err := q.call(accountOf(command.Caller{}, "[2001:db8::ffff:1]:1")); limitOfError(t, err) !=
			"MaxCallsPerSecond" {
			t.Errorf("one more from the same network: %v", err)
		}
		if _, err := q.call(accountOf(command.Caller{}, "192.0.2.1:1")); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
	})
}

// TestIdleAccountsGo: what is kept of callers who ask nothing any more is bounded.
func TestIdleAccountsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuotas(Limits{})
		held, err := q.call("user held")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 * accountsSwept {
			done, err := q.call(fmt.Sprint("user ", i))
			if err != nil {
				t.Fatal(err)
			}
			done()
			if i%accountsSwept == 0 {
				time.Sleep(3 * time.Second)
			}
		}
		if n := len(q.accounts); n > 4*accountsSwept || q.accounts["user held"] == nil {
			t.Fatal(n)
		}
		held()
	})
}

func TestAccountOf(t *testing.T) {
	for want, x := range map[string]struct {
		caller command.Caller
		remote string
	}{
		"":                 {command.Caller{Kind: "master", Name: "m"}, "10.0.0.1:5"},
		"worker w":         {command.Caller{Kind: "worker", Name: "w"}, "10.0.0.1:5"},
		"user bob":         {command.Caller{Kind: "user", Name: "BOB"}, "10.0.0.1:5"},
		"address 10.0.0.1": {command.Caller{}, "10.0.0.1:5"},
		"address ::/64":    {command.Caller{}, "[::1]:5"},
	} {
		if got := accountOf(x.caller, x.remote); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// unsent is a body of which nothing ever comes, until its request is over.
func unsent(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.CloseWithError(errors.New("the test is over")) })
	return r
}

// ask sends a request whose body may never come.
func ask(t *testing.T, c *http.Client, url string, body io.Reader, size int64) got {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, resp)
}

// TestPermissionComesBeforeTheBody: whoever may not call a procedure is told so while its body is still on the way, at
// the first master, and the leader never hears of the call.
func TestPermissionComesBeforeTheBody(t *testing.T) {
	w := newWorld(t, 2)
	var forwarded atomic.Int64
	leader := w.nodes[0].srv.Config.Handler
	w.nodes[0].srv.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get(wire.HeaderHop) != "" {
			forwarded.Add(1)
		}
		leader.ServeHTTP(rw, r)
	})
	for _, x := range []struct {
		name, procedure string
		caller          command.Caller
		size            int64
		status          int
		code            string
	}{
		{"no role", "deploy_project", nobody, 11 << 20, 403, "permission_denied"},
		{"another role", "deploy_project", runner, 11 << 20, 403, "permission_denied"},
		{"no such procedure", "deploy_projects", root, 11 << 20, 404, "procedure_not_found"},
		{"a worker", "deploy_project", worker1, 11 << 20, 403, "forbidden"},
		{"a large body for small arguments", "create_folder", root, 256<<10 + 1, 413, "body_too_large"},
		{"a body beyond a project file", "deploy_project", root, 12<<20 + 1, 413, "body_too_large"},
	} {
		for i, n := range w.nodes {
			t.Run(fmt.Sprintf("%s, node %d", x.name, i), func(t *testing.T) {
				g := ask(t, w.as(&x.caller), n.srv.URL+"/v1/catalog/procedures/"+x.procedure, unsent(t), x.size)
				if g.StatusCode != x.status || g.problem.Code != x.code {
					t.Fatal(g.StatusCode, g.body)
				}
			})
		}
	}
	if n := forwarded.Load(); n != 0 {
		t.Fatalf("%d calls were forwarded", n)
	}
}

// TestBodiesShareAMemory: bodies that are announced and never come hold no more than the caller's share; small calls of
// others pass, large ones are told when to come again, on the leader and on a master that would forward them.
func TestBodiesShareAMemory(t *testing.T) {
	for i, name := range []string{"leader", "follower"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, func(c *parts) { c.Limits = Limits{BodyBytes: 16 << 20, CallerBodyBytes: 12 << 20} })
			n := w.nodes[i]
			url := n.srv.URL + "/v1/catalog/procedures/"
			announced, gone := io.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				req, err := http.NewRequestWithContext(t.Context(), "POST", url+"deploy_project", announced)
				if err != nil {
					t.Error(err)
					return
				}
				req.ContentLength = 11 << 20
				if resp, err := w.as(&root).Do(req); err == nil {
					resp.Body.Close()
				}
			}()
			held := func() int64 {
				q := n.api.quotas
				q.mu.Lock()
				defer q.mu.Unlock()
				return q.bodies
			}
			eventually(t, "the body's memory is taken", func() bool { return held() == 11<<20 })
			second := command.Caller{Kind: "user", Name: "second", Roles: []string{command.RoleAdmin}}
			for _, x := range []struct {
				caller command.Caller
				limit  string
			}{{root, "MaxBodyMemoryBytes"}, {second, "MaxBodyMemoryBytes"}} {
				g := ask(t, w.as(&x.caller), url+"deploy_project", unsent(t), 11<<20)
				if g.StatusCode != 429 || g.problem.Limit != x.limit || g.Header.Get("Retry-After") == "" {
					t.Fatal(g.StatusCode, g.body)
				}
			}
			if g := do(t, w.as(&second), "POST", url+"create_folder", `{"folder_name":"F"}`); g.StatusCode != 200 {
				t.Fatal(g.StatusCode, g.body)
			}
			gone.CloseWithError(errors.New("given up"))
			<-done
			eventually(t, "the memory is given back", func() bool { return held() == 0 })
			if g := do(t, w.as(&second), "POST", url+"deploy_project",
				`{"folder_name":"F","project_name":"`+strings.Repeat("x", 100)+`","project_stream":"`+
					strings.Repeat("AAAA", 100_000)+`"}`); g.StatusCode != 400 && g.StatusCode != 422 && g.StatusCode != 409 {
				t.Fatal(g.StatusCode, g.body)
			}
		})
	}
}

// TestCallsInFlightOfACaller: a caller's held polls take its places, at the leader also those that came by another
// master; another caller has places of its own, and a call that ends gives its place back.
func TestCallsInFlightOfACaller(t *testing.T) {
	w := newWorld(t, 2, func(c *parts) { c.Limits = Limits{CallsInFlight: 2, EventStreams: 1} })
	release := make(chan struct{})
	var held atomic.Int64
	wait := func(ctx context.Context, _ command.Poll) (command.Answer, error) {
		held.Add(1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return command.Answer{}, ctx.Err()
	}
	w.nodes[0].exchange.Store(&wait)
	poll := `{"instance":"i","sequence":1,"wait_ms":60000,"slots":1,"running":[],"ended":[]}`
	path := "/v1/workers/" + agent + "/exchange"
	answers := make(chan int, 2)
	for i := range 2 {
		go func() {
			answers <- ask(t, w.as(&worker1), w.nodes[i].srv.URL+path, strings.NewReader(poll), int64(len(poll))).StatusCode
		}()
	}
	eventually(t, "both polls are held", func() bool { return held.Load() == 2 })
	for i, n := range w.nodes { // the follower has a place, the leader none
		if g := do(t, w.as(&worker1), "POST", n.srv.URL+path, poll); g.StatusCode != 429 ||
			g.problem.Limit != "MaxCallsInFlight" {
			t.Fatal(i, g.StatusCode, g.body)
		}
	}
	if g := do(t, w.as(&root), "GET", w.nodes[1].srv.URL+"/v1/catalog/views/folders", ""); g.StatusCode != 200 {
		t.Fatal(g.StatusCode, g.body)
	}
	close(release)
	for range 2 {
		if status := <-answers; status != 200 {
			t.Fatal(status)
		}
	}
	eventually(t, "there is a place again", func() bool {
		return do(t, w.as(&worker1), "POST", w.nodes[1].srv.URL+path, poll).StatusCode == 200
	})
}

func TestEventStreamsOfACaller(t *testing.T) {
	w := newWorld(t, 1, func(c *parts) { c.Limits = Limits{EventStreams: 1} })
	url := w.nodes[0].srv.URL + "/v1/events"
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.as(&nobody).Do(req)
	if err != nil || first.StatusCode != 200 {
		t.Fatal(first, err)
	}
	if g := do(t, w.as(&nobody), "GET", url, ""); g.StatusCode != 429 || g.problem.Limit != "MaxEventStreams" {
		t.Fatal(g.StatusCode, g.body)
	}
	if g := do(t, w.as(&runner), "GET", url+"?follow=false", ""); g.StatusCode != 200 {
		t.Fatal(g.StatusCode, g.body)
	}
	first.Body.Close()
	eventually(t, "there is a place again", func() bool {
		return do(t, w.as(&nobody), "GET", url+"?follow=false", "").StatusCode == 200
	})
}
