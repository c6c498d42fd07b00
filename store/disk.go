package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const openTimeout = 2 * time.Second

// boltOptions: without the list of free pages on disk, which would be written again, whole, with
// every commit; and with the kind of list that stays fast when it is long. Zero would wait for ever
// for the file's lock.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// disk is the log file: raft-boltdb with a checksum on each entry, errors that say what
// to do, and no trust in a file after a write to it has failed.
type disk struct {
	*raftboltdb.BoltStore
	path   string
	gate   *gate
	failed atomic.Pointer[error]
}

// openDisk opens or makes the log file. It hands each entry to found, in order, before anything
// is written: opening the database for writing commits a transaction, and a damaged file
// is left as it is, for whoever wants to know what happened to it.
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
	indexes, err := examine(path)
	if err != nil {
		return nil, err
	}
	d := &disk{path: path, gate: g}
	if err := guarded(path, func() error { return d.readAll(indexes, found) }); err != nil {
		return nil, err
	}
	return d, guarded(path, func() error { return d.open(boltOptions()) })
}

func (d *disk) open(opt *bbolt.Options) error {
	b, err := raftboltdb.New(raftboltdb.Options{Path: d.path, BoltOptions: opt})
	d.BoltStore = b
	return boltError(d.path, err)
}

func (d *disk) readAll(indexes []uint64, found func(*raft.Log)) (err error) {
	opt := boltOptions()
	opt.ReadOnly = true
	if err := d.open(opt); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, index := range indexes {
		e := new(raft.Log)
		if err := d.GetLog(index, e); err != nil {
			return err
		}
		found(e)
	}
	return nil
}

// makeBolt makes an empty log file under another name first: a file that a loss of power left
// half made would look damaged.
func makeBolt(path string) error {
	temp := path + tempMark + "new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	b, err := raftboltdb.New(raftboltdb.Options{Path: temp, BoltOptions: boltOptions()})
	if err == nil {
		err = b.Close()
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(temp)
	}
	return onDisk(path, err)
}

// examine walks the whole file before anything maps or writes it, and returns the indexes of the
// entries.
func examine(path string) ([]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	indexes, err := examinePages(f, st.Size())
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	return indexes, nil
}

func examinePages(f io.ReaderAt, size int64) (indexes []uint64, err error) {
	p, err := openPages(f, size)
	if err != nil {
		return nil, err
	}
	buckets, err := p.buckets()
	if err != nil {
		return nil, err
	}
	logs, conf := buckets["logs"], buckets["conf"]
	if logs == nil || conf == nil || len(buckets) != 2 {
		return nil, fmt.Errorf("not a Raft log: it has %d buckets, want logs and conf", len(buckets))
	}
	err = p.bucket(logs, func(key, _ []byte) error {
		if len(key) != 8 {
			return fmt.Errorf("log: a key of %d bytes, want 8", len(key))
		}
		indexes = append(indexes, binary.BigEndian.Uint64(key))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return indexes, p.bucket(conf, func(key, value []byte) error {
		if k := string(key); (k == "CurrentTerm" || k == "LastVoteTerm") && len(value) != 8 {
			return fmt.Errorf("%s has %d bytes, want 8", k, len(value))
		}
		return nil
	})
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

func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	if err := d.BoltStore.GetLog(index, entry); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return err
		}
		return corrupt(d.path, fmt.Sprintf("entry %d: %v", index, err))
	}
	if err := unseal(index, entry); err != nil {
		return corrupt(d.path, err.Error())
	}
	return nil
}

func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

func (d *disk) StoreLogs(entries []*raft.Log) error {
	sealed := make([]*raft.Log, len(entries))
	copies := make([]raft.Log, len(entries))
	for i, e := range entries {
		copies[i] = seal(e)
		sealed[i] = &copies[i]
	}
	return d.write(func() error { return d.BoltStore.StoreLogs(sealed) })
}

func (d *disk) DeleteRange(low, high uint64) error {
	return d.write(func() error { return d.BoltStore.DeleteRange(low, high) })
}

func (d *disk) Set(key, value []byte) error {
	return d.write(func() error { return d.BoltStore.Set(key, value) })
}

func (d *disk) SetUint64(key []byte, value uint64) error {
	return d.write(func() error { return d.BoltStore.SetUint64(key, value) })
}

// write runs one transaction. After one that failed for another reason than a full disk there are
// no more: the kernel may have thrown the dirty pages away, after which an fsync of the same file
// succeeds, and the meta page that was not made durable can be the one that is read.
func (d *disk) write(commit func() error) error {
	if err := d.gate.check(); err != nil {
		return err
	}
	if before := d.failed.Load(); before != nil {
		return fmt.Errorf("%s takes no more writes until this process is started again: %w", d.path, *before)
	}
	err := commit()
	if err == nil || errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err
	}
	err = onDisk(d.path, err)
	if !errors.Is(err, ErrNoSpace) {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

// seal adds a checksum to an entry, at the end of its extensions: the one field that
// the library stores and does not read.
func seal(e *raft.Log) raft.Log {
	s := *e
	s.Extensions = make([]byte, 0, len(e.Extensions)+4)
	s.Extensions = append(s.Extensions, e.Extensions...)
	s.Extensions = binary.BigEndian.AppendUint32(s.Extensions, entrySum(e))
	return s
}

func unseal(index uint64, e *raft.Log) error {
	n := len(e.Extensions) - 4
	if n < 0 {
		return fmt.Errorf("entry %d has no checksum", index)
	}
	want := binary.BigEndian.Uint32(e.Extensions[n:])
	if e.Extensions = e.Extensions[:n:n]; n == 0 {
		e.Extensions = nil
	}
	if got := entrySum(e); got != want || e.Index != index {
		return fmt.Errorf("entry %d (found as %d): checksum %08x, want %08x", index, e.Index, got, want)
	}
	return nil
}

func entrySum(e *raft.Log) uint32 {
	head := make([]byte, 0, 25)
	head = binary.BigEndian.AppendUint64(head, e.Index)
	head = binary.BigEndian.AppendUint64(head, e.Term)
	head = append(head, byte(e.Type))
	head = binary.BigEndian.AppendUint64(head, uint64(len(e.Data)))
	sum := crc32.Checksum(head, castagnoli)
	sum = crc32.Update(sum, castagnoli, e.Data)
	return crc32.Update(sum, castagnoli, e.Extensions)
}
