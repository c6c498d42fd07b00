package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/logkey"
)

// deleteStep is how many indexes one transaction deletes. The database has one writer, so a deletion
// of thousands of big entries in one piece would hold up Raft's appends.
const deleteStep = 256

// Log is Raft's log and stable store: a bbolt file with the newest entries in memory.
type Log struct {
	path  string
	gate  *gate
	disk  *disk
	inner LogStore // disk, or the store that a test has put in front of it
	began *pending
	// covered returns the last entry that a snapshot holds. It is set before anything is deleted.
	covered func() (index uint64, err error)

	// write is held around each change of entries, on disk and then in memory, so
	// that the memory never has an entry that the disk has deleted meanwhile.
	write sync.Mutex
	end   end

	recent sync.RWMutex // guards cache and sizes
	cache  cache
	sizes  entrySizes
	bytes  atomic.Uint64

	failing atomic.Pointer[error]
}

var _ LogStore = (*Log)(nil)

// openLog opens the log file. mustExist means that this directory has had a log before.
func openLog(path string, mustExist bool, g *gate, opt Options) (*Log, error) {
	l := &Log{path: path, gate: g, began: newPending()}
	l.cache.limit = max(opt.LogCacheBytes, 0)
	disk, err := openDisk(path, mustExist, g, func(e *raft.Log) { l.noteStored([]*raft.Log{e}) })
	if err != nil {
		return nil, err
	}
	if len(disk.unverified) > 0 {
		opt.Logger.LogAttrs(context.Background(), slog.LevelWarn,
			"a part of the log file cannot be verified, because this program does not know what bbolt wrote "+
				"there; every entry was read and compared with its checksum", slog.String(logkey.Path, path),
			slog.Any(logkey.Unverified, disk.unverified))
	}
	l.disk, l.inner = disk, disk
	if opt.WrapLog != nil {
		l.inner = opt.WrapLog(disk)
	}
	return l, nil
}

// Writing returns for how long the oldest write to the log has been running, 0 if none is. It takes no lock that a
// write holds.
func (l *Log) Writing() time.Duration { return l.began.oldest() }

// Bytes returns the size of the entries in the log: their data, and a little for each.
func (l *Log) Bytes() uint64 { return l.bytes.Load() }

// endAfter returns the last of the entries that follow index, or index itself if there are none. whole is false if one
// of them is missing in between.
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

// Failing returns why the last write failed, or nil if it did not. After a failed write of entries, only a successful
// write of entries ends the failure: a term is small and fits where entries do not.
func (l *Log) Failing() error {
	if err := l.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// FirstIndex returns the index of the oldest entry, 0 without entries.
func (l *Log) FirstIndex() (uint64, error) { return l.inner.FirstIndex() }

// LastIndex returns the index of the newest entry, 0 without entries.
func (l *Log) LastIndex() (uint64, error) { return l.inner.LastIndex() }

// GetLog reads the entry at index into entry; if there is none, it returns raft.ErrLogNotFound. The entry's
// data may be shared with the cache, so it must not be changed.
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
		// Whether this write succeeds or fails, from here on the disk decides which entries have these indexes.
		l.forgetRecent(entries)
		if err := l.end.mayStore(entries, l.isCovered); err != nil {
			return err
		}
		err := l.inner.StoreLogs(entries)
		if l.end.noteStored(err); err != nil {
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
		return l.end.noteCut(low, l.deleteNewest(low, last))
	}
	return l.deleteStep(low, high)
}

// isCovered reports whether a snapshot holds the entry at index and all before it. It is false, too, if that cannot be
// found out.
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
		// The log may have gaps after a snapshot was installed; they are skipped.
		next, err := l.inner.FirstIndex()
		if err != nil || next == 0 || to == high {
			return err
		}
		low = max(to+1, next)
	}
	return nil
}

// deleteNewest works from the end downwards. The other way, a crash between two steps would
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

// Set stores a small value for Raft.
func (l *Log) Set(key, value []byte) error {
	return l.do(func() error { return l.inner.Set(key, value) })
}

// Get reads a value that Set stored. The error for a missing key reads "not found", because Raft looks for that text.
func (l *Log) Get(key []byte) ([]byte, error) { return l.inner.Get(key) }

// SetUint64 stores a number for Raft.
func (l *Log) SetUint64(key []byte, value uint64) error {
	return l.do(func() error { return l.inner.SetUint64(key, value) })
}

// GetUint64 reads a number that SetUint64 stored. The error for a missing key reads "not found".
func (l *Log) GetUint64(key []byte) (uint64, error) { return l.inner.GetUint64(key) }

// do runs one write. The watchdog sees it while it runs. It is refused if the directory is frozen or closed, and fails
// if that happened meanwhile.
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
