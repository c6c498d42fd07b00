package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"scaleout/fsm/command"
	"scaleout/store/file"
)

const openTimeout = 2 * time.Second

// errNotSet has the text that Raft looks for.
var errNotSet = errors.New("not found")

// boltOptions returns the options that every opening has in common. The list of free pages is not kept on disk, because
// the whole of it would be written with every commit; in memory it is of the kind that stays fast when it is long. A
// timeout of zero would wait for ever for the file's lock.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// disk is the log file: raft-boltdb, without trust in what it reads nor, after a write has failed, in what it wrote.
// Each entry has a checksum, and every transaction that adds something renews the record, which says what the whole
// file holds. So an entry, a vote or a whole page that went missing is noticed, without a further fsync. The record is
// an entry of its own behind all others, because what one call of the library stores in one transaction is a list of
// entries and nothing else.
type disk struct {
	*raftboltdb.BoltStore
	path   string
	gate   *gate
	failed atomic.Pointer[error]
	// unverified names what pages.go did not know when the file was opened. All entries were read all the same.
	unverified []string

	// changing is held around each change, because the record of a transaction contains the transaction's number.
	changing sync.Mutex
	tx       uint64            // the newest transaction
	sums     map[uint64]uint32 // checksums of the entries, by index

	rec atomic.Pointer[record] // what the file holds; replaced, never changed
}

var _ LogStore = (*disk)(nil)

// openDisk opens or makes the log file. It hands each entry to found, in order, before anything
// is written: a damaged file stays as it is, for people who want to know what happened to it.
func openDisk(path string, mustExist bool, g *gate, found func(*raft.Log)) (*disk, error) {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mustExist:
		return nil, corrupt(path, "missing; a node without its log has forgotten its vote")
	case errors.Is(err, fs.ErrNotExist):
		if err := makeBolt(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("raft log: %w", err)
	}
	out, err := examine(path)
	if err != nil {
		return nil, err
	}
	return openExamined(path, out, g, found)
}

// openExamined reads the entries of a file and opens it for writing.
func openExamined(path string, out examined, g *gate, found func(*raft.Log)) (*disk, error) {
	d := &disk{path: path, gate: g, sums: map[uint64]uint32{}, tx: out.tx, unverified: out.unverified}
	if err := guarded(path, func() error { return d.readAll(out, found) }); err != nil {
		return nil, out.explain(err)
	}
	return d, out.explain(guarded(path, func() error { return d.open(forWriting) }))
}

// openMode is how the library opens the file.
type openMode int

const (
	withNewBuckets openMode = iota // for writing; the library makes its buckets
	forWriting
	forReading
)

// open opens the file with the library. raft-boltdb makes its buckets whenever it opens a file for writing, in a
// transaction that then is the newest one and has no record. It leaves that out if the options say read-only, and it
// looks at them after bbolt has read them; so open sets ReadOnly when bbolt opens the file, which is in between.
func (d *disk) open(mode openMode) error {
	opt := boltOptions()
	opt.ReadOnly = mode == forReading
	if mode == forWriting {
		opt.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
			opt.ReadOnly = true
			return os.OpenFile(name, flag, perm)
		}
	}
	b, err := raftboltdb.New(raftboltdb.Options{Path: d.path, BoltOptions: opt})
	d.BoltStore = b
	return boltError(d.path, err)
}

// readAll reads every entry and compares all of them with the record.
func (d *disk) readAll(out examined, found func(*raft.Log)) (err error) {
	if len(out.unverified) > 0 {
		if err := out.listByLibrary(d.path); err != nil {
			return err
		}
	}
	if err := d.open(forReading); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var kept, deleting record // the entries outside and inside of the range that was being deleted
	rec, err := d.readRecord()
	if err != nil {
		return err
	}
	for _, index := range out.indexes {
		e := new(raft.Log)
		sum, err := d.read(index, e)
		if errors.Is(err, raft.ErrLogNotFound) {
			return corrupt(d.path, fmt.Sprintf("entry %d has a key and no value", index))
		}
		if err != nil {
			return err
		}
		d.sums[index] = sum
		if rec.gone.holds(index) {
			deleting.add(index, sum)
		} else {
			kept.add(index, sum)
		}
		found(e)
	}
	switch {
	case kept.contents != rec.contents:
		return corrupt(d.path, fmt.Sprintf(
			"the log holds %d entries with digest %016x, and the file's own record says %d with %016x",
			kept.count, kept.digest, rec.count, rec.digest))
	case out.tx == rec.tx && deleting.contents == rec.gone.contents:
		// The deletion that was announced, if there was one, was not carried out.
	case out.tx == rec.tx+1 && rec.gone.count > 0 && deleting.count == 0:
		// The deletion that was announced was carried out.
	default:
		return corrupt(d.path, fmt.Sprintf(
			"the file's record (term, vote, number of entries) is of transaction %d, the newest one is %d",
			rec.tx, out.tx))
	}
	current := record{values: rec.values}
	current.count, current.digest = kept.count+deleting.count, kept.digest+deleting.digest
	if n := len(out.indexes); n > 0 {
		current.last = out.indexes[n-1]
	}
	d.rec.Store(&current)
	return nil
}

