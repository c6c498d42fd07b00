package store

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// fillable is a disk that takes no entries while it is full.
type fillable struct {
	LogStore
	full bool
}

var errFull = errors.New("no space (injected)")

func (p *fillable) StoreLogs(entries []*raft.Log) error {
	if p.full {
		return errFull
	}
	return p.LogStore.StoreLogs(entries)
}

// When the end of a log was deleted for entries that the full disk then did not take, the log is torn: it says so and
// leaves no hole. Without the failure it is a log like any other.
func TestATornLog(t *testing.T) {
	var disk fillable
	path := t.TempDir()
	d, err := Open(path, Options{WrapLog: func(l LogStore) LogStore { disk.LogStore = l; return &disk }})
	must(t, err)
	l := d.Log()
	must(t, l.StoreLogs([]*raft.Log{entry(1, 1), entry(2, 1), entry(3, 1)}))
	must(t, l.DeleteRange(3, 3))
	must(t, l.StoreLog(entry(3, 2)))
	disk.full = true
	wantErr(t, l.StoreLog(entry(4, 2)), errFull)
	if l.Torn() {
		t.Fatal("an entry that was only not appended tears nothing")
	}
	must(t, l.DeleteRange(2, 3))
	wantErr(t, l.StoreLog(entry(2, 3)), errFull)
	if !l.Torn() {
		t.Error("the end is gone and not replaced, and the log does not say so")
	}
	disk.full = false
	wantErr(t, l.StoreLog(entry(4, 3)), ErrTorn, "entry 4", "from 2 on")
	wantRange(t, l, 1, 1)
	closeDir(t, d)
	d = open(t, path)
	if d.Log().Torn() {
		t.Error("started again, it is still torn")
	}
	must(t, d.Log().StoreLog(entry(2, 3)))
	wantRange(t, d.Log(), 1, 2)
}
