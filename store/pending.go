package store

import (
	"sync/atomic"
	"time"
)

// pending notes the writes that are running. It takes no lock, because its reader is the
// watchdog, which must see a write that hangs while it holds every lock of the log.
type pending struct {
	base  time.Time
	slots [64]atomic.Int64 // nanoseconds after base at which a write began; 0 is free
}

func newPending() *pending { return &pending{base: time.Now()} }

// begin notes a write and returns the function that ends it. Raft has at most a handful of writers. A
// write that finds no free slot is not noted; then 64 older ones are.
func (p *pending) begin() (end func()) {
	at := int64(time.Since(p.base)) + 1
	for i := range p.slots {
		if s := &p.slots[i]; s.CompareAndSwap(0, at) {
			return func() { s.Store(0) }
		}
	}
	return func() {}
}

// oldest returns for how long the oldest write has been running, 0 if none is.
func (p *pending) oldest() time.Duration {
	var first int64
	for i := range p.slots {
		if at := p.slots[i].Load(); at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	if first == 0 {
		return 0
	}
	return max(time.Since(p.base)-time.Duration(first-1), 1)
}
