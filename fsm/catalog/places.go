package catalog

import (
	"sync"

	"scaleout/fsm/sqltype"
)

// places counts what limits ask for. It is derived from the rows, as they change, and stands in no snapshot. A dry run
// may read it while commands are applied.
type places struct {
	mu           sync.Mutex
	notStarted   map[string]int // caller → executions that no worker has been given yet
	agentIDs     map[string]int // certificate name → workers
	neverEnabled int            // workers
}

func newPlaces() *places { return &places{notStarted: map[string]int{}, agentIDs: map[string]int{}} }

// note takes a row into account that was there (-1) or is there now (+1).
func (t *places) note(row any, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch row := row.(type) {
	case *Execution:
		if row.waits() {
			add(t.notStarted, row.Caller, n)
		}
	case *Worker:
		add(t.agentIDs, sqltype.Fold(row.CertName), n)
		if !row.EverEnabled {
			t.neverEnabled += n
		}
	}
}

// waiting is how many executions of a caller no worker has been given yet.
func (t *places) waiting(caller string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.notStarted[caller]
}

// workers is how many workers a certificate name has, and how many of all were never enabled.
func (t *places) workers(certName string) (ofName, neverEnabled int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.agentIDs[sqltype.Fold(certName)], t.neverEnabled
}

func add(counts map[string]int, key string, n int) {
	if counts[key] += n; counts[key] == 0 {
		delete(counts, key)
	}
}

// waits reports whether the execution was created and never given to a worker.
func (e *Execution) waits() bool {
	return (e.Status == Created || e.Status == Pending) && e.Started == 0
}

// count keeps the places with a row change that is about to be made.
func (s *State) count(c change) {
	if c.table != tableLive && c.table != tableWorkers {
		return
	}
	if c.op != added {
		old, err := s.txn.First(c.table.name, byID, c.table.key(c.row))
		must(err)
		if old != nil {
			s.places.note(old, -1)
		}
	}
	if c.op != removed {
		s.places.note(c.row, 1)
	}
}
