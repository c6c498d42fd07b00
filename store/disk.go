package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const openTimeout = 2 * time.Second

var (
	logsBucket = []byte("logs") // entries by index, big-endian
	confBucket = []byte("conf") // the record, and nothing else
	recordKey  = []byte("record")

	// errNotSet has the text that Raft looks for.
	errNotSet = errors.New("not found")
)

// boltOptions: without the list of free pages on disk, which would be written again, whole, with
// every commit; and with the kind of list that stays fast when it is long. Zero would wait for ever
// for the file's lock.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// disk is the log file, with no trust in what it reads nor, after a write has failed, in what it wrote. Each entry has
// a checksum, and every transaction renews the record, which says what the whole file holds: so an entry, a vote or a
// whole page that went missing is noticed, at the price of no further fsync. A library that hides the transaction
// (raft-boltdb) cannot do that.
type disk struct {
	db     *bbolt.DB
	path   string
	gate   *gate
	failed atomic.Pointer[error]
}

var _ LogStore = (*disk)(nil)

// openDisk opens or makes the log file. It hands each entry to found, in order, before the database library maps the
// file: a damaged file is left as it is, for whoever wants to know what happened to it.
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
	if err := examine(path, found); err != nil {
		return nil, err
	}
	d := &disk{path: path, gate: g}
	return d, guarded(path, func() (err error) {
		d.db, err = bbolt.Open(path, 0o600, boltOptions())
		return boltError(path, err)
	})
}

// makeBolt makes an empty log file under another name first: a file that a loss of power left
// half made would look damaged.
func makeBolt(path string) error {
	temp := path + tempMark + "new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	db, err := bbolt.Open(temp, 0o600, boltOptions())
	if err == nil {
		err = errors.Join(db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{logsBucket, confBucket} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			return putRecord(tx, record{})
		}), db.Close())
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

// examine reads the whole file before anything maps or writes it.
func examine(path string, found func(*raft.Log)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	if err := examinePages(f, st.Size(), found); err != nil {
		return corrupt(path, err.Error())
	}
	return nil
}

func examinePages(f io.ReaderAt, size int64, found func(*raft.Log)) error {
	p, err := openPages(f, size)
	if err != nil {
		return err
	}
	buckets, err := p.buckets()
	if err != nil {
		return err
	}
	logs, conf := buckets[string(logsBucket)], buckets[string(confBucket)]
	if logs == nil || conf == nil || len(buckets) != 2 {
		return fmt.Errorf("not a Raft log: it has %d buckets, want logs and conf", len(buckets))
	}
	var rec record
	records := 0
	if err := p.bucket(conf, func(key, value []byte) (err error) {
		if string(key) != string(recordKey) {
			return fmt.Errorf("conf holds %.20q, want %q alone", key, recordKey)
		}
		records++
		rec, err = parseRecord(value)
		return err
	}); err != nil {
		return err
	}
	if records == 0 {
		return errors.New("the record of what the file holds is missing")
	}
	if rec.tx != p.tx {
		return fmt.Errorf("the file's record (term, vote, number of entries) is of transaction %d, the newest one is %d",
			rec.tx, p.tx)
	}
	var there record
	if err := p.bucket(logs, func(key, value []byte) error {
		if len(key) != 8 {
			return fmt.Errorf("log: a key of %d bytes, want 8", len(key))
		}
		e, sum, err := parseEntry(binary.BigEndian.Uint64(key), value)
		if err != nil {
			return err
		}
		there.add(e.Index, sum)
		found(&e)
		return nil
	}); err != nil {
		return err
	}
	if there.count != rec.count || there.digest != rec.digest {
		return fmt.Errorf("the log holds %d entries with digest %016x, and the file's own record says %d with %016x",
			there.count, there.digest, rec.count, rec.digest)
	}
	return nil
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

func (d *disk) Close() error { return d.db.Close() }

func (d *disk) FirstIndex() (index uint64, err error) {
	return index, d.db.View(func(tx *bbolt.Tx) error {
		if key, _ := tx.Bucket(logsBucket).Cursor().First(); key != nil {
			index = binary.BigEndian.Uint64(key)
		}
		return nil
	})
}

func (d *disk) LastIndex() (index uint64, err error) {
	return index, d.db.View(func(tx *bbolt.Tx) error {
		if key, _ := tx.Bucket(logsBucket).Cursor().Last(); key != nil {
			index = binary.BigEndian.Uint64(key)
		}
		return nil
	})
}

func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket(logsBucket).Get(indexKey(index))
		if value == nil {
			return raft.ErrLogNotFound
		}
		e, _, err := parseEntry(index, value)
		if err != nil {
			return corrupt(d.path, err.Error())
		}
		*entry = e
		return nil
	})
}

