package catalog

import (
	"iter"
	"time"

	"scaleout/fsm/command"
)

// blockSize is how many entries one block of a ring holds.
const blockSize = 1024

// block is a run of entries. An entry is never changed once it is in: a snapshot shares the blocks.
type block [blockSize]keyEntry

// ring holds entries in the order in which they came, which is the order in which they die. They leave at the front.
type ring struct {
	limit    int
	lifetime time.Duration
	blocks   []*block
	base     int64 // number of the first entry of blocks[0]
	front    int64 // entries before it have left
	next     int64
	callers  map[string]*callerKeys
	index    map[keyID]int64 // number of the newest entry with the id
}

// callerKeys counts one caller's entries. They share its name.
type callerKeys struct {
	name  string
	count int
}

func newRing(limit int, lifetime time.Duration) *ring {
	return &ring{limit: limit, lifetime: lifetime, callers: map[string]*callerKeys{}, index: map[keyID]int64{}}
}

// share is how many entries one caller may have.
func (r *ring) share() int { return max(r.limit/2, 1) }

func (r *ring) count() int { return int(r.next - r.front) }

func (r *ring) held(caller string) int {
	if c := r.callers[caller]; c != nil {
		return c.count
	}
	return 0
}

func (r *ring) at(n int64) *keyEntry { return &r.blocks[(n-r.base)/blockSize][(n-r.base)%blockSize] }

func (r *ring) find(id keyID) *keyEntry {
	if n, ok := r.index[id]; ok {
		return r.at(n)
	}
	return nil
}

// dead reports whether an entry's lifetime is over. The lifetime of one whose call waits has not begun.
func (r *ring) dead(e *keyEntry, now command.Time) bool {
	return e.Waits == 0 && e.At.Add(r.lifetime) < now
}

func (r *ring) push(e keyEntry) {
	if (r.next-r.base)/blockSize == int64(len(r.blocks)) {
		r.blocks = append(r.blocks, new(block))
	}
	c := r.callers[e.Caller]
	if c == nil {
		c = &callerKeys{name: e.Caller}
		r.callers[e.Caller] = c
	}
	c.count++
	e.Caller = c.name
	*r.at(r.next) = e
	r.index[e.ID] = r.next
	r.next++
}

// pop takes out the oldest entry. There must be one.
func (r *ring) pop() {
	e := r.at(r.front)
	if c := r.callers[e.Caller]; c.count > 1 {
		c.count--
	} else {
		delete(r.callers, e.Caller)
	}
	if r.index[e.ID] == r.front {
		delete(r.index, e.ID)
	}
	r.front++
	if r.front-r.base == blockSize {
		r.blocks = r.blocks[1:]
		r.base = r.front
	}
}

// expirePerCommand bounds the work of one command; it is more than one command adds.
const expirePerCommand = 64

// expire takes out dead entries from the front. An entry whose call waits goes to the back, so that it does not keep
// dead ones behind it; when what it waits for has ended its lifetime begins there. False: there was nothing to do.
func (r *ring) expire(s *Reader) (moved bool) {
	for range expirePerCommand {
		if r.front == r.next {
			break
		}
		e := *r.at(r.front)
		if e.At.Add(r.lifetime) >= s.meta.KeyTime {
			break
		}
		r.pop()
		moved = true
		if e.Waits == 0 {
			continue
		}
		if x, ok := s.Execution(e.Waits); !ok || x.Status.HasEnded() {
			e.Waits = 0
		}
		e.At = s.meta.KeyTime
		r.push(e)
	}
	return moved
}

// ringSnapshot is a ring as it was; the blocks are shared.
type ringSnapshot struct {
	blocks            []*block
	base, front, next int64
}

func (r *ring) snapshot() ringSnapshot {
	return ringSnapshot{r.blocks[:len(r.blocks):len(r.blocks)], r.base, r.front, r.next}
}

// entries yields the entries, oldest first.
func (s ringSnapshot) entries() iter.Seq[*keyEntry] {
	return func(yield func(*keyEntry) bool) {
		for n := s.front; n < s.next; n++ {
			if !yield(&s.blocks[(n-s.base)/blockSize][(n-s.base)%blockSize]) {
				return
			}
		}
	}
}
