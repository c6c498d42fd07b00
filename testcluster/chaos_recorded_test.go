package testcluster_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/fsm/ispac"
	"scaleout/httpapi/wire"
	"scaleout/testcluster"
)

// recordedLoad is users and workers whose calls are all recorded and compared with a model of an execution at the end.
// Only its own workers can run its package, so every change is one of the recorded operations.
type recordedLoad struct {
	c       *testcluster.Cluster
	seed    uint64
	h       *history
	ids     sync.Map
	users   []user
	players []*recordedWorker

	stop, done atomic.Bool
	calls, own sync.WaitGroup
}

func newRecordedLoad(t *testing.T, c *testcluster.Cluster, seed uint64) *recordedLoad {
	t.Helper()
	c.Deploy("ETL", "Recorder", map[string]string{"work.manual": "played"},
		ispac.ParameterDefinition{Name: "Out", Type: "String", Required: true})
	l := &recordedLoad{c: c, seed: seed, h: &history{begin: time.Now()}}
	const users, controllers = 2, 2
	for i := range users {
		l.users = append(l.users, user{
			h: l.h, n: i, cl: c.User(fmt.Sprintf("user-%d", i), "ssis_admin"), rnd: rand.New(rand.NewPCG(seed, uint64(i))),
			ids: &l.ids, pkg: "work.manual", pace: func() { <-time.After(40 * time.Millisecond) },
		})
	}
	for i := range controllers {
		// Long leases: nothing is declared lost.
		controller := c.Controller(fmt.Sprintf("controlled-%d", i), 5*time.Minute, 10*time.Minute)
		_, err := controller.Register(t.Context(), func(reg *wire.Register) { reg.Extensions = []string{".manual"} })
		must(t, err)
		l.players = append(l.players, &recordedWorker{h: l.h, n: users + i, controller: controller})
	}
	return l
}

func (l *recordedLoad) begin() {
	for _, u := range l.users {
		l.calls.Go(func() { u.play(&l.stop) })
	}
	for _, p := range l.players {
		l.own.Go(func() { p.run(&l.done) })
	}
}

func (l *recordedLoad) end(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.calls.Wait()
	awaitAllAnswers(l.c, l.players)
	l.done.Store(true)
	l.own.Wait()
	kinds := l.h.check(t, l.c, &l.ids, len(l.users)+len(l.players), fmt.Sprint(l.seed))
	if kinds["finish"] == 0 {
		t.Error("no recorded execution was finished: nothing was tested")
	}
}
