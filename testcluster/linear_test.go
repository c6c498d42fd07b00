package testcluster_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// Executions are linearizable, whatever is partitioned, killed and restarted: users create, start, stop and read them,
// and workers take, renew and finish them.
func TestExecutionsAreLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SCALEOUT_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SCALEOUT_SEED=%d", seed)
	length := 12 * time.Second
	if os.Getenv("SCALEOUT_LONG") != "" {
		length = 2 * time.Minute
	}
	c := testcluster.Start(t, 3)
	deployRecorder(t, c, "true")
	h := &history{begin: time.Now()}
	var stop atomic.Bool
	var group, workers sync.WaitGroup
	var ids sync.Map
	const users, controllers = 3, 2
	// Long leases: nothing is declared lost, so that every change is a recorded operation.
	var played []*recordedWorker
	for w := range controllers {
		played = append(played, &recordedWorker{h: h, n: users + w,
			controller: c.Controller(fmt.Sprintf("controlled-%d", w), 2*time.Minute, 10*time.Minute)})
	}
	for u := range users {
		group.Go(func() {
			user{h: h, n: u, cl: c.User(fmt.Sprintf("user-%d", u), "ssis_admin"), rnd: rand.New(rand.NewPCG(seed, uint64(u))),
				ids: &ids, pkg: "work.sh"}.play(&stop)
		})
	}
	var done atomic.Bool
	for _, p := range played {
		workers.Go(func() { p.run(&done) })
	}
	injectFaults(t, c, rand.New(rand.NewPCG(seed, 99)), length)
	stop.Store(true)
	group.Wait()
	c.Leader()
	awaitAllAnswers(c, played)
	done.Store(true)
	workers.Wait()
	kinds := h.check(t, c, &ids, users+controllers, fmt.Sprint(seed))
	for _, kind := range []string{"create", "start", "stop", "grant", "renew", "finish", "read"} {
		if kinds[kind] < 10 {
			t.Errorf("only %d of %s: nothing was tested", kinds[kind], kind)
		}
	}
}

// user is a user who creates, starts, stops and reads executions.
type user struct {
	h   *history
	n   int
	cl  *client.Client
	rnd *rand.Rand
	ids *sync.Map // of the executions whose creation was acknowledged
	pkg string    // whose executions it creates
	// pace, if set, is called before each call and waits.
	pace func()
}

func (u user) play(stop *atomic.Bool) {
	var mine []int64
	for !stop.Load() {
		if u.pace != nil {
			u.pace()
		}
		if len(mine) == 0 || u.rnd.IntN(5) == 0 {
			if id, ok := u.create(); ok {
				mine = append(mine, id)
			}
			continue
		}
		// Mostly the newest executions, which still change. Also those of other users.
		id := mine[len(mine)-1-u.rnd.IntN(min(3, len(mine)))]
		switch u.rnd.IntN(8) {
		case 0, 1, 2:
			u.call("start", "start_execution", id)
		case 3:
			u.call("stop", "stop_operation", id)
		default:
			u.read(id)
		}
	}
}

func (u user) create() (int64, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	call := u.h.now()
	r, err := u.cl.Call(ctx, "create_execution",
		map[string]any{"folder_name": "ETL", "project_name": "Recorder", "package_name": u.pkg})
	id, ok := r.Int("execution_id")
	if err != nil || !ok {
		return 0, false
	}
	u.h.add(u.n, operation{kind: "create", id: id}, call, answer{})
	u.ids.Store(id, true)
	// A required value, which the model does not contain.
	_, err = u.cl.Call(ctx, "set_execution_parameter_value", map[string]any{
		"execution_id": id, "object_type": 20, "parameter_name": "Out", "parameter_value": "x",
	})
	return id, err == nil
}

func (u user) call(kind, procedure string, id int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	name := "execution_id"
	if kind == "stop" {
		name = "operation_id"
	}
	call := u.h.now()
	_, err := u.cl.Call(ctx, procedure, map[string]any{name: id})
	var e *client.Error
	out := answer{unknown: err != nil}
	if errors.As(err, &e) && e.Status < 500 {
		out = answer{code: e.Code}
	}
	u.h.add(u.n, operation{kind: kind, id: id}, call, out)
}

func (u user) read(id int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	call := u.h.now()
	page, err := u.cl.View(ctx, "executions", client.Query{Equal: map[string]any{"execution_id": id}})
	if err != nil {
		return
	}
	out := answer{}
	if len(page.Rows) == 1 {
		out.status, _ = page.Rows[0].Int("status")
	}
	u.h.add(u.n, operation{kind: "read", id: id}, call, out)
}

