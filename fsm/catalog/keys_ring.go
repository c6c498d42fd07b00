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

// ring holds entries in the order in which they came. Entries leave at the front, as they expire, and for each caller
// from its own oldest on; an entry that left in the middle stays in its block until the block goes.
type ring struct {
	limit  int
	blocks []*block
	base   int64 // number of the first entry of blocks[0]
	front  int64 // entries before it have left
	next   int64
	alive  int
	// Per caller: its entries that have not left, by number, oldest first.
	callers map[string]*callerKeys
	index   map[keyID]int64
}

// callerKeys is a queue of entry numbers; what lies before head has left.
type callerKeys struct {
	numbers []int64
	head    int
}

func newRing(limit int) *ring {
	return &ring{limit: limit, callers: map[string]*callerKeys{}, index: map[keyID]int64{}}
}

func (r *ring) at(n int64) *keyEntry { return &r.blocks[(n-r.base)/blockSize][(n-r.base)%blockSize] }

func (r *ring) find(id keyID) *keyEntry {
	if n, ok := r.index[id]; ok {
		return r.at(n)
	}
	return nil
}

func (r *ring) held(caller string) int {
	if c := r.callers[caller]; c != nil {
		return len(c.numbers) - c.head
	}
	return 0
}

func (r *ring) push(e keyEntry) {
	if (r.next-r.base)/blockSize == int64(len(r.blocks)) {
		r.blocks = append(r.blocks, new(block))
	}
	c := r.callers[e.Caller]
	if c == nil {
		c = &callerKeys{}
		r.callers[e.Caller] = c
	}
	c.numbers = append(c.numbers, r.next)
	*r.at(r.next) = e
	r.index[e.ID] = r.next
	r.next++
	r.alive++
	r.compact()
}

// left notes that the caller's oldest entry goes.
func (r *ring) left(caller string) {
	c := r.callers[caller]
	n := c.numbers[c.head]
	c.head++
	switch {
	case c.head == len(c.numbers):
		delete(r.callers, caller)
	case c.head >= blockSize && c.head*2 >= len(c.numbers):
		c.numbers, c.head = append([]int64(nil), c.numbers[c.head:]...), 0
	}
	if e := r.at(n); r.index[e.ID] == n {
		delete(r.index, e.ID)
	}
	r.alive--
}

// gone reports whether the entry with that number left before the front reached it.
func (r *ring) gone(n int64) bool {
	c := r.callers[r.at(n).Caller]
	return c == nil || n < c.numbers[c.head]
}

// skip moves the front past entries that have left, and drops blocks that it has passed.
func (r *ring) skip() {
	for r.front < r.next && r.gone(r.front) {
		r.front++
	}
	for len(r.blocks) > 0 && r.front-r.base >= blockSize {
		r.blocks = r.blocks[1:]
		r.base += blockSize
	}
}

// pop takes out the oldest entry.
func (r *ring) pop() {
	r.skip()
	if r.front < r.next {
		r.left(r.at(r.front).Caller)
		r.skip()
	}
}

// expirePerCommand bounds the work of one command; it is more than one command adds.
const expirePerCommand = 64

// expire takes out dead entries from the front. An entry whose call still waits goes to the back, so that it does not
// keep dead ones behind it.
func (r *ring) expire(s *Reader, life time.Duration) {
	for range expirePerCommand {
		r.skip()
		if r.front == r.next {
			return
		}
		e := *r.at(r.front)
		if e.At.Add(life) >= s.meta.Time {
			return
		}
		end, ends := e.expires(s, life)
		newest := r.index[e.ID] == r.front
		r.pop()
		if newest && (!ends || end >= s.meta.Time) {
			e.At = s.meta.Time
			if ends {
				e.At = end.Add(-life)
				e.Waits = 0
			}
			r.push(e)
		}
	}
}

// evict makes room by the caller's oldest entry, if it is older than that.
func (r *ring) evict(caller string, old command.Time) bool {
	c := r.callers[caller]
	if c == nil || r.at(c.numbers[c.head]).At > old {
		return false
	}
	r.left(caller)
	r.skip()
	return true
}

// evictAny makes room by the oldest entry of all, if it is older than that.
func (r *ring) evictAny(old command.Time) bool {
	r.skip()
	if r.front == r.next {
		return true
	}
	return r.evict(r.at(r.front).Caller, old)
}

// compact rewrites the blocks once most of their entries have left in the middle. Shared blocks stay as they are.
func (r *ring) compact() {
	if held := int(r.next - r.base); held < 4*blockSize || held < 4*r.alive {
		return
	}
	q := newRing(r.limit)
	for e := range r.snapshot().entries() {
		q.push(*e)
	}
	*r = *q
}

// ringSnapshot is a ring as it was: the blocks are shared, nothing is copied but where each caller's entries begin.
type ringSnapshot struct {
	blocks            []*block
	base, front, next int64
	begin             map[string]int64
}

func (r *ring) snapshot() ringSnapshot {
	begin := make(map[string]int64, len(r.callers))
	for name, c := range r.callers {
		begin[name] = c.numbers[c.head]
	}
	return ringSnapshot{r.blocks[:len(r.blocks):len(r.blocks)], r.base, r.front, r.next, begin}
}

// entries yields the entries that had not left, oldest first.
func (s ringSnapshot) entries() iter.Seq[*keyEntry] {
	return func(yield func(*keyEntry) bool) {
		for n := s.front; n < s.next; n++ {
			e := &s.blocks[(n-s.base)/blockSize][(n-s.base)%blockSize]
			if begin, ok := s.begin[e.Caller]; ok && n >= begin && !yield(e) {
				return
			}
		}
	}
}
