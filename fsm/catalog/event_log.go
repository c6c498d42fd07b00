package catalog

import (
	"fmt"
	"slices"
	"sort"
	"sync"

	"scaleout/fsm/command"
)

const (
	keptEvents  = 64 << 10 // events that the state keeps
	eventBlock  = 1024     // events of one block in memory
	eventRecord = 256      // events of one record of a snapshot
)

// eventLog is the newest events in blocks. A block only ever grows, so that whoever took a slice of it can read that
// slice without a lock. The goroutine that applies says events; they are seen when their entry is complete.
type eventLog struct {
	index   uint64 // of the entry that is being applied
	seq     int
	pending []Event

	mu     sync.RWMutex
	blocks [][]Event
	n      int
	floor  EventID // the newest event that is not kept any more
}

// begin tells which entry the following events belong to.
func (l *eventLog) begin(index uint64) {
	if index != l.index {
		l.index, l.seq = index, 0
	}
}

func (l *eventLog) say(e Event) {
	e.ID = EventID{l.index, l.seq}
	l.seq++
	l.pending = append(l.pending, e)
}

// publish shows what was said, and forgets the oldest events beyond the limit, one by one: which are kept must depend
// on what happened alone.
func (l *eventLog) publish() {
	if len(l.pending) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.pending {
		l.push(e)
	}
	l.pending = nil
}

// push adds an event; the caller holds the lock.
func (l *eventLog) push(e Event) {
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last]) == cap(l.blocks[last]) {
		l.blocks = append(l.blocks, make([]Event, 0, eventBlock))
		last++
	}
	l.blocks[last] = append(l.blocks[last], e)
	for l.n++; l.n > keptEvents; l.n-- {
		l.floor = l.blocks[0][0].ID
		if l.blocks[0] = l.blocks[0][1:]; len(l.blocks[0]) == 0 {
			l.blocks = l.blocks[1:]
		}
	}
}

// forget leaves nothing; whoever has an id up to the given one has missed events.
func (l *eventLog) forget(floor EventID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending, l.blocks, l.n, l.floor = nil, nil, 0, floor
}

// last is the id of the newest event, kept or not.
func (l *eventLog) last() EventID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n := len(l.blocks); n > 0 {
		b := l.blocks[n-1]
		return b[len(b)-1].ID
	}
	return l.floor
}

// readAfter returns up to most events that come after id. Gone: events between id and the first returned are not kept
// any more, from being the newest of them.
func (l *eventLog) readAfter(id EventID, most int) (events []Event, from EventID, gone bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if id.Compare(l.floor) < 0 {
		return nil, l.floor, true
	}
	at := sort.Search(len(l.blocks), func(i int) bool {
		b := l.blocks[i]
		return b[len(b)-1].ID.Compare(id) > 0
	})
	for _, b := range l.blocks[at:] {
		from := sort.Search(len(b), func(i int) bool { return b[i].ID.Compare(id) > 0 })
		events = append(events, b[from:min(len(b), from+most-len(events))]...)
		if len(events) == most {
			break
		}
	}
	return events, id, false
}

// eventsSnapshot is the log as it was at the end of an entry.
type eventsSnapshot struct {
	blocks [][]Event
	floor  EventID
}

func (l *eventLog) snapshot() eventsSnapshot {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return eventsSnapshot{slices.Clone(l.blocks), l.floor}
}

// records yields the events in records whose bounds depend on the events alone, then the floor.
func (s eventsSnapshot) records(put func(kind uint64, row any) bool) bool {
	batch := make([]Event, 0, eventRecord)
	for _, b := range s.blocks {
		for _, e := range b {
			if batch = append(batch, e); len(batch) == eventRecord {
				if !put(recordEvents, batch) {
					return false
				}
				batch = batch[:0]
			}
		}
	}
	if len(batch) > 0 && !put(recordEvents, batch) {
		return false
	}
	return s.floor == EventID{} || put(recordFloor, s.floor)
}

// events takes a record of events into the state that is being built.
func (b *Builder) events(r Record) error {
	log := &b.state.events
	var list []Event
	if err := command.Unmarshal(r.Data, &list); err != nil {
		return fmt.Errorf("%w: events: %w", ErrRecord, err)
	}
	for _, e := range list {
		if log.n >= keptEvents || e.ID.Compare(log.last()) <= 0 {
			return fmt.Errorf("%w: events: %s is out of order or one too many", ErrRecord, e.ID)
		}
		if err := eventFields.Check(e, b.state.now.Level); err != nil {
			return fmt.Errorf("%w: events: %w", ErrRecord, err)
		}
		log.push(e)
	}
	return nil
}

// floor takes the record of the newest event that is not kept any more.
func (b *Builder) floor(r Record) error {
	var floor EventID
	if err := command.Unmarshal(r.Data, &floor); err != nil {
		return fmt.Errorf("%w: events: %w", ErrRecord, err)
	}
	b.state.events.floor = floor
	return nil
}

// Pending are the events of the entry that is being applied; for the goroutine that applies, before Commit.
func (s *State) Pending() []Event { return s.events.pending }

// Events returns up to most events after the given one, oldest first. When some of those after it are not kept any more
// it returns none, gone, and the newest of those: ask again with that. Unlike the rest of a Reader it shows the newest
// state.
func (r *Reader) Events(after EventID, most int) (events []Event, from EventID, gone bool) {
	return r.state.events.readAfter(after, most)
}

// LastEvent is the id of the newest event.
func (r *Reader) LastEvent() EventID { return r.state.events.last() }