// makeBolt makes an empty log file under another name first: a file that a loss of power left
// half made would look damaged.
func makeBolt(path string) error {
	return onDisk(path, file.WriteWith(path, 0o600, func(f *os.File) error { return fillBolt(f.Name()) }))
}

// roomBytes is about how much of a new file is free, so that a vote finds room in the file when the disk has none. In a
// file that is in use, every append leaves free pages behind.
const roomBytes = 64 << 10

// fillBolt makes a log file with the library's buckets, a record and some room.
func fillBolt(path string) error {
	d := &disk{path: path, gate: new(gate), sums: map[uint64]uint32{}}
	if err := d.open(withNewBuckets); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	out, err := examine(path)
	if err != nil {
		return err
	}
	d.tx = out.tx
	if err := d.open(forWriting); err != nil {
		return err
	}
	d.rec.Store(&record{})
	err = d.StoreLog(&raft.Log{Index: 1, Data: make([]byte, roomBytes)})
	if err == nil {
		err = d.DeleteRange(1, 1)
	}
	if err == nil {
		err = d.store(record{}, nil)
	}
	return errors.Join(err, d.Close())
}

// guarded runs f and turns a panic of the database library, or a fault on a page that the disk
// does not deliver, into an error.
func guarded(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = corrupt(path, fmt.Sprint(r))
		}
	}()
	return f()
}

// boltError turns an error of opening the file into one of this package.
func boltError(path string, err error) error {
	var pathErr *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: %s was not let go of within %v by the process that has it open", ErrLocked, path, openTimeout)
	case errors.As(err, &pathErr), isNoSpace(err):
		return onDisk(path, err)
	}
	return corrupt(path, err.Error())
}

// read reads an entry and its checksum.
func (d *disk) read(index uint64, entry *raft.Log) (sum uint32, err error) {
	if err := d.BoltStore.GetLog(index, entry); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return 0, err
		}
		return 0, corrupt(d.path, fmt.Sprintf("entry %d: %v", index, err))
	}
	if sum, err = unseal(index, entry); err != nil {
		return 0, corrupt(d.path, err.Error())
	}
	return sum, nil
}

func (d *disk) readRecord() (record, error) {
	var e raft.Log
	if _, err := d.read(recordIndex, &e); errors.Is(err, raft.ErrLogNotFound) {
		return record{}, corrupt(d.path, "the record of what the file holds is missing")
	} else if err != nil {
		return record{}, err
	}
	rec, err := parseRecord(e.Data)
	if err != nil {
		return rec, corrupt(d.path, err.Error())
	}
	return rec, nil
}

// FirstIndex returns the index of the oldest entry, 0 without any.
func (d *disk) FirstIndex() (uint64, error) {
	index, err := d.BoltStore.FirstIndex()
	if index == recordIndex {
		index = 0
	}
	return index, err
}

// LastIndex returns the index of the newest entry, 0 without any. The library would name the record.
func (d *disk) LastIndex() (uint64, error) {
	if _, err := d.BoltStore.FirstIndex(); err != nil { // closed
		return 0, err
	}
	return d.rec.Load().last, nil
}

func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	if index == recordIndex {
		return raft.ErrLogNotFound
	}
	_, err := d.read(index, entry)
	return err
}

func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

