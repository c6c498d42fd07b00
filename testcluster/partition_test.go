package testcluster_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cmd/master"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Two masters that each take the other for the leader (one hop, then 503 not_leader) cannot be produced with real
// elections. TestTwoMastersWhichEachBelieveInTheOther in httpapi tests them over real connections.

// startAndTake starts an execution of the recorder and lets the controlled worker, which may already hold attempts,
// take it.
func startAndTake(t *testing.T, c *testcluster.Cluster, h *testcluster.Controller, retries int,
	holds ...wire.AttemptRef) wire.AttemptRef {
	t.Helper()
	id := c.Run("ETL/Recorder/work.sh", retries, map[string]any{"Out": "x"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, err := h.Exchange(ctx, 5*time.Second, len(holds)+1, holds)
	if err != nil || len(a.Grants) != 1 || a.Grants[0].TaskID != id {
		t.Fatalf("grant of %d: %v, %v", id, a.Grants, err)
	}
	return wire.AttemptRef{TaskID: id, Attempt: a.Grants[0].Attempt}
}

// task returns the row of a task's newest attempt.
func task(t *testing.T, c *testcluster.Cluster, id int64) client.Row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	page, err := c.Admin().View(ctx, "tasks", client.Query{Equal: map[string]any{"task_id": id}})
	if err != nil || len(page.Rows) == 0 {
		t.Fatalf("task %d: %v, %v", id, page.Rows, err)
	}
	return page.Rows[len(page.Rows)-1]
}

// A partitioned leader declares no attempt lost, however long it has heard nothing from the worker, and the new leader
// gives every lease its full duration.
func TestACutOffLeaderDeclaresNobodyLost(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	c := testcluster.Start(t, 3)
	deployRecorder(t, c, "true")
	h := c.Controller("controlled", 9*time.Second, 9*time.Second)
	ref := startAndTake(t, c, h, 1) // another attempt may follow: it is given up with the lease
	granted := time.Now()
	old := c.Leader()
	// Shortly before the lease ends by the old leader's clock: 9 s + 5 s + 1 %.
	ripe := granted.Add(13 * time.Second)
	c.Eventually("the lease is nearly over", 20*time.Second, func() bool { return time.Now().After(ripe) })
	c.Isolate(old)
	others := c.Others(old)
	c.Eventually("another leader", 20*time.Second, func() bool {
		for _, i := range others {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			l, err := c.Client(i).Leader(ctx)
			cancel()
			if err == nil && l.Name != c.Name(old) {
				return true
			}
		}
		return false
	})
	elected := time.Now()
	// After the old deadline neither leader may have declared the attempt lost.
	c.Eventually("the old deadline is over", 20*time.Second, func() bool { return time.Since(granted) > 17*time.Second })
	c.Heal()
	row := task(t, c, ref.TaskID)
	if row.Text("status") != "running" {
		t.Fatalf("the attempt is %q %v after the grant", row.Text("status"), time.Since(granted))
	}
	if until, ok := row.Time("lease_until"); !ok || until.Before(elected.Add(12*time.Second)) {
		t.Errorf("the new leader, elected %v, gives it until %v", elected, until)
	}
	// The attempt was not forgotten either: without its worker it is lost after the full lease, and granted again.
	c.Eventually("the attempt is lost in the end", 25*time.Second, func() bool {
		n, _ := task(t, c, ref.TaskID).Int("attempt")
		return n == 2
	})
	if since := time.Since(elected); since < 14*time.Second {
		t.Errorf("re-issued %v after the election: the worker's guard may still be killing", since)
	}
}

// tap runs a function when the first byte of an answer arrives on a connection, and closes the connection.
type tap struct {
	armed   atomic.Bool
	address string
	once    sync.Once
	kill    func()
}

func (p *tap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &tapped{conn, p, addr}, nil
}

type tapped struct {
	net.Conn
	tap  *tap
	addr string
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.addr == c.tap.address && c.tap.armed.Load() {
		c.tap.once.Do(c.tap.kill)
		c.Conn.Close()
		return 0, errors.New("the power went off")
	}
	return n, err
}

// The leader ends after it has applied a command and before its answer arrives. The caller tries again with the same
// key: there is one effect, and the caller gets the first answer.
func TestLeaderDiesBetweenApplyAndAnswer(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	deployRecorder(t, c, "true")
	p := &tap{}
	user := c.Tapped(p.dial, "tapped", "ssis_admin")
	leader := c.Leader()
	p.address = c.Address(leader)
	p.kill = func() { c.Kill(leader) }
	direct, err := user.At("https://" + p.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Cluster(t.Context()); err != nil { // now the TLS handshake is done
		t.Fatal(err)
	}
	args := map[string]any{"folder_name": "ETL", "project_name": "Recorder", "package_name": "work.sh"}
	p.armed.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := direct.Call(ctx, "create_execution", args, client.WithKey("once"), client.Once()); err == nil {
		t.Fatal("an answer came through")
	}
	var ids []int64
	for range 3 {
		r, err := user.Call(ctx, "create_execution", args, client.WithKey("once"))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := r.Int("execution_id")
		ids = append(ids, id)
	}
	page, err := c.Admin().View(ctx, "executions", client.Query{})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("executions %v, %v; want one", page.Rows, err)
	}
	for _, id := range ids {
		if have, _ := page.Rows[0].Int("execution_id"); have != id {
			t.Errorf("a retry was answered %d, the execution is %d", id, have)
		}
	}
	if _, err := user.Call(ctx, "create_folder", map[string]any{"folder_name": "other"},
		client.WithKey("once")); client.Code(err) != wire.CodeKeyReused {
		t.Errorf("the key with another call: %v", err)
	}
}

// The answer is lost between the leader and the follower that forwarded the call, and the leader ends. The caller waits
// at the follower and gets the answer of the single effect.
func TestAForwardedAnswerIsLostWithTheLeader(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	leader := c.Leader()
	others := c.Others(leader)
	follower, witness := others[0], others[1]
	if _, err := c.Client(follower).Cluster(t.Context()); err != nil { // now the connection exists
		t.Fatal(err)
	}
	c.CutOneWay(leader, follower)
	type outcome struct {
		r   client.Result
		err error
	}
	done := make(chan outcome, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The caller asks only the follower, and once: only the follower's own retry can make the call succeed.
	one := c.Client(follower)
	go func() {
		r, err := one.Call(ctx, "create_folder", map[string]any{"folder_name": "forwarded"}, client.WithKey("once"))
		done <- outcome{r, err}
	}()
	c.Eventually("a majority has the folder", 20*time.Second, func() bool {
		page, err := c.Client(witness).View(ctx, "folders",
			client.Query{Equal: map[string]any{"name": "forwarded"}, Stale: true})
		return err == nil && len(page.Rows) == 1
	})
	c.Kill(leader)
	c.Heal()
	got := <-done
	if got.err != nil {
		t.Fatalf("the forwarded call: %v", got.err)
	}
	id, ok := got.r.Int("folder_id")
	page, err := c.Admin().View(ctx, "folders", client.Query{Equal: map[string]any{"name": "forwarded"}})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("folders %v, %v", page.Rows, err)
	}
	if have, _ := page.Rows[0].Int("folder_id"); ok && have != id {
		t.Errorf("answered folder %d, the folder is %d", id, have)
	}
}

// A leader that reaches only a non-voter has no majority: the answers of a non-voter prove nothing, although Raft's own
// check counts them. While it still believes that it leads, it reads, renews and expires nothing.
func TestALeaderAloneWithANonvoter(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	// Long timings make the leader believe in its leadership for a while.
	var promote atomic.Bool
	c := testcluster.Start(t, 3, testcluster.Profile("wan"), testcluster.Settings(func(_ int, cfg *master.Config) {
		cfg.Promote = func(context.Context, string) error {
			if promote.Load() {
				return nil
			}
			return errors.New("this test wants a non-voter")
		}
	}))
	deployRecorder(t, c, "true")
	h := c.Controller("controlled", 13*time.Second, 13*time.Second)
	newcomer := c.Add()
	nonvoter := func() bool { return status(t, c)[c.Name(newcomer)].Role == wire.RoleNonvoter }
	c.Eventually("a non-voter follows", 30*time.Second, nonvoter)
	leader := c.Leader()
	ref := startAndTake(t, c, h, 1)
	until, ok := task(t, c, ref.TaskID).Time("lease_until")
	if !ok {
		t.Fatal("no lease")
	}
	// The lease ends while the leader is partitioned and still believes that it leads.
	c.Eventually("the lease is nearly over", 40*time.Second,
		func() bool { return time.Until(until) < 500*time.Millisecond })
	if c.Leader() != leader || !nonvoter() {
		t.Fatal("another leader, or the newcomer is a voter: nothing is tested")
	}
	for _, i := range c.Others(leader) {
		if i != newcomer {
			c.Cut(leader, i)
		}
	}
	cut := time.Now()
	alone, worker := c.Client(leader), h.At(c, leader)
	var group sync.WaitGroup
	for time.Since(cut) < 2*time.Second {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if _, err := alone.View(ctx, "folders", client.Query{}); err == nil {
				t.Errorf("a read passed %v after the cut", time.Since(cut))
			}
		})
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if a, err := worker.Exchange(ctx, 0, 1, []wire.AttemptRef{ref}); err == nil {
				t.Errorf("an exchange was answered %v after the cut: %+v", time.Since(cut), a)
			}
		})
		group.Wait()
	}
	if c.Logged(leader, "attempt lost") {
		t.Error("the leader that was alone declared an attempt lost")
	}
	c.Heal()
	promote.Store(true)
	if s := task(t, c, ref.TaskID).Text("status"); s != "running" {
		t.Errorf("the attempt is %q", s)
	}
}
