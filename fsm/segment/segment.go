// Package segment is the format of a message segment: the messages that several workers sent within a short time,
// packed into one immutable file that is replicated like a project file and named by its SHA-256.
//
// A segment is a magic line and one zstd frame of a CBOR sequence: the list of part headers, then each part's
// messages as one byte string, in the same order. A part holds consecutive messages of one attempt of one task. The
// state remembers for each run of messages which part of which segment holds it; everything else is here.
//
// It leaves to others where segments lie (store), who writes them (cluster/segmenter) and which are still named
// (fsm/catalog).
package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
)

// Limits of one segment; a reader refuses what is larger, so that a damaged file cannot exhaust memory.
const (
	MaxParts = 1 << 16
	MaxPlain = 64 << 20 // bytes before compression
	// SoftSize is where a packer closes a segment.
	SoftSize = 1 << 20
)

const magic = "scaleout-segment/1\n"

// ErrFormat is wrapped by every error about a segment's content.
var ErrFormat = errors.New("not a readable message segment")

// Message is one operation message. Time is in nanoseconds since 1970 UTC, by the worker's clock; Type and SourceType
// are those of catalog.operation_messages.
type Message struct {
	Time       int64  `cbor:"1,keyasint"`
	Type       int    `cbor:"2,keyasint"`
	SourceType int    `cbor:"3,keyasint"`
	Text       string `cbor:"4,keyasint"`
}

// Part is consecutive messages of one attempt, numbered from FirstSeq.
type Part struct {
	TaskID   int64
	Attempt  int
	FirstSeq int64
	Messages []Message
}

type header struct {
	TaskID   int64 `cbor:"1,keyasint"`
	Attempt  int   `cbor:"2,keyasint"`
	FirstSeq int64 `cbor:"3,keyasint"`
	Count    int   `cbor:"4,keyasint"`
}

// Building the modes and the coders costs more than a segment; they are safe for concurrent use.
var (
	decMode = sync.OnceValue(func() cbor.DecMode {
		m, err := cbor.DecOptions{MaxArrayElements: 1 << 20, MaxNestedLevels: 8}.DecMode()
		if err != nil {
			panic(err) // constant options
		}
		return m
	})
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxPlain))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// Encode packs the parts in their order.
func Encode(parts []Part) ([]byte, error) {
	bodies := make([][]byte, len(parts))
	headers := make([]header, len(parts))
	for i, p := range parts {
		body, err := cbor.Marshal(p.Messages)
		if err != nil {
			return nil, fmt.Errorf("encode part %d: %w", i, err)
		}
		bodies[i] = body
		headers[i] = header{p.TaskID, p.Attempt, p.FirstSeq, len(p.Messages)}
	}
	return encode(headers, bodies)
}

func encode(headers []header, bodies [][]byte) ([]byte, error) {
	if len(headers) > MaxParts {
		return nil, fmt.Errorf("%d parts are more than the %d that a segment holds", len(headers), MaxParts)
	}
	var plain bytes.Buffer
	enc := cbor.NewEncoder(&plain)
	if err := enc.Encode(headers); err != nil {
		return nil, err
	}
	for _, b := range bodies {
		if err := enc.Encode(b); err != nil {
			return nil, err
		}
	}
	if plain.Len() > MaxPlain {
		return nil, fmt.Errorf("%d bytes are more than the %d that a segment holds", plain.Len(), MaxPlain)
	}
	return encoder().EncodeAll(plain.Bytes(), []byte(magic)), nil
}

// File is a segment that has been read and checked.
type File struct {
	headers []header
	bodies  [][]byte
}

// Open reads a whole segment. Errors wrap ErrFormat, or are the reader's.
func Open(r io.Reader) (*File, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxPlain+1))
	if err != nil {
		return nil, err
	}
	return Parse(raw)
}

// Parse reads a segment from memory.
func Parse(raw []byte) (*File, error) {
	if !bytes.HasPrefix(raw, []byte(magic)) {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrFormat, magic)
	}
	plain, err := decoder().DecodeAll(raw[len(magic):], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	f := &File{}
	rest, err := decMode().UnmarshalFirst(plain, &f.headers)
	if err != nil {
		return nil, fmt.Errorf("%w: headers: %w", ErrFormat, err)
	}
	if len(f.headers) > MaxParts {
		return nil, fmt.Errorf("%w: %d parts are more than %d", ErrFormat, len(f.headers), MaxParts)
	}
	f.bodies = make([][]byte, len(f.headers))
	for i := range f.bodies {
		if rest, err = decMode().UnmarshalFirst(rest, &f.bodies[i]); err != nil {
			return nil, fmt.Errorf("%w: part %d: %w", ErrFormat, i, err)
		}
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes follow its last part", ErrFormat, len(rest))
	}
	return f, nil
}

// Parts is how many parts the segment has.
func (f *File) Parts() int { return len(f.headers) }

// Part decodes one part, counted from 0.
func (f *File) Part(i int) (Part, error) {
	if i < 0 || i >= len(f.headers) {
		return Part{}, fmt.Errorf("%w: part %d of %d", ErrFormat, i, len(f.headers))
	}
	h := f.headers[i]
	p := Part{TaskID: h.TaskID, Attempt: h.Attempt, FirstSeq: h.FirstSeq}
	if err := decMode().Unmarshal(f.bodies[i], &p.Messages); err != nil {
		return Part{}, fmt.Errorf("%w: part %d: %w", ErrFormat, i, err)
	}
	if len(p.Messages) != h.Count {
		return Part{}, fmt.Errorf("%w: part %d has %d messages, its header says %d", ErrFormat, i, len(p.Messages), h.Count)
	}
	return p, nil
}

// Pick names one part of one source for Merge.
type Pick struct{ Source, Part int }

// Merge builds a segment of the picked parts, in their order, without decoding messages.
func Merge(sources []*File, picks []Pick) ([]byte, error) {
	headers := make([]header, len(picks))
	bodies := make([][]byte, len(picks))
	for i, p := range picks {
		if p.Source < 0 || p.Source >= len(sources) || p.Part < 0 || p.Part >= len(sources[p.Source].headers) {
			return nil, fmt.Errorf("pick %d names part %d of source %d, which does not exist", i, p.Part, p.Source)
		}
		headers[i] = sources[p.Source].headers[p.Part]
		bodies[i] = sources[p.Source].bodies[p.Part]
	}
	return encode(headers, bodies)
}