func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

func (d *disk) StoreLogs(entries []*raft.Log) error {
	return d.write(func(tx *bbolt.Tx, rec *record) error {
		logs := tx.Bucket(logsBucket)
		last, _ := logs.Cursor().Last()
		for _, e := range entries {
			key := indexKey(e.Index)
			if string(key) <= string(last) {
				if err := forget(rec, key, logs.Get(key)); err != nil {
					return err
				}
			}
			value, sum := encodeEntry(e)
			if err := logs.Put(key, value); err != nil {
				return err
			}
			rec.add(e.Index, sum)
		}
		return nil
	})
}

func (d *disk) DeleteRange(low, high uint64) error {
	return d.write(func(tx *bbolt.Tx, rec *record) error {
		c := tx.Bucket(logsBucket).Cursor()
		for key, value := c.Seek(indexKey(low)); key != nil && binary.BigEndian.Uint64(key) <= high; key, value = c.Next() {
			if err := forget(rec, key, value); err != nil {
				return err
			}
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget takes an entry, if there is one, out of the record.
func forget(rec *record, key, value []byte) error {
	if value == nil {
		return nil
	}
	sum, err := entrySum(value)
	if err != nil {
		return err
	}
	rec.remove(binary.BigEndian.Uint64(key), sum)
	return nil
}

func (d *disk) Set(key, value []byte) error {
	return d.write(func(_ *bbolt.Tx, rec *record) error { return rec.set(string(key), value) })
}

func (d *disk) Get(key []byte) (value []byte, err error) {
	return value, d.db.View(func(tx *bbolt.Tx) error {
		rec, err := parseRecord(tx.Bucket(confBucket).Get(recordKey))
		if err != nil {
			return corrupt(d.path, err.Error())
		}
		var set bool
		if value, set = rec.values[string(key)]; !set {
			return errNotSet
		}
		return nil
	})
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

// write runs one transaction, which renews the record. After one that failed for another reason than a full disk there
// are no more: the kernel may have thrown the dirty pages away, after which an fsync of the same file
// succeeds, and the meta page that was not made durable can be the one that is read.
func (d *disk) write(change func(tx *bbolt.Tx, rec *record) error) error {
	if err := d.gate.check(); err != nil {
		return err
	}
	if before := d.failed.Load(); before != nil {
		return fmt.Errorf("%s takes no more writes until this process is started again: %w", d.path, *before)
	}
	err := d.db.Update(func(tx *bbolt.Tx) error {
		rec, err := parseRecord(tx.Bucket(confBucket).Get(recordKey))
		if err != nil {
			return corrupt(d.path, err.Error())
		}
		if err := change(tx, &rec); err != nil {
			return err
		}
		return putRecord(tx, rec)
	})
	if err == nil || errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return err
	}
	err = onDisk(d.path, err)
	if !errors.Is(err, ErrNoSpace) {
		d.failed.CompareAndSwap(nil, &err)
	}
	return err
}

func putRecord(tx *bbolt.Tx, rec record) error {
	rec.tx = uint64(tx.ID())
	return tx.Bucket(confBucket).Put(recordKey, rec.encode())
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }
