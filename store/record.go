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
	"time"

	"github.com/hashicorp/raft"
)

// An entry on disk is
//
//	term, time of appending in ns, size of the data   8 bytes each
//	type                                              1 byte
//	data, extensions
//	CRC-32C of its index and of all before            4 bytes
const (
	entryHead  = 25
	recordHead = 24
	sumSize    = 4
)

func encodeEntry(e *raft.Log) (value []byte, sum uint32) {
	value = make([]byte, 0, entryHead+len(e.Data)+len(e.Extensions)+sumSize)
	value = binary.BigEndian.AppendUint64(value, e.Term)
	var appended int64
	if !e.AppendedAt.IsZero() {
		appended = e.AppendedAt.UnixNano()
	}
	value = binary.BigEndian.AppendUint64(value, uint64(appended))
	value = binary.BigEndian.AppendUint64(value, uint64(len(e.Data)))
	value = append(value, byte(e.Type))
	value = append(value, e.Data...)
	value = append(value, e.Extensions...)
	sum = crc32.Update(crc32.Checksum(indexKey(e.Index), castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum), sum
}

// parseEntry copies what it returns.
func parseEntry(index uint64, value []byte) (e raft.Log, sum uint32, err error) {
	if sum, err = entrySum(value); err != nil {
		return e, 0, fmt.Errorf("entry %d: %w", index, err)
	}
	value = value[:len(value)-sumSize]
	if got := crc32.Update(crc32.Checksum(indexKey(index), castagnoli), castagnoli, value); got != sum {
		return e, 0, fmt.Errorf("entry %d: checksum %08x, want %08x", index, got, sum)
	}
	body, n := value[entryHead:], binary.BigEndian.Uint64(value[16:])
	if n > uint64(len(body)) {
		return e, 0, fmt.Errorf("entry %d: %d bytes of data in %d", index, n, len(body))
	}
	e = raft.Log{Index: index, Term: binary.BigEndian.Uint64(value), Type: raft.LogType(value[24])}
	if at := int64(binary.BigEndian.Uint64(value[8:])); at != 0 {
		e.AppendedAt = time.Unix(0, at)
	}
	if n > 0 {
		e.Data = slices.Clone(body[:n])
	}
	if n < uint64(len(body)) {
		e.Extensions = slices.Clone(body[n:])
	}
	return e, sum, nil
}

func entrySum(value []byte) (uint32, error) {
	if len(value) < entryHead+sumSize {
		return 0, fmt.Errorf("%d bytes, want at least %d", len(value), entryHead+sumSize)
	}
	return binary.BigEndian.Uint32(value[len(value)-sumSize:]), nil
}

// record says what the log file holds: Raft's own small values, and how many entries with which checksums. It is
// renewed by every transaction as one value with one checksum. So nothing can go missing from the file unnoticed; and a
// crash between two of Raft's writes of a vote (first its term, then its candidate) leaves a record that is as whole as
// any other: it names a candidate of an older term for a term in which nobody has been given a vote yet.
type record struct {
	tx     uint64 // the transaction that wrote it, which the newest meta page must be of
	count  uint64
	digest uint64 // the sum of a hash of each entry's index and checksum, in whatever order they came
	values map[string][]byte
}

func entryHash(index uint64, sum uint32) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(indexKey(index), sum))
	return h.Sum64()
}

func (r *record) add(index uint64, sum uint32) {
	r.count++
	r.digest += entryHash(index, sum)
}

func (r *record) remove(index uint64, sum uint32) {
	r.count--
	r.digest -= entryHash(index, sum)
}

func (r *record) set(key string, value []byte) error {
	if len(key) > math.MaxUint8 || len(value) > math.MaxUint8 {
		return fmt.Errorf("raft log: a value of %d bytes under a key of %d; want at most %d each",
			len(value), len(key), math.MaxUint8)
	}
	if r.values == nil {
		r.values = map[string][]byte{}
	}
	r.values[key] = slices.Clone(value)
	return nil
}

// encode writes tx, count, digest, the values in order of key (each key and value after its length in one byte),
// CRC-32C.
func (r *record) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, r.tx)
	b = binary.BigEndian.AppendUint64(b, r.count)
	b = binary.BigEndian.AppendUint64(b, r.digest)
	for _, key := range slices.Sorted(maps.Keys(r.values)) {
		b = append(append(b, byte(len(key))), key...)
		b = append(append(b, byte(len(r.values[key]))), r.values[key]...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseRecord(b []byte) (r record, err error) {
	if len(b) < recordHead+sumSize {
		return r, fmt.Errorf("the file's record has %d bytes, want at least %d", len(b), recordHead+sumSize)
	}
	b, sum := b[:len(b)-sumSize], binary.BigEndian.Uint32(b[len(b)-sumSize:])
	if got := crc32.Checksum(b, castagnoli); got != sum {
		return r, fmt.Errorf("the file's record (term, vote, number of entries): checksum %08x, want %08x", got, sum)
	}
	r.tx, r.count, r.digest = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	next := func() (part []byte) {
		if len(b) == 0 || int(b[0]) >= len(b) {
			err = errors.New("the file's record ends within a value")
			return nil
		}
		n := 1 + int(b[0])
		part, b = b[1:n], b[n:]
		return part
	}
	for b = b[recordHead:]; len(b) > 0 && err == nil; {
		key := string(next())
		if err == nil {
			value := next()
			err = errors.Join(err, r.set(key, value))
		}
	}
	return r, err
}
