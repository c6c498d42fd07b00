package store

import (
	"slices"

	"github.com/hashicorp/raft"
)

// cache is the newest part of the log, in memory: a run of entries without holes, bounded by
// bytes because our entries differ a thousandfold in size. It is not safe for
// concurrent use.
type cache struct {
	limit   int64
	bytes   int64
	entries []raft.Log
}

// entrySize is what an entry counts for. The constant is for its key and frame, so that a million empty
// entries are not free.
func entrySize(l *raft.Log) int64 { return int64(len(l.Data)+len(l.Extensions)) + 64 }

func (c *cache) get(index uint64) (raft.Log, bool) {
	if len(c.entries) == 0 || index < c.entries[0].Index || index-c.entries[0].Index >= uint64(len(c.entries)) {
		return raft.Log{}, false
	}
	return c.entries[index-c.entries[0].Index], true
}

// add takes entries that the disk has. One that does not follow the newest starts the run anew.
func (c *cache) add(logs []*raft.Log) {
	for _, l := range logs {
		if n := len(c.entries); n > 0 && l.Index != c.entries[n-1].Index+1 {
			c.clear()
		}
		c.entries = append(c.entries, *l)
		c.bytes += entrySize(l)
	}
	drop := 0
	for c.bytes > c.limit && drop < len(c.entries) {
		c.bytes -= entrySize(&c.entries[drop])
		drop++
	}
	c.cut(drop)
}

// remove forgets the entries from low to high, and whatever would be left on the far side of a hole.
func (c *cache) remove(low, high uint64) {
	if len(c.entries) == 0 || low > high {
		return
	}
	first, last := c.entries[0].Index, c.entries[len(c.entries)-1].Index
	switch {
	case high < first || low > last:
	case low <= first && high >= last:
		c.clear()
	case low <= first:
		n := int(high - first + 1)
		for i := range n {
			c.bytes -= entrySize(&c.entries[i])
		}
		c.cut(n)
	default:
		keep := int(low - first)
		for i := keep; i < len(c.entries); i++ {
			c.bytes -= entrySize(&c.entries[i])
		}
		clear(c.entries[keep:])
		c.entries = c.entries[:keep]
	}
}

// cut drops the oldest n, and lets go of their data at once, not when the slice is next grown.
func (c *cache) cut(n int) {
	clear(c.entries[:n])
	c.entries = c.entries[n:]
}

func (c *cache) clear() { c.entries, c.bytes = nil, 0 }

// ledger knows the size of every entry in the log, in order of index. It is not safe
// for concurrent use.
type ledger struct {
	bytes uint64
	rows  []ledgerRow
}

type ledgerRow struct {
	index uint64
	size  int64
}

func (g *ledger) find(index uint64) (int, bool) {
	return slices.BinarySearchFunc(g.rows, index, func(r ledgerRow, i uint64) int {
		switch {
		case r.index < i:
			return -1
		case r.index > i:
			return 1
		}
		return 0
	})
}

func (g *ledger) add(l *raft.Log) {
	row := ledgerRow{l.Index, entrySize(l)}
	g.bytes += uint64(row.size)
	if n := len(g.rows); n == 0 || g.rows[n-1].index < row.index {
		g.rows = append(g.rows, row)
		return
	}
	at, found := g.find(row.index)
	if found {
		g.bytes -= uint64(g.rows[at].size)
		g.rows[at] = row
		return
	}
	g.rows = slices.Insert(g.rows, at, row)
}

func (g *ledger) remove(low, high uint64) {
	if low > high {
		return
	}
	from, _ := g.find(low)
	to, found := g.find(high)
	if found {
		to++
	}
	for _, r := range g.rows[from:to] {
		g.bytes -= uint64(r.size)
	}
	if from == 0 {
		// The usual case, made cheap: the oldest entries go.
		g.rows = g.rows[to:]
		return
	}
	g.rows = slices.Delete(g.rows, from, to)
}
