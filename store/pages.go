package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// These constants are the part of bbolt's file format (version 2) that a reader needs. The database library maps the
// file into memory and trusts its pages. A damaged page makes it read out of bounds, partly in goroutines where nothing
// can be caught, and the process dies with a stack trace. So this file looks at the pages first, with code that trusts
// none of them. Numbers are in the machine's own order.
//
// bbolt may grow kinds of pages and flags of entries that this code does not know. They are noted as unverified and
// passed over, and are no damage by themselves: bbolt refuses what it does not know either, and what it reads is
// compared with the checksums of the entries and with the record.
const (
	pageHead  = 16 // id, kind, count, overflow
	pageEntry = 16 // one entry of a branch or a leaf
	metaSize  = 64
	metaSum   = 56 // where the checksum stands in it
	boltMagic = 0xED0CDAED
	// boltVersion is the version of the format that is read here.
	boltVersion = 2

	kindBranch   = 0x01
	kindLeaf     = 0x02
	kindMeta     = 0x04
	kindFreelist = 0x10
	bucketFlag   = 0x01

	noFreelist  = math.MaxUint64
	minPageSize = 1 << 10
	maxPageSize = 1 << 24
)

var native = binary.NativeEndian

// pages is a database file that is being examined. Each page may be reached once: a page that is reached twice
// is damage, and would send a reader in circles.
type pages struct {
	file     io.ReaderAt
	size     int64
	pageSize int64
	root     uint64
	freelist uint64
	count    uint64 // pages in use or once used
	tx       uint64 // the transaction that wrote it last
	seen     map[uint64]bool

	unverified []string // the first few things that are of no known kind
}

// cannotVerify notes something that bbolt may know.
func (p *pages) cannotVerify(format string, args ...any) {
	const enough = 3
	if len(p.unverified) < enough {
		p.unverified = append(p.unverified, fmt.Sprintf(format, args...))
	}
}

// isUnknownKind reports whether a page is of none of the kinds that bbolt had when this was written. A page of kind 0
// is not unknown: no kind is 0, and a page of zeros is damage.
func isUnknownKind(kind uint16) bool {
	switch kind {
	case 0, kindBranch, kindLeaf, kindMeta, kindFreelist:
		return false
	}
	return true
}

// openPages finds the newer of the two meta pages. Both must be valid: if the newer one were damaged, the database
// would use the older one, and forget the last transaction, which may have been a vote. A loss of power leaves no
// half-written meta page: its content is 80 bytes at the beginning of a sector, which a disk writes whole or not at
// all.
func openPages(file io.ReaderAt, size int64) (*pages, error) {
	first, err := openMeta(file, size, 0)
	if err != nil {
		return nil, err
	}
	newest, err := openMeta(file, size, first.pageSize)
	if err != nil {
		return nil, err
	}
	if newest.pageSize != first.pageSize {
		return nil, fmt.Errorf("its meta pages say that a page has %d bytes, and %d", first.pageSize, newest.pageSize)
	}
	if first.tx > newest.tx {
		newest = first
	}
	if newest.count > uint64(size/newest.pageSize) {
		return nil, fmt.Errorf("cut off: %d bytes, want %d pages of %d", size, newest.count, newest.pageSize)
	}
	return newest, newest.checkFreelist()
}

// openMeta reads the meta page at a place in the file.
func openMeta(file io.ReaderAt, size, at int64) (*pages, error) {
	buf := make([]byte, pageHead+metaSize)
	if _, err := file.ReadAt(buf, at); err != nil {
		return nil, fmt.Errorf("not a database: no meta page at byte %d of %d", at, size)
	}
	m := buf[pageHead:]
	sum := fnv.New64a()
	sum.Write(m[:metaSum])
	pageSize := int64(native.Uint32(m[8:]))
	if native.Uint32(m) != boltMagic || native.Uint64(m[metaSum:]) != sum.Sum64() ||
		pageSize < minPageSize || pageSize > maxPageSize || pageSize&(pageSize-1) != 0 {
		return nil, fmt.Errorf("the meta page at byte %d is damaged, or this is no database (%d bytes)", at, size)
	}
	if version := native.Uint32(m[4:]); version != boltVersion {
		// The library would take the other meta page, and with it forget the newest transaction.
		return nil, fmt.Errorf("%w: the database file has version %d, this program reads version %d; "+
			"start it with the program that wrote the file, or a newer one", ErrNewerFormat, version, boltVersion)
	}
	return &pages{
		file: file, size: size, pageSize: pageSize, root: native.Uint64(m[16:]), freelist: native.Uint64(m[32:]),
		count: native.Uint64(m[40:]), tx: native.Uint64(m[48:]), seen: map[uint64]bool{0: true, 1: true},
	}, nil
}

