package store

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// ErrTorn: the log's newest entries were deleted, and the entries that were to replace them could not be stored.
var ErrTorn = errors.New("the end of the log was cut off and not replaced")

// end watches the newest end of the log. A follower whose last entries differ from the leader's deletes them and stores
// the leader's. When the disk is full, the deletion may succeed and the store fail. Raft then goes on to believe in a
// last entry that is not there any more: as a follower it refuses all entries that follow, as a leader it would write
// behind the hole. Only a restart, which reads the log anew, sets that right.
type end struct {
	from atomic.Uint64 // the first index that was deleted and not stored again; 0: none
	torn atomic.Bool
}

// noteCut notes a deletion of everything from an index on. A deletion that failed may have deleted something.
func (e *end) noteCut(from uint64, err error) error {
	e.from.Store(from)
	if err != nil {
		e.torn.Store(true)
	}
	return err
}

// mayStore returns an error for entries that would leave a hole which no snapshot fills.
func (e *end) mayStore(entries []*raft.Log, covered func(index uint64) bool) error {
	from := e.from.Load()
	switch {
	case from == 0 || len(entries) == 0 || entries[0].Index <= from:
		return nil
	case covered(entries[0].Index - 1):
		e.from.Store(0) // a snapshot came in place of what was cut off
		return nil
	}
	e.torn.Store(true)
	return fmt.Errorf("raft log: entry %d: %w from %d on; this master must be started again",
		entries[0].Index, ErrTorn, from)
}

// noteStored notes how a store of entries ended.
func (e *end) noteStored(err error) {
	switch {
	case e.from.Load() == 0:
	case err != nil:
		e.torn.Store(true)
	default:
		e.from.Store(0)
	}
}

// Torn reports whether Raft believes in a last entry that this log has not got: see ErrTorn. It stays true until the
// next start.
func (l *Log) Torn() bool { return l.end.torn.Load() }
