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

// boltOptions: without the list of free pages on disk, which would be written again, whole, with
// every commit; and with the kind of list that stays fast when it is long. Zero would wait for ever
// for the file's lock.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// disk is the log file: raft-boltdb, with no trust in what it reads nor, after a write has failed, in what it wrote. Each
// entry has a checksum, and every transaction that adds something renews the record, which says what the whole file
// holds: so an entry, a vote or a whole page that went missing is noticed, at the price of no further fsync. The record
// is an entry of its own behind all others, since one call of the library stores entries, and nothing else, at once.
type disk struct {
	*raftboltdb.BoltStore
	path   string
	gate   *gate
	failed atomic.Pointer[error]
	// unverified names what pages.go did not know when the file was opened, and what every entry has been read in spite of.
	unverified []string

	// changing is held around each change: the record of a transaction has its number.
	changing sync.Mutex
	tx       uint64            // the newest transaction
	sums     map[uint64]uint32 // checksums of the entries, by index

	rec atomic.Pointer[record] // what the file holds; never changed once it is here
}

var _ LogStore = (*disk)(nil)

// openDisk opens or makes the log file. It hands each entry to found, in order, before anything
// is written: a damaged file is left as it is, for whoever wants to know what happened to it.
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
	return d, out.explain(guarded(path, func() error { return d.open(plainly) }))
}

// How to open the file.
type openMode int

const (
	initially openMode = iota // and make the library's buckets
	plainly                   // for reading and writing
	reading
)

// open opens the file with the library. It commits a transaction that changes nothing whenever it opens a file for
// writing; that would be the newest one, and have no record. It does not for a file that is to be read only, and looks
// for that after the database, which therefore gets its answer first.
func (d *disk) open(mode openMode) error {
	opt := boltOptions()
	opt.ReadOnly = mode == reading
	if mode == plainly {
		opt.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
			opt.ReadOnly = true
			return os.OpenFile(name, flag, perm)
		}
	}
	b, err := raftboltdb.New(raftboltdb.Options{Path: d.path, BoltOptions: opt})
	d.BoltStore = b
	return boltError(d.path, err)
}

// readAll reads every entry and holds them against the record.
func (d *disk) readAll(out examined, found func(*raft.Log)) (err error) {
	if len(out.unverified) > 0 {
		if err := out.listByLibrary(d.path); err != nil {
			return err
		}
	}
	if err := d.open(reading); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var there, within record // the entries outside and inside of the range that was being deleted
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
			within.add(index, sum)
		} else {
			there.add(index, sum)
		}
		found(e)
	}
	switch {
	case there.contents != rec.contents:
		return corrupt(d.path, fmt.Sprintf("the log holds %d entries with digest %016x, and the file's own record says %d with %016x",
			there.count, there.digest, rec.count, rec.digest))
	case out.tx == rec.tx && within.contents == rec.gone.contents:
		// The deletion that was announced, if there was one, was not carried out.
	case out.tx == rec.tx+1 && rec.gone.count > 0 && within.count == 0:
		// It was.
	default:
		return corrupt(d.path, fmt.Sprintf("the file's record (term, vote, number of entries) is of transaction %d, the newest one is %d",
			rec.tx, out.tx))
	}
	now := record{values: rec.values}
	now.count, now.digest = there.count+within.count, there.digest+within.digest
	if n := len(out.indexes); n > 0 {
		now.last = out.indexes[n-1]
	}
	d.rec.Store(&now)
	return nil
}

// makeBolt makes an empty log file under another name first: a file that a loss of power left
// half made would look damaged.
func makeBolt(path string) error {
	return onDisk(path, file.WriteWith(path, 0o600, func(f *os.File) error { return fillBolt(f.Name()) }))
}

// roomBytes is about how much of a new file is free: a vote must find room in it when the disk has none. Later on every
// append leaves what it replaced.
const roomBytes = 64 << 10

// fillBolt makes a log file with the library's buckets, a record and some room.
func fillBolt(path string) error {
	d := &disk{path: path, gate: new(gate), sums: map[uint64]uint32{}}
	if err := d.open(initially); err != nil {
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
	if err := d.open(plainly); err != nil {
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

// guarded runs f, and turns a panic of the database library, or a fault on a page that the disk
// does not give, into an error.
func guarded(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = corrupt(path, fmt.Sprint(r))
		}
	}()
	return f()
}

// boltError sorts what opening the file may say.
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

// FirstIndex is the oldest entry; 0 without any.
func (d *disk) FirstIndex() (uint64, error) {
	index, err := d.BoltStore.FirstIndex()
	if index == recordIndex {
		index = 0
	}
	return index, err
}

// LastIndex is the newest entry; 0 without any. The library would name the record.
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

// DeleteRange announces what it deletes in a transaction of its own: the library deletes and stores in different ones,
// and whoever ends between the two must find a record that is true.
func (d *disk) DeleteRange(low, high uint64) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	now := *d.rec.Load()
	rest := now
	rest.gone = deletion{low: low, high: min(high, recordIndex-1)}
	deleted := rest.gone.among(d.sums)
	for _, index := range deleted {
		rest.remove(index, d.sums[index])
		rest.gone.add(index, d.sums[index])
	}
	if len(deleted) == 0 {
		return d.gate.check()
	}
	if err := d.store(rest, nil); err != nil {
		return err
	}
	d.rec.Store(&now) // as long as nothing is deleted
	if err := d.write(func() error { return d.BoltStore.DeleteRange(rest.gone.low, rest.gone.high) }); err != nil {
		return err
	}
	for _, index := range deleted {
		delete(d.sums, index)
	}
	if rest.gone.holds(rest.last) {
		rest.last = lastBefore(rest.gone.low, d.sums)
	}
	rest.gone = deletion{}
	d.rec.Store(&rest)
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

// write runs one transaction of the library. After one that failed for another reason than a full disk there are
// no more: the kernel may have thrown the dirty pages away, after which an fsync of the same file
// succeeds, and the meta page that was not made durable can be the one that is read. Nor after one for which the disk
// was full only once its meta page was written, as where blocks are allocated late: it is in the file, or not.
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
		// No command.ErrNoSpace: room does not mend it, and nobody may wait for room.
		err = fmt.Errorf("%s: nobody knows whether a transaction is on the disk, which was full only when it was written: %v", //nolint:errorlint // see above
			d.path, err)
	}
	if !errors.Is(err, command.ErrNoSpace) {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// untouched says whether the newest transaction in the file is still the last one that succeeded.
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
