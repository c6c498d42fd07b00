package store

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// deleteStep is how many indexes one transaction deletes. The database has one writer: a deletion
// of thousands of big entries in one piece would hold up what Raft wants to append.
const deleteStep = 256

// Log is Raft's log and stable store: a bbolt file with the newest entries in memory.
type Log struct {
	path  string
	gate  *gate
	disk  *disk
	inner LogStore // disk, or what a test has put in front of it
	began *pending
	// covered is the last entry that a snapshot holds. It is set before anything is deleted.
	covered func() (index uint64, err error)

	// write is held around each change of entries, on disk and then in memory, so
	// that the memory never has an entry that the disk has deleted meanwhile.
	write sync.Mutex
	end   end

	recent sync.RWMutex // guards cache and sizes
	cache  cache
	sizes  ledger
	bytes  atomic.Uint64

	failing atomic.Pointer[error]
}

var _ LogStore = (*Log)(nil)

// openLog opens the log file. Mustexist says that this directory has had a log before.
func openLog(path string, mustExist bool, g *gate, opt Options) (*Log, error) {
	l := &Log{path: path, gate: g, began: newPending()}
	l.cache.limit = max(opt.LogCacheBytes, 0)
	disk, err := openDisk(path, mustExist, g, func(e *raft.Log) { l.noteStored([]*raft.Log{e}) })
	if err != nil {
		return nil, err
	}
	if len(disk.unverified) > 0 {
		opt.Logger.Warn("a part of the log file cannot be verified, because this program does not know what bbolt wrote there; "+
			"every entry was read and compared with its checksum", "path", path, "unverified", disk.unverified)
	}
	l.disk, l.inner = disk, disk
	if opt.WrapLog != nil {
		l.inner = opt.WrapLog(disk)
	}
	return l, nil
}

// Writing is how long the oldest write of ours that is in progress has been running; 0 when none
// is. It takes no lock that a write holds.
func (l *Log) Writing() time.Duration { return l.began.oldest() }

// Bytes is the size of the entries held: their data and a little for each.
func (l *Log) Bytes() uint64 { return l.bytes.Load() }

// FileBytes is the size of the database file, free pages included; 0 when it cannot be read.
func (l *Log) FileBytes() int64 {
	st, err := os.Stat(l.path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// endAfter is where the run of entries that begins right after index ends; index itself
// when there are none. Whole is false when entries follow behind a hole.
func (l *Log) endAfter(index uint64) (end uint64, whole bool) {
	l.recent.RLock()
	defer l.recent.RUnlock()
	at, _ := l.sizes.find(index + 1)
	rest := l.sizes.rows[at:]
	if len(rest) == 0 {
		return index, true
	}
	end = rest[len(rest)-1].index
	return end, end-index == uint64(len(rest))
}

// Failing is why the last write failed; nil when it did not. After a write of entries that failed,
// only one of entries that succeeds says that all is well: a term is small and fits where they do not.
func (l *Log) Failing() error {
	if err := l.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// FirstIndex is the index of the oldest entry; 0 without entries.
func (l *Log) FirstIndex() (uint64, error) { return l.inner.FirstIndex() }

// LastIndex is the index of the newest entry; 0 without entries.
func (l *Log) LastIndex() (uint64, error) { return l.inner.LastIndex() }

// GetLog reads the entry at index into entry; raft.ErrLogNotFound when there is none. The entry's
// data may be shared with the cache: it must not be changed.
func (l *Log) GetLog(index uint64, entry *raft.Log) error {
	l.recent.RLock()
	hit, ok := l.cache.get(index)
	l.recent.RUnlock()
	if ok {
		*entry = hit
		return nil
	}
	return l.inner.GetLog(index, entry)
}

// StoreLog appends one entry.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries, all or none. Their data must not be changed afterwards.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	return l.do(func() error {
		l.write.Lock()
		defer l.write.Unlock()
		// Whatever comes of this write, the disk decides what stands at these indexes.
		l.forgetRecent(entries)
		if err := l.end.mayStore(entries, l.isCovered); err != nil {
			return err
		}
		err := l.inner.StoreLogs(entries)
		if l.end.stored(err); err != nil {
			return err
		}
		l.noteStored(entries)
		l.failing.Store(nil)
		return nil
	})
}

