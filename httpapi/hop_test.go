package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/fsm/command"
	"scaleout/httpapi/client"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/wire"
)

func TestFollowerForwardsOnce(t *testing.T) {
	w := newWorld(t, 2)
	c := w.as(&root)
	g := do(t, c, "POST", w.nodes[1].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"F"}`)
	if g.StatusCode != 200 || g.body != `{"return_value":0,"output":{"folder_id":1},"result_sets":[]}`+"\n" {
		t.Fatal(g.StatusCode, g.body)
	}
	for h, want := range map[string]string{wire.HeaderForwardedBy: "master-2", wire.HeaderLeader: "master-1",
		wire.HeaderIndex: "2"} {
		if got := g.Header.Get(h); got != want {
			t.Errorf("%s: %q, want %q", h, got, want)
		}
	}
	if f, _ := w.fsm.Reader().Folder("F"); f == nil || f.CreatedBy != "root" {
		t.Fatal(f)
	}
	for _, node := range []int{0, 1} {
		g := do(t, c, "GET", w.nodes[node].srv.URL+"/v1/catalog/views/folders?name=F", "")
		if g.StatusCode != 200 || !strings.Contains(g.body, `"name":"F"`) || (g.Header.Get(wire.HeaderForwardedBy) != "") !=
			(node == 1) {
			t.Fatal(node, g.StatusCode, g.body)
		}
	}
	// Refusals come back as they are, and no internal header leaks.
	g = do(t, c, "POST", w.nodes[1].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"F"}`)
	if g.StatusCode != 409 || g.problem.Code != "folder_exists" || g.Header.Get(wire.HeaderForwardedBy) != "master-2" {
		t.Fatal(g.StatusCode, g.body)
	}
	for h := range g.Header {
		if strings.HasPrefix(h, wire.InternalPrefix) {
			t.Error(h)
		}
	}
}

// TestTwoMastersWhichEachBelieveInTheOther: a call ends after one hop.
func TestTwoMastersWhichEachBelieveInTheOther(t *testing.T) {
	w := newWorld(t, 2, func(c *parts) { c.Hold = 300 * time.Millisecond })
	for i, n := range w.nodes {
		n.believes.Store(&forward.Place{Leader: w.nodes[0].leaderOf(1 - i), Known: true})
	}
	g := do(t, w.as(&root), "POST", w.nodes[0].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"F"}`)
	if g.StatusCode != 503 || g.problem.Code != wire.CodeNoLeader || g.Header.Get("Retry-After") == "" {
		t.Fatal(g.StatusCode, g.body)
	}
	// What arrives with a hop is refused at once, structured, with a hint.
	hop := do(t, w.as(&command.Caller{Kind: "master", Name: "master-1"}), "POST",
		w.nodes[1].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"F"}`,
		wire.HeaderHop, "master-1", wire.HeaderCaller,
		wire.EncodeCaller(wire.Caller{Kind: "user", Name: "root", Roles: []string{command.RoleAdmin}}))
	if hop.StatusCode != 503 || hop.problem.Code != wire.CodeNotLeader || hop.problem.Leader == nil ||
		hop.problem.Leader.ID != "id-0" {
		t.Fatal(hop.StatusCode, hop.body)
	}
}

func TestNoLeaderIsHeldThenRefused(t *testing.T) {
	w := newWorld(t, 2, func(c *parts) { c.Hold = 400 * time.Millisecond })
	w.elect(-1)
	began := time.Now()
	signs := 0
	g := doTraced(t, w.as(&root), "GET", w.nodes[0].srv.URL+"/v1/catalog/views/folders", "", func() { signs++ })
	if d := time.Since(began); g.StatusCode != 503 || g.problem.Code != wire.CodeNoLeader ||
		g.Header.Get("Retry-After") != "1" || d < 300*time.Millisecond {
		t.Fatal(g.StatusCode, g.body, d)
	}
	if signs == 0 {
		t.Fatal("no sign of life while the call was held")
	}
	if g := do(t, w.as(&root), "GET", w.nodes[0].srv.URL+"/v1/status/leader", ""); g.StatusCode != 503 ||
		g.problem.Code != wire.CodeNoLeader {
		t.Fatal(g.StatusCode, g.body)
	}
}

func TestNoLeaderIsHeldUntilThereIsOne(t *testing.T) {
	w := newWorld(t, 2)
	w.elect(-1)
	for _, node := range []int{0, 1} {
		held := make(chan struct{}, 100)
		done := make(chan got, 1)
		go func() {
			done <- doTraced(t, w.as(&root), "GET", w.nodes[node].srv.URL+"/v1/catalog/views/folders", "",
				func() { held <- struct{}{} })
		}()
		<-held
		w.elect(1)
		if g := <-done; g.StatusCode != 200 {
			t.Fatal(node, g.StatusCode, g.body)
		}
		w.elect(-1)
	}
}