// recordedWorker is a worker that takes, renews and reports attempts, and runs nothing.
type recordedWorker struct {
	h          *history
	n          int
	controller *testcluster.Controller
	rounds     atomic.Int64 // answered exchanges
	heard      int64        // when the last answered exchange began, or the first one of all
	ended      map[wire.AttemptRef]int64
}

func (p *recordedWorker) run(stop *atomic.Bool) {
	p.ended = map[wire.AttemptRef]int64{} // when the report of an attempt was first sent
	held := map[wire.AttemptRef]int{}     // for how many rounds each attempt is held
	for !stop.Load() {
		p.round(held)
	}
	for ref, call := range p.ended {
		p.h.add(p.n, p.operation("finish", ref), call, answer{unknown: true})
	}
}

// awaitAllAnswers waits, after all faults are healed, until the workers have received all grants and have reported
// them.
func awaitAllAnswers(c *testcluster.Cluster, played []*recordedWorker) {
	was := make([]int64, len(played))
	for i, p := range played {
		was[i] = p.rounds.Load()
	}
	c.Eventually("the workers have heard everything", 30*time.Second, func() bool {
		for i, p := range played {
			if p.rounds.Load() < was[i]+4 {
				return false
			}
		}
		return true
	})
}

func (p *recordedWorker) operation(kind string, ref wire.AttemptRef) operation {
	return operation{kind: kind, id: ref.TaskID, worker: p.controller.ID, attempt: ref.Attempt}
}

func (p *recordedWorker) round(held map[wire.AttemptRef]int) {
	var keeps []wire.AttemptRef
	for ref, rounds := range held {
		if held[ref]++; rounds < 3 {
			keeps = append(keeps, ref)
			continue
		}
		delete(held, ref)
		p.ended[ref] = p.h.now()
	}
	var reports []wire.Ended
	for ref := range p.ended {
		reports = append(reports, wire.Ended{TaskID: ref.TaskID, Attempt: ref.Attempt, Outcome: wire.OutcomeSucceeded})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	call := p.h.now()
	p.heard = cmp.Or(p.heard, call)
	a, err := p.controller.Exchange(ctx, 100*time.Millisecond, 20, keeps, reports...)
	if err != nil {
		return
	}
	p.rounds.Add(1)
	// A lost answer's grant is delivered again. Its command may still have been in flight when the next exchange began
	// that was answered without the grant, but no later: that exchange would have found the grant in the state.
	since := p.heard
	p.heard = call
	for _, g := range a.Grants {
		ref := wire.AttemptRef{TaskID: g.TaskID, Attempt: g.Attempt}
		if _, known := p.ended[ref]; known {
			continue
		}
		p.h.add(p.n, p.operation("grant", ref), since, answer{})
		held[ref] = 0
	}
	for _, ref := range a.Renewed {
		p.h.add(p.n, p.operation("renew", ref), call, answer{done: true})
	}
	for _, ref := range a.Settled {
		p.report(ref, true)
	}
	for _, ref := range a.Fenced {
		if _, known := p.ended[ref]; known {
			p.report(ref, false)
			continue
		}
		p.h.add(p.n, p.operation("renew", ref), call, answer{})
		delete(held, ref)
	}
}

func (p *recordedWorker) report(ref wire.AttemptRef, settled bool) {
	if call, known := p.ended[ref]; known {
		p.h.add(p.n, p.operation("finish", ref), call, answer{done: settled})
		delete(p.ended, ref)
	}
}

// injectFaults cuts, isolates, kills, restarts and transfers leadership at random, one fault at a time, and heals each.
func injectFaults(t *testing.T, c *testcluster.Cluster, rnd *rand.Rand, length time.Duration) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	wait := func(d time.Duration) {
		for until := time.Now().Add(d); time.Now().Before(until); {
			<-tick.C
		}
	}
	pause := func(most int) { wait(time.Duration(200+rnd.IntN(most)) * time.Millisecond) }
	did := map[string]int{}
	for begin := time.Now(); time.Since(begin) < length; {
		victim := rnd.IntN(3)
		switch what := rnd.IntN(5); what {
		case 0:
			did["cut"]++
			c.Cut(victim, c.Others(victim)[rnd.IntN(2)])
			pause(1500)
		case 1:
			did["cut one way"]++
			c.CutOneWay(victim, c.Others(victim)[rnd.IntN(2)])
			pause(1500)
		case 2:
			did["isolate"]++
			c.Isolate(c.Leader())
			pause(1500)
		case 3:
			did["kill"]++
			c.Kill(victim)
			pause(1000)
			c.Restart(victim)
		case 4:
			did["transfer"]++
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, _ = c.Admin().Transfer(ctx, "") // the leader may refuse it
			cancel()
		}
		c.Heal()
		pause(800)
	}
	t.Logf("faults: %v", did)
}