// DeleteRange deletes the entries from low to high, both included, in steps.
// A failure may leave it half done, never with a hole in what remains.
func (l *Log) DeleteRange(low, high uint64) error {
	if low > high {
		return nil
	}
	first, err := l.inner.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.inner.LastIndex()
	if err != nil || first == 0 {
		return err
	}
	switch {
	case low <= first && (high < last || l.isCovered(last)):
		return l.deleteOldest(first, min(high, last))
	case high >= last:
		// This may be the whole log, when all of it differs from the leader's.
		low = max(low, first)
		return l.end.cut(low, l.deleteNewest(low, last))
	}
	return l.deleteStep(low, high)
}

// isCovered says whether a snapshot holds the entry at index and all before it. When that cannot be found out, it does
// not.
func (l *Log) isCovered(index uint64) bool {
	if l.covered == nil {
		return false
	}
	end, err := l.covered()
	return err == nil && end >= index
}

func (l *Log) deleteOldest(low, high uint64) error {
	for low <= high {
		to := high
		if high-low >= deleteStep {
			to = low + deleteStep - 1
		}
		if err := l.deleteStep(low, to); err != nil {
			return err
		}
		// The log may have gaps after a snapshot was installed; they are jumped over.
		next, err := l.inner.FirstIndex()
		if err != nil || next == 0 || to == high {
			return err
		}
		low = max(to+1, next)
	}
	return nil
}

// deleteNewest works from the end downwards: the other way a crash between two steps would
// leave old entries behind a hole.
func (l *Log) deleteNewest(low, high uint64) error {
	for low <= high {
		from := low
		if high-low >= deleteStep {
			from = high - deleteStep + 1
		}
		if err := l.deleteStep(from, high); err != nil {
			return err
		}
		last, err := l.inner.LastIndex()
		if err != nil || last == 0 || from == low {
			return err
		}
		high = min(from-1, last)
	}
	return nil
}

func (l *Log) deleteStep(low, high uint64) error {
	return l.do(func() error {
		l.write.Lock()
		defer l.write.Unlock()
		l.recent.Lock()
		l.cache.remove(low, high)
		l.recent.Unlock()
		if err := l.inner.DeleteRange(low, high); err != nil {
			return err
		}
		l.recent.Lock()
		defer l.recent.Unlock()
		l.sizes.remove(low, high)
		l.bytes.Store(l.sizes.bytes)
		return nil
	})
}

func (l *Log) forgetRecent(entries []*raft.Log) {
	l.recent.Lock()
	defer l.recent.Unlock()
	for _, e := range entries {
		l.cache.remove(e.Index, e.Index)
	}
}

func (l *Log) noteStored(entries []*raft.Log) {
	l.recent.Lock()
	defer l.recent.Unlock()
	for _, e := range entries {
		l.sizes.add(e)
	}
	l.cache.add(entries)
	l.bytes.Store(l.sizes.bytes)
}

// Set keeps a small value of Raft's.
func (l *Log) Set(key, value []byte) error {
	return l.do(func() error { return l.inner.Set(key, value) })
}

// Get reads what Set kept. The error for a missing key reads "not found", which Raft looks for.
func (l *Log) Get(key []byte) ([]byte, error) { return l.inner.Get(key) }

// SetUint64 keeps a number.
func (l *Log) SetUint64(key []byte, value uint64) error {
	return l.do(func() error { return l.inner.SetUint64(key, value) })
}

// GetUint64 reads what SetUint64 kept; a missing key is an error that reads "not found".
func (l *Log) GetUint64(key []byte) (uint64, error) { return l.inner.GetUint64(key) }

// do runs one write: seen by the watchdog, refused when the directory is frozen or
// closed, and without a success to report when that happened meanwhile.
func (l *Log) do(write func() error) error {
	defer l.began.begin()()
	if err := l.gate.check(); err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	err := write()
	if gerr := l.gate.check(); gerr != nil {
		return fmt.Errorf("raft log: %w", gerr)
	}
	if err != nil {
		l.failing.Store(&err)
	}
	return err
}

func (l *Log) close() error { return l.disk.Close() }