func (d *disk) StoreLogs(entries []*raft.Log) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	next := *d.rec.Load()
	sealed, sums := make([]raft.Log, len(entries)), map[uint64]uint32{}
	for i, e := range entries {
		old, replaced := sums[e.Index]
		if !replaced {
			old, replaced = d.sums[e.Index]
		}
		if replaced {
			next.remove(e.Index, old)
		}
		sealed[i], sums[e.Index] = seal(e)
		next.add(e.Index, sums[e.Index])
		next.last = max(next.last, e.Index)
	}
	if err := d.store(next, sealed); err != nil {
		return err
	}
	for index, sum := range sums {
		d.sums[index] = sum
	}
	return nil
}

// store commits entries together with the record.
func (d *disk) store(next record, sealed []raft.Log) error {
	next.tx = d.tx + 1
	batch := make([]*raft.Log, 0, len(sealed)+1)
	for i := range sealed {
		batch = append(batch, &sealed[i])
	}
	e, _ := seal(&raft.Log{Index: recordIndex, Data: next.encode()})
	if err := d.write(func() error { return d.BoltStore.StoreLogs(append(batch, &e)) }); err != nil {
		return err
	}
	d.rec.Store(&next)
	return nil
}

// DeleteRange announces the deletion in a transaction of its own. The library cannot delete and store in one
// transaction, and a process that ends between the two must find a record that is true.
func (d *disk) DeleteRange(low, high uint64) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	before := *d.rec.Load()
	next := before
	next.gone = deletion{low: low, high: min(high, recordIndex-1)}
	deleted := next.gone.among(d.sums)
	for _, index := range deleted {
		next.remove(index, d.sums[index])
		next.gone.add(index, d.sums[index])
	}
	if len(deleted) == 0 {
		return d.gate.check()
	}
	if err := d.store(next, nil); err != nil {
		return err
	}
	d.rec.Store(&before) // as long as nothing is deleted
	if err := d.write(func() error { return d.BoltStore.DeleteRange(next.gone.low, next.gone.high) }); err != nil {
		return err
	}
	for _, index := range deleted {
		delete(d.sums, index)
	}
	if next.gone.holds(next.last) {
		next.last = lastBefore(next.gone.low, d.sums)
	}
	next.gone = deletion{}
	d.rec.Store(&next)
	return nil
}

func (d *disk) Set(key, value []byte) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	next := *d.rec.Load()
	if err := next.set(string(key), value); err != nil {
		return err
	}
	return d.store(next, nil)
}

func (d *disk) Get(key []byte) ([]byte, error) {
	if _, err := d.BoltStore.FirstIndex(); err != nil { // closed
		return nil, err
	}
	value, set := d.rec.Load().values[string(key)]
	if !set {
		return nil, errNotSet
	}
	return append([]byte(nil), value...), nil
}

func (d *disk) SetUint64(key []byte, value uint64) error {
	return d.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (d *disk) GetUint64(key []byte) (uint64, error) {
	value, err := d.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, corrupt(d.path, fmt.Sprintf("%s has %d bytes, want 8", key, len(value)))
	}
	return binary.BigEndian.Uint64(value), nil
}

// write runs one transaction of the library. After a transaction that failed for another reason than a full disk there
// are no more: the kernel may have thrown the dirty pages away, after which an fsync of the same file succeeds, and the
// meta page that was not made durable can be the one that is read. The same holds if the disk turned out to be full
// when the meta page had been written, as happens where blocks are allocated late: nobody knows whether it is in the
// file.
func (d *disk) write(commit func() error) error {
	if err := d.gate.check(); err != nil {
		return err
	}
	if before := d.failed.Load(); before != nil {
		return fmt.Errorf("%s takes no more writes until this process is started again: %w", d.path, *before)
	}
	err := commit()
	if err == nil {
		d.tx++
		return nil
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err
	}
	err = onDisk(d.path, err)
	if errors.Is(err, command.ErrNoSpace) && !d.untouched() {
		// The text does not wrap command.ErrNoSpace: room does not mend this, and nobody may wait for room.
		err = fmt.Errorf("%s: nobody knows whether a transaction is on the disk, "+ //nolint:errorlint // see above
			"which was full only when it was written: %v", d.path, err)
	}
	if !errors.Is(err, command.ErrNoSpace) {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// untouched reports whether the newest transaction in the file is still the last one that succeeded.
func (d *disk) untouched() bool {
	f, err := os.Open(d.path)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false
	}
	p, err := openPages(f, st.Size())
	return err == nil && p.tx == d.tx
}
