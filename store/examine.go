package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.etcd.io/bbolt"
)

// examined is what the pages of a log file say, before the library maps them.
type examined struct {
	indexes []uint64 // of the entries, in order, without the record; incomplete if something is unverified
	tx      uint64   // the newest transaction
	// unverified names what bbolt may know and pages.go does not. It is no damage as long as the library reads the whole
	// file and every entry agrees with the record.
	unverified []string
}

// examine walks the whole file before anything maps or writes it.
func examine(path string) (examined, error) {
	f, err := os.Open(path)
	if err != nil {
		return examined{}, fmt.Errorf("raft log: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return examined{}, fmt.Errorf("raft log: %w", err)
	}
	out, err := examinePages(f, st.Size())
	switch {
	case errors.Is(err, ErrNewerFormat):
		return out, fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return out, corrupt(path, err.Error())
	}
	return out, nil
}

func examinePages(f io.ReaderAt, size int64) (out examined, err error) {
	p, err := openPages(f, size)
	if err != nil {
		return out, err
	}
	out.tx = p.tx
	buckets, err := p.buckets()
	if err != nil {
		return out, err
	}
	err = checkBuckets(len(buckets), buckets["logs"] != nil, buckets["conf"] != nil, p.unverified)
	if err != nil {
		return out, err
	}
	if conf := buckets["conf"]; conf != nil {
		if err := p.bucket(conf, notInConf); err != nil {
			return out, err
		}
	}
	if logs := buckets["logs"]; logs != nil {
		err = p.bucket(logs, out.addKey)
	}
	out.unverified = p.unverified
	return out, err
}

// checkBuckets refuses a file with other buckets than logs and conf. One of the two may be behind what could not be
// verified.
func checkBuckets(n int, logs, conf bool, unverified []string) error {
	known := 0
	for _, there := range []bool{logs, conf} {
		if there {
			known++
		}
	}
	if known == n && (n == 2 || len(unverified) > 0) {
		return nil
	}
	return fmt.Errorf("not a Raft log: it has %d buckets, want logs and conf", n)
}

func notInConf(key, _ []byte) error {
	return fmt.Errorf("conf holds %.20q, want nothing: Raft's values are in the record", key)
}

// addKey takes a key of the bucket logs.
func (out *examined) addKey(key, _ []byte) error {
	if len(key) != 8 {
		return fmt.Errorf("log: a key of %d bytes, want 8", len(key))
	}
	if index := binary.BigEndian.Uint64(key); index != recordIndex {
		out.indexes = append(out.indexes, index)
	}
	return nil
}

// listByLibrary lists the entries anew where pages.go could not read on. It must run guarded: a page that the library
// does not know either makes it panic. All other pages have been found sound.
func (out *examined) listByLibrary(path string) (err error) {
	opt := boltOptions()
	opt.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, opt)
	if err != nil {
		return boltError(path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	out.indexes = nil
	return db.View(func(tx *bbolt.Tx) error {
		logs, conf, n := tx.Bucket([]byte("logs")), tx.Bucket([]byte("conf")), 0
		err := tx.ForEach(func([]byte, *bbolt.Bucket) error { n++; return nil })
		if err == nil {
			err = checkBuckets(n, logs != nil, conf != nil, nil)
		}
		if err == nil {
			err = conf.ForEach(notInConf)
		}
		if err == nil {
			err = logs.ForEach(out.addKey)
		}
		if err != nil {
			return corrupt(path, err.Error())
		}
		return nil
	})
}

// explain adds to an error of the library that the file holds what this program could not verify.
func (out *examined) explain(err error) error {
	if err == nil || len(out.unverified) == 0 {
		return err
	}
	return fmt.Errorf("%w; but if a newer program wrote the file, start that one instead: this one cannot verify %s",
		err, strings.Join(out.unverified, ", "))
}
