package cluster

import (
	"errors"
	"sync"
	"testing"
)

func TestTheLevelRisesWhenEveryMasterKnowsIt(t *testing.T) {
	w := newWorld(t)
	var hosts []*host
	levels := map[*host]int{}
	for i := range 3 {
		h := w.add(expect(3))
		levels[h] = 2
		if i == 0 {
			levels[h] = 1
		}
		h.options = append(h.options, func(c *Config) { c.Level = levels[h] })
		h.start()
		hosts = append(hosts, h)
	}
	l := w.leader()
	w.voters(3)
	w.until("a level", func() bool { return l.fsm.Reader().Level() > 0 })
	if got := l.fsm.Reader().Level(); got != 1 {
		t.Fatalf("a cluster of versions that know 1, 2 and 2 begins at level %d", got)
	}
	w.write("x")
	old := hosts[0]
	must(t, old.stop())
	levels[old] = 2
	old.start()
	w.until("the level rises everywhere", func() bool {
		for _, h := range hosts {
			if h.fsm.Reader().Level() != 2 {
				return false
			}
		}
		return true
	})
	// Going back is refused, before or while the log is read.
	must(t, old.stop())
	levels[old] = 1
	old.start()
	select {
	case code := <-old.exits:
		if code != ExitStateMachine {
			t.Errorf("exit %d", code)
		}
		old.fsm.Stop()
	case err := <-old.done:
		if err == nil {
			t.Error("an older version runs")
		}
		old.done <- err
	case <-bounded(t).Done():
		t.Error("an older version runs")
	}
	if err := old.stop(); err == nil {
		t.Error("Run returned nil")
	}
	levels[old] = 2
}

// ring is a key ring that shows who was given what.
type ring struct {
	mu   sync.Mutex
	keys string
}

func (r *ring) Marshal() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []byte(r.keys), nil
}

func (r *ring) Merge(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(b) == 0 {
		return errors.New("an empty ring")
	}
	r.keys = string(b)
	return nil
}

func TestAJoiningMasterGetsTheKeyRing(t *testing.T) {
	w := newWorld(t)
	first, second := &ring{keys: "k1"}, &ring{keys: "old"}
	w.start(1, func(c *Config) { c.KeyRing = first })
	w.leader()
	late := w.add(func(c *Config) { c.KeyRing = second })
	late.start()
	w.until("the ring", func() bool { b, _ := second.Marshal(); return string(b) == "k1" })
	if w.logs.has("k1") {
		t.Error("a key stands in the log")
	}
}