// doTraced is do, telling of each 102.
func doTraced(t testing.TB, c *http.Client, method, url, body string, sign func()) got {
	ctx := httptrace.WithClientTrace(context.Background(),
		&httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			if code == http.StatusProcessing {
				sign()
			}
			return nil
		}})
	return do(tracedTB{t, ctx}, c, method, url, body)
}

type tracedTB struct {
	testing.TB
	ctx context.Context
}

func (t tracedTB) Context() context.Context { return t.ctx }

// TestPollAcrossALeaderChange: a poll held at the leader through a follower goes on at the next leader, unchanged but
// for the time that it was held already.
func TestPollAcrossALeaderChange(t *testing.T) {
	w := newWorld(t, 3)
	polls := make(chan command.Poll, 10)
	for _, n := range w.nodes {
		f := func(ctx context.Context, p command.Poll) (command.Answer, error) {
			polls <- p
			if n.i == 0 {
				<-ctx.Done()
				return command.Answer{}, ctx.Err()
			}
			return command.Answer{Enabled: true, Renewed: []command.AttemptRef{{TaskID: 7, Attempt: 1}}}, nil
		}
		n.exchange.Store(&f)
	}
	for _, via := range []int{2, 0} { // through a follower; at the leader that loses its place
		w.elect(0)
		type result struct {
			a   wire.ExchangeAnswer
			err error
		}
		done := make(chan result, 1)
		c := w.client(worker1, via)
		go func() {
			a, _, err := c.Exchange(t.Context(), agent, wire.Exchange{Incarnation: "i", Sequence: 5, WaitMs: 20_000,
				Running: []wire.AttemptRef{{TaskID: 7, Attempt: 1}}})
			done <- result{a, err}
		}()
		first := <-polls
		const held = 20 * time.Millisecond
		<-time.After(held) // what is measured below, not something waited for
		w.elect(1)
		second := <-polls
		r := <-done
		if r.err != nil || !r.a.Enabled || len(r.a.Renewed) != 1 {
			t.Fatal(via, r)
		}
		if first.Sequence != 5 || second.Sequence != 5 || second.Worker != first.Worker || second.CertName != "worker-1" ||
			len(second.Running) != 1 {
			t.Fatal(via, first, second)
		}
		if second.Wait > first.Wait-held/2 {
			t.Fatalf("the second hold (%v) must be the rest of the first (%v)", second.Wait, first.Wait)
		}
	}
}

// TestUnknownOutcomeBehindAFollower: a call that may have been applied is repeated if it has a key, and then gets its
// first answer.
func TestUnknownOutcomeBehindAFollower(t *testing.T) {
	w := newWorld(t, 3)
	// The leader applies the call and dies before it answers.
	var once atomic.Bool
	f := func(env command.Envelope) error {
		if once.Swap(true) {
			return nil
		}
		w.commit(env)
		w.elect(1)
		return fmt.Errorf("%w: leadership lost", command.ErrUnknownOutcome)
	}
	w.nodes[0].propose.Store(&f)
	for _, headers := range [][]string{nil, {wire.HeaderKey, "mine"}} {
		w.elect(0)
		once.Store(false)
		name := fmt.Sprintf("F%d", len(headers))
		g := do(t, w.as(&root), "POST", w.nodes[2].srv.URL+"/v1/catalog/procedures/create_folder",
			fmt.Sprintf(`{"folder_name":%q}`, name), headers...)
		if g.StatusCode != 200 || g.Header.Get(wire.HeaderLeader) != "master-2" {
			t.Fatal(g.StatusCode, g.body)
		}
		folder, _ := w.fsm.Reader().Folder(name)
		if folder == nil || !strings.Contains(g.body, fmt.Sprintf(`"folder_id":%d`, folder.ID)) {
			t.Fatal("the first answer must come back", g.body, folder)
		}
	}
	// A transfer has no key: unknown is the answer, and it is asked once.
	var asked atomic.Int64
	transfer := func(string) error {
		asked.Add(1)
		w.elect(1)
		return command.ErrUnknownOutcome
	}
	for _, n := range w.nodes {
		n.transfer.Store(&transfer)
	}
	w.elect(0)
	g := do(t, w.as(&root), "POST", w.nodes[2].srv.URL+"/v1/cluster/transfer-leadership", `{}`)
	if g.StatusCode != 503 || g.problem.Code != wire.CodeUnknownOutcome || asked.Load() != 1 {
		t.Fatal(g.StatusCode, g.body, asked.Load())
	}
}

// TestCallOfALostLeaderIsDropped: the old leader hangs and holds the connection; the follower hears of the new one.
func TestCallOfALostLeaderIsDropped(t *testing.T) {
	w := newWorld(t, 3)
	began := make(chan struct{})
	release := make(chan struct{})
	defer close(release)
	var once atomic.Bool
	f := func(command.Envelope) error {
		if once.Swap(true) {
			return nil
		}
		close(began)
		<-release
		return errors.New("too late")
	}
	w.nodes[0].propose.Store(&f)
	done := make(chan got, 1)
	go func() {
		done <- do(t, w.as(&root), "POST", w.nodes[2].srv.URL+"/v1/catalog/procedures/create_folder", `{"folder_name":"F"}`)
	}()
	<-began
	w.elect(1)
	if g := <-done; g.StatusCode != 200 {
		t.Fatal(g.StatusCode, g.body)
	}
}

