package store

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// ErrTorn: the log's newest entries were deleted and what was to come in their place could not be stored.
var ErrTorn = errors.New("the end of the log was cut off and not replaced")

// end watches the newest end of the log. A follower whose last entries differ from the leader's deletes them and stores
// the leader's; when the disk is full it may succeed with the first and fail with the second, and then Raft goes on to
// believe in a last entry that is not there any more: it refuses all that follows for ever or, as a leader, would write
// behind the hole. Only what is read at a start sets that right.
type end struct {
	from atomic.Uint64 // the first index that was deleted and not stored again; 0: none
	torn atomic.Bool
}

// cut notes a deletion of everything from an index on. One that failed may have deleted something.
func (e *end) cut(from uint64, err error) error {
	e.from.Store(from)
	if err != nil {
		e.torn.Store(true)
	}
	return err
}

// mayStore refuses entries that would leave a hole which no snapshot fills.
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

func (e *end) stored(err error) {
	switch {
	case e.from.Load() == 0:
	case err != nil:
		e.torn.Store(true)
	default:
		e.from.Store(0)
	}
}

// Torn says that Raft believes in a last entry that this log has not got: see ErrTorn. It stays so until the next
// start.
func (l *Log) Torn() bool { return l.end.torn.Load() }
