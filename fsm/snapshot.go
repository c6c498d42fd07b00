package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/hashicorp/raft"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// A snapshot is
//
//	magic
//	header    length, CBOR
//	records   type, length, bytes
//	end       type 0, number of records
//	SHA-256   of all before it
//
// where types, lengths and numbers are unsigned varints.
const (
	magic  = "scaleout-snapshot\n"
	format = 1
	// maxRecord bounds one record, so that a damaged length does not take all memory; the largest is a project version.
	maxRecord = command.MaxManifestPlain + 1<<20
)

// Header stands at the beginning of a snapshot.
type Header struct {
	Format    int    `cbor:"1,keyasint"`
	Level     int    `cbor:"2,keyasint"`
	ClusterID string `cbor:"3,keyasint"`
	Index     uint64 `cbor:"4,keyasint"` // the log goes on after this entry
	Term      uint64 `cbor:"5,keyasint"` // of that entry; 0 in a backup
	Applied   uint64 `cbor:"6,keyasint"` // the last entry that the state holds; Raft's own entries may follow it up to Index
}

// sinkPosition is what a sink may say of the place in the log that the snapshot is of.
type sinkPosition interface {
	Position() (index, term uint64)
}

type snapshot struct{ state *catalog.Snapshot }

// Release has nothing to give back.
func (s *snapshot) Release() {}

// Persist writes the snapshot to Raft's sink, and cancels it if that fails.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	index, term := s.state.Reader().Index(), uint64(0)
	if p, ok := sink.(sinkPosition); ok {
		index, term = p.Position()
	}
	if err := write(sink, s.state, index, term); err != nil {
		return errors.Join(fmt.Errorf("write the snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

func write(w io.Writer, s *catalog.Snapshot, index, term uint64) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(w, 1<<18)
	body := io.MultiWriter(out, sum)
	r := s.Reader()
	header, err := command.Marshal(Header{Format: format, Level: r.Level(), ClusterID: r.ClusterID(), Index: index,
		Term: term, Applied: r.Index()})
	if err != nil {
		return err
	}
	frame := binary.AppendUvarint([]byte(magic), uint64(len(header)))
	if _, err := body.Write(append(frame, header...)); err != nil {
		return err
	}
	count := uint64(0)
	for record, err := range s.Records() {
		if err != nil {
			return err
		}
		frame = binary.AppendUvarint(frame[:0], record.Type)
		frame = binary.AppendUvarint(frame, uint64(len(record.Data)))
		if _, err := body.Write(append(frame, record.Data...)); err != nil {
			return err
		}
		count++
	}
	if _, err := body.Write(binary.AppendUvarint([]byte{0}, count)); err != nil {
		return err
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return out.Flush()
}

// summed reads and hashes what it has read.
type summed struct {
	*bufio.Reader
	sum hash.Hash
	one [1]byte
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.Reader.ReadByte()
	if err == nil {
		s.one[0] = b
		s.sum.Write(s.one[:])
	}
	return b, err
}

func (s *summed) bytes(n uint64) ([]byte, error) {
	if n > maxRecord {
		return nil, fmt.Errorf("a record of %d bytes exceeds %d", n, maxRecord)
	}
	// The length is not trusted: what is read, not what is announced, takes memory.
	var b bytes.Buffer
	b.Grow(int(min(n, 1<<16)))
	if _, err := io.CopyN(&b, s.Reader, int64(n)); err != nil {
		return nil, err
	}
	s.sum.Write(b.Bytes())
	return b.Bytes(), nil
}

func unreadable(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrSnapshot, err)
}

func open(r io.Reader) (*summed, Header, error) {
	in := &summed{Reader: bufio.NewReaderSize(r, 1<<18), sum: sha256.New()}
	start, err := in.bytes(uint64(len(magic)))
	if err != nil {
		return nil, Header{}, unreadable(err)
	}
	if string(start) != magic {
		return nil, Header{}, fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, magic)
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, Header{}, unreadable(err)
	}
	raw, err := in.bytes(min(n, 1<<16))
	if err != nil {
		return nil, Header{}, unreadable(err)
	}
	var h Header
	if err := command.Unmarshal(raw, &h); err != nil {
		return nil, Header{}, unreadable(fmt.Errorf("header: %w", err))
	}
	if h.Format != format {
		return nil, Header{}, fmt.Errorf("%w: the snapshot has format %d, this version reads format %d", ErrTooNew,
			h.Format, format)
	}
	if h.Applied > h.Index {
		return nil, Header{}, fmt.Errorf("%w: its state goes to entry %d, beyond its own end at entry %d", ErrSnapshot,
			h.Applied, h.Index)
	}
	return in, h, nil
}

// ReadHeader reads a snapshot's header alone. Errors wrap ErrSnapshot or ErrTooNew.
func ReadHeader(r io.Reader) (Header, error) {
	_, h, err := open(r)
	return h, err
}

// CheckHeader returns an error when a snapshot is not of the given place in the log. It reads the header alone.
func CheckHeader(r io.Reader, index, term uint64) error {
	h, err := ReadHeader(r)
	if errors.Is(err, ErrTooNew) {
		return nil // whoever restores it says so
	}
	if err == nil && (h.Index != index || h.Term != term) {
		err = fmt.Errorf("%w: its content is of entry %d, term %d; want entry %d, term %d", ErrSnapshot, h.Index, h.Term,
			index, term)
	}
	return err
}

// read builds the state of a snapshot, whole or not at all.
func read(r io.Reader, level int) (*catalog.State, error) {
	state, _, err := readWithHeader(r, level)
	return state, err
}

func readWithHeader(r io.Reader, level int) (_ *catalog.State, h Header, err error) {
	in, h, err := open(r)
	if err != nil {
		return nil, h, err
	}
	if h.Level > level {
		return nil, h, fmt.Errorf("%w: the snapshot is of feature level %d, this version knows up to %d: start the version "+
			"that wrote it, or a later one",
			ErrTooNew, h.Level, level)
	}
	b := catalog.NewBuilder()
	for count := uint64(0); ; count++ {
		kind, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, h, unreadable(err)
		}
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, h, unreadable(err)
		}
		if kind == 0 {
			if n != count {
				return nil, h, fmt.Errorf("%w: it has %d records and says %d", ErrSnapshot, count, n)
			}
			break
		}
		data, err := in.bytes(n)
		if err != nil {
			return nil, h, unreadable(err)
		}
		if err := b.Add(catalog.Record{Type: kind, Data: data}); err != nil {
			return nil, h, fmt.Errorf("%w: record %d: %w", ErrSnapshot, count, err)
		}
	}
	want := in.sum.Sum(nil)
	have := make([]byte, len(want))
	if _, err := io.ReadFull(in.Reader, have); err != nil {
		return nil, h, unreadable(err)
	}
	if !bytes.Equal(want, have) {
		return nil, h, fmt.Errorf("%w: its SHA-256 differs: the file is damaged", ErrSnapshot)
	}
	state, err := b.State(h.Applied)
	if err != nil {
		return nil, h, unreadable(err)
	}
	if state.Level() != h.Level {
		return nil, h, fmt.Errorf("%w: the header says feature level %d, the state %d", ErrSnapshot, h.Level, state.Level())
	}
	return state, h, nil
}
