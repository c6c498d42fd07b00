package catalog

import (
	"encoding/binary"
	"iter"
	"math"
)

// runsPerRow is how many runs of messages one row holds; a long execution has thousands.
const runsPerRow = 64

// runs is a row of consecutive runs of messages of one operation, numbered from First.
type runs struct {
	OperationID int64  `cbor:"1,keyasint"`
	First       int64  `cbor:"2,keyasint"`
	N           int    `cbor:"3,keyasint"`
	Data        []byte `cbor:"4,keyasint"` // packed runs
}

// packed is a run inside its row: the segment by its number.
type packed struct {
	attempt, part, count, skip int
	segment, firstID           int64
}

func (p packed) append(b []byte) []byte {
	for _, n := range [...]int64{int64(p.attempt), p.segment, int64(p.part), p.firstID, int64(p.count), int64(p.skip)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// numbers reads a row of varints; a damaged end reads as zeros, which a restore refuses.
func numbers(b []byte, into []int64) []byte {
	for i := range into {
		n, size := binary.Uvarint(b)
		into[i] = int64(n)
		b = b[max(size, 0):]
	}
	return b
}

func (r *runs) unpack() []packed {
	list := make([]packed, r.N)
	b, n := r.Data, [6]int64{}
	for i := range list {
		b = numbers(b, n[:])
		list[i] = packed{int(n[0]), int(n[2]), int(n[4]), int(n[5]), n[1], n[3]}
	}
	return list
}

func (r *runs) with(list []packed) *runs {
	q := &runs{OperationID: r.OperationID, First: r.First, N: len(list)}
	for _, p := range list {
		q.Data = p.append(q.Data)
	}
	return q
}

// segmentRef says which run lies in a part of a segment.
type segmentRef struct{ part, operation, run int64 }

func (s *Segment) refs() []segmentRef {
	list := make([]segmentRef, s.Runs)
	b, n := s.Refs, [3]int64{}
	for i := range list {
		b = numbers(b, n[:])
		list[i] = segmentRef{n[0], n[1], n[2]}
	}
	return list
}

func (s *Segment) with(list []segmentRef) *Segment {
	q := &Segment{Digest: s.Digest, Size: s.Size, Num: s.Num, Runs: len(list)}
	for _, ref := range list {
		for _, n := range [...]int64{ref.part, ref.operation, ref.run} {
			q.Refs = binary.AppendUvarint(q.Refs, uint64(n))
		}
	}
	return q
}

// Segment finds a message segment by its SHA-256.
func (r *Reader) Segment(digest string) (*Segment, bool) {
	return find[Segment](r, tableSegments, byDigest, []byte(digest))
}

// Segments yields the message segments in the order in which they came.
func (r *Reader) Segments() iter.Seq[*Segment] {
	return rowsBy[*Segment](r, tableSegments, byID, nil, false)
}

// Runs yields the runs of messages of an operation in their order.
func (r *Reader) Runs(operationID int64) iter.Seq[*MessageRun] {
	return func(yield func(*MessageRun) bool) {
		for row := range rowsBy[*runs](r, tableRuns, byID, key(operationID), false) {
			for i, p := range row.unpack() {
				if s, ok := find[Segment](r, tableSegments, byID, key(p.segment)); ok && !yield(p.run(row, i, s)) {
					return
				}
			}
		}
	}
}

func (p packed) run(row *runs, i int, s *Segment) *MessageRun {
	return &MessageRun{
		OperationID: row.OperationID, Run: row.First + int64(i), Attempt: p.attempt, Segment: s.Digest, Part: p.part,
		FirstID: p.firstID, Count: p.count, Skip: p.skip,
	}
}

// SegmentRuns yields the runs that lie in a segment, by part.
func (r *Reader) SegmentRuns(digest string) iter.Seq[*MessageRun] {
	return func(yield func(*MessageRun) bool) {
		s, ok := r.Segment(digest)
		if !ok {
			return
		}
		for _, ref := range s.refs() {
			row := r.runsWith(ref.operation, ref.run)
			if i := int(ref.run - row.First); !yield(row.unpack()[i].run(row, i, s)) {
				return
			}
		}
	}
}

// runsWith is the row that holds a run which a segment's reference names.
func (r *Reader) runsWith(operation, run int64) *runs {
	return floor[*runs](r, tableRuns, key(operation, run))
}

// lastRuns is the last row of an operation's runs, nil if there is none.
func (r *Reader) lastRuns(operation int64) *runs {
	if row := floor[*runs](r, tableRuns, key(operation, math.MaxInt64)); row != nil && row.OperationID == operation {
		return row
	}
	return nil
}
