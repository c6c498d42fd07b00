package store

import (
	"slices"

	"github.com/hashicorp/raft"
)

// cache holds the newest entries of the log in memory: a run without holes, bounded by
// bytes because the entries differ a thousandfold in size. It is not safe for
// concurrent use.
type cache struct {
	limit   int64
	bytes   int64
	entries []raft.Log
}

// entrySize is how many bytes an entry counts for. The constant stands for its key and frame, so that a million empty
// entries are not free.
func entrySize(l *raft.Log) int64 { return int64(len(l.Data)+len(l.Extensions)) + 64 }

func (c *cache) get(index uint64) (raft.Log, bool) {
	if len(c.entries) == 0 || index < c.entries[0].Index || index-c.entries[0].Index >= uint64(len(c.entries)) {
		return raft.Log{}, false
	}
	return c.entries[index-c.entries[0].Index], true
}

// add takes entries that the disk has. An entry that does not follow the newest one begins the run anew.
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

// remove forgets the entries from low to high, and all entries that would be left behind a hole.
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

// cut drops the oldest n entries, and releases their data at once instead of when the slice next grows.
func (c *cache) cut(n int) {
	clear(c.entries[:n])
	c.entries = c.entries[n:]
}

func (c *cache) clear() { c.entries, c.bytes = nil, 0 }

// entrySizes holds the size of every entry in the log, in order of index. It is not safe
// for concurrent use.
type entrySizes struct {
	bytes uint64
	rows  []sizedEntry
}

type sizedEntry struct {
	index uint64
	size  int64
}

func (s *entrySizes) find(index uint64) (int, bool) {
	return slices.BinarySearchFunc(s.rows, index, func(r sizedEntry, i uint64) int {
		switch {
		case r.index < i:
			return -1
		case r.index > i:
			return 1
		}
		return 0
	})
}

func (s *entrySizes) add(l *raft.Log) {
	row := sizedEntry{l.Index, entrySize(l)}
	s.bytes += uint64(row.size)
	if n := len(s.rows); n == 0 || s.rows[n-1].index < row.index {
		s.rows = append(s.rows, row)
		return
	}
	at, found := s.find(row.index)
	if found {
		s.bytes -= uint64(s.rows[at].size)
		s.rows[at] = row
		return
	}
	s.rows = slices.Insert(s.rows, at, row)
}

func (s *entrySizes) remove(low, high uint64) {
	if low > high {
		return
	}
	from, _ := s.find(low)
	to, found := s.find(high)
	if found {
		to++
	}
	for _, r := range s.rows[from:to] {
		s.bytes -= uint64(r.size)
	}
	if from == 0 {
		// The usual case is cheap: the oldest entries go.
		s.rows = s.rows[to:]
		return
	}
	s.rows = slices.Delete(s.rows, from, to)
}
