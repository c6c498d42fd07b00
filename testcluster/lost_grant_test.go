package testcluster_test

import (
	"slices"
	"testing"
	"time"

	"scaleout/testcluster"
)

var onceScript = map[string]string{"once.sh": "note ran\n"}

// The answer with a grant is lost after the state has the grant, and the execution has no retry: the grant is delivered
// again and the attempt runs exactly once, wherever the answer was lost.
func TestALostGrant(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Run("at the leader", func(t *testing.T) {
		t.Parallel()
		c := testcluster.Start(t, 3)
		s := deployScripts(t, c, onceScript)
		leader := c.Leader()
		w := c.Worker(testcluster.WorkerConfig{Masters: []string{"https://" + c.Address(leader)}})
		id := s.startWithoutAnswer(w, "once.sh")
		c.Kill(leader)
		w.DeliverAnswers()
		s.once(id)
	})
	t.Run("at a follower that passes it on", func(t *testing.T) {
		t.Parallel()
		c := testcluster.Start(t, 3)
		s := deployScripts(t, c, onceScript)
		leader := c.Leader()
		follower := c.Others(leader)[0]
		w := c.Worker(testcluster.WorkerConfig{Masters: []string{"https://" + c.Address(follower)}})
		s.once(s.start("once.sh", 0))
		if got := w.ConnectedTo(); !slices.Equal(got, []string{c.Address(follower)}) {
			t.Fatalf("the worker talks to %v, it should to %s alone", got, c.Address(follower))
		}
		c.CutOneWay(leader, follower)
		id := s.start("once.sh", 0)
		c.WaitStatus(id, 10*time.Second, 2)
		c.Kill(follower)
		s.once(id)
	})
	t.Run("at the worker", func(t *testing.T) {
		t.Parallel()
		c := testcluster.Start(t, 3)
		s := deployScripts(t, c, onceScript)
		w := c.Worker(testcluster.WorkerConfig{})
		id := s.startWithoutAnswer(w, "once.sh")
		w.DeliverAnswers()
		s.once(id)
	})
}

// startWithoutAnswer starts an execution whose grant does not reach the worker. If leadership moves at that moment, on
// a busy machine, the worker loses its connection: the answers are delivered again then, and nothing was lost.
func (s *scriptProject) startWithoutAnswer(w *testcluster.Worker, pkg string) int64 {
	s.t.Helper()
	w.DropAnswers()
	id := s.start(pkg, 0)
	began := time.Now()
	s.Eventually("the grant", 30*time.Second, func() bool {
		if time.Since(began) > 4*time.Second {
			w.DeliverAnswers()
		}
		status, _ := s.WaitStatus(id, 10*time.Second, 2, 5, 7).Int("status")
		return status != 5
	})
	return id
}
