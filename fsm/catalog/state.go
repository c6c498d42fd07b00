package catalog

import (
	"maps"
	"sync"

	"github.com/hashicorp/go-memdb"

	"scaleout/fsm/command"
)

// commitRows is how many row changes a transaction gathers before it is committed. A larger one outgrows the cache of
// go-immutable-radix for nodes that the transaction already owns, and copies them again and again.
const commitRows = 500

// State is the catalog: a go-memdb database, the request keys, and the rules by which commands change them. One
// goroutine applies; any number read through Reader.
type State struct {
	db   *memdb.MemDB
	keys *keyStore

	// The open transaction of the goroutine that applies.
	txn     *memdb.Txn
	now     meta  // as the commands so far have left it; written as a row at each commit
	counts  []int // by the place of the table
	changes int
	touched Touched // since Touched was last called
	events  eventLog
	places  *places

	mu    sync.Mutex // guards shown
	shown map[string]int
}

// meta is what the state has once.
type meta struct {
	Index     uint64       `cbor:"1,keyasint"` // of the last entry that the transaction holds completely
	Time      command.Time `cbor:"2,keyasint"`
	ClusterID string       `cbor:"3,keyasint"`
	Level     int          `cbor:"4,keyasint"`
	// The numbers given out last.
	Folder    int64 `cbor:"5,keyasint"`
	Project   int64 `cbor:"6,keyasint"`
	Version   int64 `cbor:"7,keyasint"`
	Package   int64 `cbor:"8,keyasint"`
	Parameter int64 `cbor:"9,keyasint"`
	Operation int64 `cbor:"10,keyasint"` // executions too
	Message   int64 `cbor:"11,keyasint"`
	Segment   int64 `cbor:"12,keyasint"`
	// TasksBefore: tasks that ended before it no longer show.
	TasksBefore command.Time `cbor:"13,keyasint"`
	Roster      *roster      `cbor:"14,keyasint,omitempty" level:"2"`
	// Stamp is that of the last command, KeyTime the time in which request keys age; see tick.
	Stamp   command.Time `cbor:"15,keyasint,omitempty"`
	KeyTime command.Time `cbor:"16,keyasint,omitempty"`
	// KeySecret is made once, for the first command. It goes where the kept keys go.
	KeySecret []byte  `cbor:"17,keyasint,omitempty"`
	Totals    *Totals `cbor:"18,keyasint,omitempty"`
}

// property is a catalog property that somebody set. No command sets one yet: the table is empty, and a snapshot has a
// record number for it.
type property struct {
	Name  string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// NewState returns an empty state.
func NewState() *State {
	s := &State{db: newDatabase(), keys: newKeyStore(), counts: make([]int, len(tables)), places: newPlaces()}
	s.begin()
	s.commit()
	return s
}

func (s *State) begin() {
	if s.txn == nil {
		s.txn = s.db.Txn(true)
		s.changes = 0
	}
}

// Commit ends a log entry: what was applied since the last Commit becomes visible, under the entry's index. Apply
// alone may already have committed whole commands of a large entry; readers see those under the index before it.
func (s *State) Commit(index uint64) {
	s.begin()
	s.now.Index = index
	if eventFields.Above(s.now.Level) {
		for _, e := range s.events.pending {
			must(eventFields.Check(e, s.now.Level))
		}
	}
	s.events.publish() // whoever sees the index shall find its events
	s.commit()
}

func (s *State) commit() {
	m := s.now
	must(tableMeta.allows(&m, m.Level))
	must(s.txn.Insert(tableMeta.name, &m))
	s.txn.Commit()
	s.txn = nil
	shown := map[string]int{}
	for _, t := range tables {
		if t != tableMeta {
			shown[t.name] = s.counts[t.place]
		}
	}
	shown["request_keys"] = s.keys.count()
	s.mu.Lock()
	s.shown = shown
	s.mu.Unlock()
}

// must is for what can fail by a mistake in this package only.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Reader opens a read transaction on what was committed last.
func (s *State) Reader() *Reader {
	r := &Reader{txn: s.db.Txn(false), state: s}
	r.meta = firstRow[*meta](r, tableMeta, byID, []byte{0})
	return r
}

// working is a reader of the open transaction, for transitions.
func (s *State) working() *Reader { return &Reader{txn: s.txn, meta: &s.now, state: s} }

// Counts returns how many rows each table holds, and how many request keys are kept.
func (s *State) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.shown)
}

// Index is the index of the last completed entry; for the goroutine that applies.
func (s *State) Index() uint64 { return s.now.Index }

// Level is the feature level; for the goroutine that applies.
func (s *State) Level() int { return s.now.Level }

// edit is what a transition has decided: row changes and new counters. Nothing of it is in the state until write,
// which cannot fail: that makes an item all-or-nothing without savepoints, which go-memdb does not have.
type edit struct {
	meta   // begins as the state's
	caller command.Caller
	rows   []change
	events []Event // beyond those that the rows tell
}

type change struct {
	table *table
	row   any
	op    changeOp
}

type changeOp uint8

const (
	added changeOp = iota
	replaced
	removed
)

func (s *State) edit(caller command.Caller) *edit { return &edit{meta: s.now, caller: caller} }

func (e *edit) add(t *table, row any)     { e.rows = append(e.rows, change{t, row, added}) }
func (e *edit) replace(t *table, row any) { e.rows = append(e.rows, change{t, row, replaced}) }
func (e *edit) remove(t *table, row any)  { e.rows = append(e.rows, change{t, row, removed}) }

// write makes the row changes of an edit. A row that is newer than the feature level is a mistake of the transition;
// were it written, masters that do not know it would hold another state from here on.
func (s *State) write(e *edit) {
	telling := e.Level >= eventsFrom
	for _, c := range e.rows {
		if c.op != removed {
			must(c.table.allows(c.row, e.Level))
		}
		if telling {
			s.observe(c)
		}
		s.put(c)
	}
	if telling {
		if e.Level > s.now.Level {
			e.say(Event{Type: EventLevelRaised, Number: int64(e.Level)})
		}
		for _, ev := range e.events {
			s.events.say(ev)
		}
	}
	s.now = e.meta
}

// put makes one row change.
func (s *State) put(c change) {
	s.changes++
	s.touched.note(c.row)
	s.count(c)
	if c.op == removed {
		must(s.txn.Delete(c.table.name, c.row))
		s.counts[c.table.place]--
		return
	}
	must(s.txn.Insert(c.table.name, c.row))
	if c.op == added {
		s.counts[c.table.place]++
	}
}

// Touched are the executions and workers whose rows have changed.
type Touched struct {
	Executions []int64
	Workers    []string
}

func (t *Touched) note(row any) {
	switch row := row.(type) {
	case *Execution:
		t.Executions = append(t.Executions, row.ID)
	case *Worker:
		t.Workers = append(t.Workers, row.ID)
	}
}

// Touched returns what has changed since it was last called. A leader's queue follows the state by it.
func (s *State) Touched() Touched {
	t := s.touched
	s.touched = Touched{}
	return t
}