func TestProcessing(t *testing.T) {
	w := newWorld(t, 2)
	answered := make(chan struct{})
	f := func(ctx context.Context, p command.Poll) (command.Answer, error) {
		select {
		case <-answered:
			return command.Answer{Enabled: true}, nil
		case <-ctx.Done():
			return command.Answer{}, ctx.Err()
		}
	}
	w.nodes[0].exchange.Store(&f)
	body := `{"instance":"i","sequence":1,"wait_ms":20000}`
	for _, node := range []int{0, 1} {
		began := time.Now()
		first := make(chan time.Duration, 100)
		done := make(chan got, 1)
		go func() {
			done <- doTraced(t, w.as(&worker1), "POST", w.nodes[node].srv.URL+"/v1/workers/"+agent+"/exchange", body,
				func() { first <- time.Since(began) })
		}()
		<-first
		answered <- struct{}{}
		if g := <-done; g.StatusCode != 200 {
			t.Fatal(g.StatusCode, g.body)
		}
	}
	// What is answered at once is answered without one.
	doTraced(t, w.as(&root), "GET", w.nodes[0].srv.URL+"/v1/status/leader", "", func() {
		t.Error("102 before an immediate answer")
	})
	doTraced(t, w.as(&root), "GET", w.nodes[0].srv.URL+"/livez", "", func() { t.Error("102 before an immediate answer") })
	// HTTP/1.0 knows no 102; that is net/http's and our business, not the caller's.
	slow := func(string) error { <-answered; w.elect(1); return nil }
	w.nodes[0].transfer.Store(&slow)
	signs := make(chan struct{}, 100)
	done := make(chan got, 1)
	go func() {
		done <- doTraced(t, w.as(&root), "POST", w.nodes[0].srv.URL+"/v1/cluster/transfer-leadership", `{"to":"x"}`,
			func() { signs <- struct{}{} })
	}()
	<-signs
	answered <- struct{}{}
	if g := <-done; g.StatusCode != 200 || !strings.Contains(g.body, "master-2") {
		t.Fatal(g.StatusCode, g.body)
	}
}

func TestStopEndsHeldPolls(t *testing.T) {
	w := newWorld(t, 2)
	for _, node := range []int{1, 0} { // the follower first: the leader still holds its poll
		held := make(chan struct{}, 10)
		done := make(chan got, 1)
		go func() {
			done <- doTraced(t, w.as(&worker1), "POST", w.nodes[node].srv.URL+"/v1/workers/"+agent+"/exchange",
				`{"instance":"i","sequence":1,"wait_ms":60000}`, func() { held <- struct{}{} })
		}()
		<-held
		close(w.nodes[node].stop)
		g := <-done
		if g.StatusCode != 200 || !g.Close || !strings.Contains(g.body, `"grants":[]`) ||
			!strings.Contains(g.body, `"masters":["https://a:1"]`) {
			t.Fatal(node, g.StatusCode, g.Close, g.body)
		}
	}
}

func TestClientAgainstACluster(t *testing.T) {
	w := newWorld(t, 3)
	c := w.client(root, 2, 1, 0)
	for i := range 6 {
		w.elect(i % 3)
		r, err := c.Call(t.Context(), "create_folder", map[string]any{"folder_name": fmt.Sprint("F", i)})
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := r.Int("folder_id"); !ok || id != int64(i+1) || r.ReturnValue != 0 {
			t.Fatal(r)
		}
	}
	var names []string
	for row, err := range c.Rows(t.Context(), "folders", client.Query{Order: []string{"-folder_id"}, PageSize: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, row.Text("name"))
	}
	if fmt.Sprint(names) != "[F5 F4 F3 F2 F1 F0]" {
		t.Fatal(names)
	}
	if _, err := c.Call(t.Context(), "create_folder", map[string]any{"folder_name": "F0"}); client.Code(err) !=
		"folder_exists" {
		t.Fatal(err)
	}
	if l, err := c.Leader(t.Context()); err != nil || l.Name != "master-3" {
		t.Fatal(l, err)
	}
	if p, err := c.Peers(t.Context()); err != nil || len(p) != 2 {
		t.Fatal(p, err)
	}
	// Kill the leader's server: calls go on.
	w.nodes[2].srv.CloseClientConnections()
	w.nodes[2].srv.Listener.Close()
	w.elect(1)
	if _, err := c.Call(t.Context(), "create_folder", map[string]any{"folder_name": "after"}); err != nil {
		t.Fatal(err)
	}
}
