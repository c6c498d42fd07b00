package store

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"scaleout/fsm/command"
)

// If the library committed a transaction whenever it opens the file, that transaction would have no record.
func TestOpeningCommitsNothing(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	must(t, d.Log().StoreLogs(entries(1, 5, 100)))
	closeDir(t, d)
	file := filepath.Join(path, logName)
	before, err := examine(file)
	must(t, err)
	closeDir(t, open(t, path))
	after, err := examine(file)
	must(t, err)
	if after.tx != before.tx {
		t.Errorf("opening and closing took the file from transaction %d to %d", before.tx, after.tx)
	}
	d = open(t, path)
	must(t, d.Log().StoreLog(entry(6, 100))) // and it is open for writing
}

// A deletion is announced in one transaction and carried out in the next. A process that ends in between finds the
// entries, one that ends later does not, and both find a whole file.
func TestACrashBetweenAnnouncementAndDeletion(t *testing.T) {
	for name, c := range map[string]struct {
		low, high   uint64
		carriedOut  bool
		first, last uint64
	}{
		"the oldest, announced":     {1, 4, false, 1, 10},
		"the oldest, carried out":   {1, 4, true, 5, 10},
		"the newest, announced":     {7, 10, false, 1, 10},
		"the newest, carried out":   {7, 10, true, 1, 6},
		"all of them, announced":    {1, 10, false, 1, 10},
		"all of them, carried out":  {1, 10, true, 0, 0},
		"none of them":              {11, 20, true, 1, 10},
		"beyond the end, announced": {9, 1 << 40, false, 1, 10},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), logName)
			d, err := openDisk(path, false, new(gate), func(*raft.Log) {})
			must(t, err)
			must(t, d.SetUint64([]byte("CurrentTerm"), 3))
			must(t, d.StoreLogs(entries(1, 10, 100)))
			if c.carriedOut {
				must(t, d.DeleteRange(c.low, c.high))
			} else {
				must(t, d.store(announced(d, c.low, c.high), nil))
			}
			must(t, d.Close())
			for range 2 { // found as it was left, and as the next write leaves it
				d, err = openDisk(path, true, new(gate), func(*raft.Log) {})
				must(t, err)
				first, err := d.FirstIndex()
				must(t, err)
				last, err := d.LastIndex()
				must(t, err)
				if first != c.first || last != c.last {
					t.Errorf("the log is %d to %d, want %d to %d", first, last, c.first, c.last)
				}
				if term, err := d.GetUint64([]byte("CurrentTerm")); err != nil || term != 3 {
					t.Errorf("term %d, %v", term, err)
				}
				must(t, d.SetUint64([]byte("LastVoteTerm"), 3))
				must(t, d.Close())
			}
		})
	}
}

// Where blocks are allocated late, a full disk is noticed at the last fsync, when the transaction is in the file
// already. A transaction that was refused like this must not be taken for damage at the next start.
func TestAFullDiskThatIsNoticedTooLate(t *testing.T) {
	for name, late := range map[string]func(d *disk) error{
		"entries":  func(d *disk) error { return d.BoltStore.StoreLogs([]*raft.Log{sealedRecord(d), sealedEntry(6)}) },
		"deletion": func(d *disk) error { return d.BoltStore.DeleteRange(4, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), logName)
			d, err := openDisk(path, false, new(gate), func(*raft.Log) {})
			must(t, err)
			must(t, d.StoreLogs(entries(1, 5, 100)))
			if name == "deletion" {
				must(t, d.store(announced(d, 4, 5), nil))
			}
			for _, err := range []error{
				d.write(func() error { return errors.Join(late(d), errors.New(textNoSpace)) }),
				d.StoreLog(entry(6, 100)),
			} {
				if err == nil || errors.Is(err, command.ErrNoSpace) {
					t.Errorf("%v; it does not know its file any more, and no room mends that", err)
				}
			}
			must(t, d.Close())
			d, err = openDisk(path, true, new(gate), func(*raft.Log) {})
			must(t, err)
			must(t, d.StoreLog(entry(7, 100)))
			must(t, d.Close())
		})
	}
}

// announced returns the record that announces a deletion.
func announced(d *disk, low, high uint64) record {
	rest := *d.rec.Load()
	rest.gone = deletion{low: low, high: high}
	for index, sum := range d.sums {
		if rest.gone.holds(index) {
			rest.remove(index, sum)
			rest.gone.add(index, sum)
		}
	}
	return rest
}

func sealedEntry(index uint64) *raft.Log {
	e, _ := seal(entry(index, 100))
	return &e
}

// sealedRecord returns the record that counts that entry.
func sealedRecord(d *disk) *raft.Log {
	next := *d.rec.Load()
	_, sum := seal(entry(6, 100))
	next.add(6, sum)
	next.tx = d.tx + 1
	e, _ := seal(&raft.Log{Index: recordIndex, Data: next.encode()})
	return &e
}