// read checks the head of a page and returns the page with its overflow.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, fmt.Errorf("page %d of %d", id, p.count)
	}
	head := make([]byte, pageHead)
	if _, err := p.file.ReadAt(head, int64(id)*p.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if self := native.Uint64(head); self != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, self)
	}
	overflow := uint64(native.Uint32(head[12:]))
	if overflow >= p.count-id {
		return nil, fmt.Errorf("page %d goes on for %d pages, beyond the end", id, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if p.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.seen[i] = true
	}
	page := make([]byte, int64(overflow+1)*p.pageSize)
	if _, err := p.file.ReadAt(page, int64(id)*p.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

// checkFreelist refuses a list of free pages with entries. This package writes none, but a database that was never
// written to has the empty list that it was made with.
func (p *pages) checkFreelist() error {
	if p.freelist == noFreelist {
		return nil
	}
	page, err := p.read(p.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	kind, n := native.Uint16(page[8:]), native.Uint16(page[10:])
	if isUnknownKind(kind) {
		p.cannotVerify("the list of free pages, which is of kind %#x", kind)
		return nil
	}
	if kind != kindFreelist || n != 0 {
		return fmt.Errorf("list of free pages: page %d has kind %#x and %d entries", p.freelist, kind, n)
	}
	return nil
}

// bound is the range that the keys of a page must be in, by the pages above it.
type bound struct{ low, high []byte }

// walk calls f for each entry below a page, in order of key.
func (p *pages) walk(id uint64, in bound, f func(flags uint32, key, value []byte) error) error {
	page, err := p.read(id)
	if err != nil {
		return err
	}
	switch kind := native.Uint16(page[8:]); kind {
	case kindLeaf:
		if err := p.walkLeaf(page, in, f); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		return nil
	case kindBranch:
		return p.walkBranch(id, page, in, f)
	default:
		if isUnknownKind(kind) {
			p.cannotVerify("page %d, which is of kind %#x", id, kind)
			return nil
		}
		return fmt.Errorf("page %d has kind %#x", id, kind)
	}
}

func (p *pages) walkBranch(id uint64, page []byte, in bound, f func(flags uint32, key, value []byte) error) error {
	n := int(native.Uint16(page[10:]))
	if n == 0 {
		return fmt.Errorf("page %d is an empty branch", id)
	}
	keys, below := make([][]byte, n), make([]uint64, n)
	for i := range n {
		at := pageHead + i*pageEntry
		e, err := cut(page, at, pageEntry)
		if err != nil {
			return fmt.Errorf("page %d: entry %d: %w", id, i, err)
		}
		keys[i], err = cut(page, at+int(native.Uint32(e)), int(native.Uint32(e[4:])))
		if err != nil {
			return fmt.Errorf("page %d: entry %d: %w", id, i, err)
		}
		if err := inOrder(keys, i, in); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		below[i] = native.Uint64(e[8:])
	}
	for i := range n {
		child := bound{keys[i], in.high}
		if i+1 < n {
			child.high = keys[i+1]
		}
		if err := p.walk(below[i], child, f); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) walkLeaf(page []byte, in bound, f func(flags uint32, key, value []byte) error) error {
	n := int(native.Uint16(page[10:]))
	keys := make([][]byte, n)
	for i := range n {
		at := pageHead + i*pageEntry
		e, err := cut(page, at, pageEntry)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		start, keySize := at+int(native.Uint32(e[4:])), int(native.Uint32(e[8:]))
		if keys[i], err = cut(page, start, keySize); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if err := inOrder(keys, i, in); err != nil {
			return err
		}
		value, err := cut(page, start+keySize, int(native.Uint32(e[12:])))
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		flags := native.Uint32(e)
		if flags&^bucketFlag != 0 {
			p.cannotVerify("the entry %.20q, which has flags %#x", keys[i], flags)
			continue
		}
		if err := f(flags, keys[i], value); err != nil {
			return err
		}
	}
	return nil
}

// cut returns n bytes of a page. Place and number come from the file and may be nonsense.
func cut(page []byte, at, n int) ([]byte, error) {
	if at < pageHead || n < 0 || at > len(page) || n > len(page)-at {
		return nil, fmt.Errorf("%d bytes at %d do not fit into %d", n, at, len(page))
	}
	return page[at : at+n], nil
}

// inOrder checks that key i is there, greater than the one before and within the bound.
func inOrder(keys [][]byte, i int, in bound) error {
	switch {
	case len(keys[i]) == 0:
		return fmt.Errorf("entry %d has no key", i)
	case i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0,
		in.low != nil && bytes.Compare(keys[i], in.low) < 0,
		in.high != nil && bytes.Compare(keys[i], in.high) >= 0:
		return fmt.Errorf("entry %d is out of order", i)
	}
	return nil
}

// buckets returns the values of the top-level entries, each of which must be a bucket.
func (p *pages) buckets() (map[string][]byte, error) {
	found := map[string][]byte{}
	err := p.walk(p.root, bound{}, func(flags uint32, key, value []byte) error {
		if flags != bucketFlag || len(value) < 16 {
			return fmt.Errorf("%q is not a bucket", key)
		}
		found[string(key)] = value
		return nil
	})
	return found, err
}

// bucket calls f for each entry of a bucket, which is either a tree of its own or, when small, a
// leaf within the value that names it.
func (p *pages) bucket(value []byte, f func(key, value []byte) error) error {
	plain := func(flags uint32, key, value []byte) error {
		if flags != 0 {
			return fmt.Errorf("an entry with flags %#x", flags)
		}
		return f(key, value)
	}
	if root := native.Uint64(value); root != 0 {
		return p.walk(root, bound{}, plain)
	}
	if len(value) < 16+pageHead {
		return errors.New("a bucket without content")
	}
	page := value[16:]
	kind := native.Uint16(page[8:])
	if isUnknownKind(kind) {
		p.cannotVerify("a bucket's own page, which is of kind %#x", kind)
		return nil
	}
	if kind != kindLeaf {
		return fmt.Errorf("a bucket's own page has kind %#x, want a leaf", kind)
	}
	return p.walkLeaf(page, bound{}, plain)
}
