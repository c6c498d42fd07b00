package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"maps"
	"math"
	"slices"

	"github.com/hashicorp/raft"
)

// recordIndex is the record's place in the log: behind every entry, in the page that an append writes anyway.
const recordIndex = math.MaxUint64

// seal adds a checksum to an entry, at the end of its extensions: the one field that
// the library stores and does not read.
func seal(e *raft.Log) (sealed raft.Log, sum uint32) {
	sum = entrySum(e)
	sealed = *e
	sealed.Extensions = make([]byte, 0, len(e.Extensions)+4)
	sealed.Extensions = append(sealed.Extensions, e.Extensions...)
	sealed.Extensions = binary.BigEndian.AppendUint32(sealed.Extensions, sum)
	return sealed, sum
}

// unseal checks the checksum and takes it off again.
func unseal(index uint64, e *raft.Log) (sum uint32, err error) {
	n := len(e.Extensions) - 4
	if n < 0 {
		return 0, fmt.Errorf("entry %d has no checksum", index)
	}
	want := binary.BigEndian.Uint32(e.Extensions[n:])
	if e.Extensions = e.Extensions[:n:n]; n == 0 {
		e.Extensions = nil
	}
	if got := entrySum(e); got != want || e.Index != index {
		return 0, fmt.Errorf("entry %d (found as %d): checksum %08x, want %08x", index, e.Index, got, want)
	}
	return want, nil
}

func entrySum(e *raft.Log) uint32 {
	var appended int64
	if !e.AppendedAt.IsZero() {
		appended = e.AppendedAt.UnixNano()
	}
	head := make([]byte, 0, 33)
	head = binary.BigEndian.AppendUint64(head, e.Index)
	head = binary.BigEndian.AppendUint64(head, e.Term)
	head = append(head, byte(e.Type))
	head = binary.BigEndian.AppendUint64(head, uint64(appended))
	head = binary.BigEndian.AppendUint64(head, uint64(len(e.Data)))
	sum := crc32.Checksum(head, castagnoli)
	sum = crc32.Update(sum, castagnoli, e.Data)
	return crc32.Update(sum, castagnoli, e.Extensions)
}

// contents says how many entries there are, and with which checksums.
type contents struct {
	count  uint64
	digest uint64 // the sum of a hash of each entry's index and checksum; it does not depend on their order
}

func entryHash(index uint64, sum uint32) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, index), sum))
	return h.Sum64()
}

func (c *contents) add(index uint64, sum uint32) {
	c.count++
	c.digest += entryHash(index, sum)
}

func (c *contents) remove(index uint64, sum uint32) {
	c.count--
	c.digest -= entryHash(index, sum)
}

// deletion is a range of entries that the next transaction deletes, and the entries in it.
type deletion struct {
	low, high uint64
	contents
}

func (d deletion) holds(index uint64) bool { return d.low <= index && index <= d.high }

// among lists the indexes of the range that have a checksum. The log is deleted in many short ranges, so the work must
// depend on the shorter of the two, range and log.
func (d deletion) among(sums map[uint64]uint32) (indexes []uint64) {
	if d.high >= d.low && d.high-d.low < uint64(len(sums)) {
		for index := d.low; index <= d.high; index++ {
			if _, there := sums[index]; there {
				indexes = append(indexes, index)
			}
		}
		return indexes
	}
	for index := range sums {
		if d.holds(index) {
			indexes = append(indexes, index)
		}
	}
	return indexes
}

// lastBefore returns the newest index that has a checksum, 0 without any. No entry from index on has one, so in a log
// without a hole the answer is index-1.
func lastBefore(index uint64, sums map[uint64]uint32) (last uint64) {
	if _, there := sums[index-1]; there {
		return index - 1
	}
	for i := range sums {
		last = max(last, i)
	}
	return last
}

// record says what the log file holds: Raft's own small values, and how many entries with which checksums. Every
// transaction that adds something renews it as one value. So nothing can go missing from the file unnoticed. A crash
// between Raft's two writes of a vote (first its term, then its candidate) leaves a record that is as whole as any
// other: it names a candidate of an older term for a term in which nobody has been given a vote yet.
type record struct {
	tx       uint64 // the transaction that wrote it: the file's newest one, or the one before an announced deletion
	contents        // without what gone holds
	gone     deletion
	values   map[string][]byte
	last     uint64 // the newest entry; not on disk
}

// set changes a copy of the values, because a record that is in use must stay as it is.
func (r *record) set(key string, value []byte) error {
	if len(key) > math.MaxUint8 || len(value) > math.MaxUint8 {
		return fmt.Errorf("raft log: a value of %d bytes under a key of %d; want at most %d each",
			len(value), len(key), math.MaxUint8)
	}
	values := maps.Clone(r.values)
	if values == nil {
		values = map[string][]byte{}
	}
	values[key] = slices.Clone(value)
	r.values = values
	return nil
}

// numbers returns the record's fields in their order on disk, where each takes eight bytes.
func (r *record) numbers() []*uint64 {
	return []*uint64{&r.tx, &r.count, &r.digest, &r.gone.low, &r.gone.high, &r.gone.count, &r.gone.digest}
}

// encode writes the numbers, then the values in order of key. A key or value stands after its length in one byte. The
// checksum is that of the entry that contains the record.
func (r *record) encode() (b []byte) {
	for _, n := range r.numbers() {
		b = binary.BigEndian.AppendUint64(b, *n)
	}
	for _, key := range slices.Sorted(maps.Keys(r.values)) {
		b = append(append(b, byte(len(key))), key...)
		b = append(append(b, byte(len(r.values[key]))), r.values[key]...)
	}
	return b
}

func parseRecord(b []byte) (r record, err error) {
	for _, n := range r.numbers() {
		if len(b) < 8 {
			return r, errors.New("the file's record (term, vote, number of entries) is too short")
		}
		*n, b = binary.BigEndian.Uint64(b), b[8:]
	}
	next := func() (text []byte) {
		if len(b) == 0 || int(b[0]) >= len(b) {
			err = errors.New("the file's record ends within a value")
			return nil
		}
		n := 1 + int(b[0])
		text, b = b[1:n], b[n:]
		return text
	}
	for len(b) > 0 && err == nil {
		key := string(next())
		if err == nil {
			value := next()
			err = errors.Join(err, r.set(key, value))
		}
	}
	return r, err
}
