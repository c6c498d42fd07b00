package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// ErrRecord is wrapped by the errors of a Builder: the record is not one that this version writes.
var ErrRecord = errors.New("not a record of the catalog")

// Record is one row of the state, encoded. The types are numbers that never change their meaning.
type Record struct {
	Type uint64
	Data []byte
}

// Snapshot is the whole state as it was at the end of an entry. Making one copies nothing; it may be read while
// commands are applied, for as long as wanted.
type Snapshot struct {
	reader          *Reader
	library, chosen ringSnapshot
	events          eventsSnapshot
}

// Snapshot captures the state. Only the goroutine that applies may call it, between entries.
func (s *State) Snapshot() *Snapshot {
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	return &Snapshot{s.Reader(), s.keys.library.snapshot(), s.keys.chosen.snapshot(), s.events.snapshot()}
}

// Reader reads the captured state.
func (s *Snapshot) Reader() *Reader { return s.reader }

// Records yields the state row by row in an order that depends on the state alone. The index of the last entry is not
// among them.
func (s *Snapshot) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		put := func(kind uint64, row any) bool {
			data, err := command.Marshal(row)
			return yield(Record{kind, data}, err) && err == nil
		}
		for _, t := range tables {
			for row := range rowsBy[any](s.reader, t, byID, nil, false) {
				if m, ok := row.(*meta); ok {
					m = new(*m)
					m.Index = 0
					row = m
				}
				if !put(t.record, row) {
					return
				}
			}
		}
		for e := range s.library.entries() {
			if !put(recordLibraryKey, e) {
				return
			}
		}
		for e := range s.chosen.entries() {
			if !put(recordChosenKey, e) {
				return
			}
		}
		s.events.records(put)
	}
}

// Hash is the SHA-256 of the records, in lower-case hexadecimal: equal on all nodes that have applied the same entries.
func (s *Snapshot) Hash(ctx context.Context) (string, error) {
	h := sha256.New()
	var frame []byte
	n := 0
	for r, err := range s.Records() {
		if n++; err == nil && n%256 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
		frame = binary.AppendUvarint(frame[:0], r.Type)
		frame = binary.AppendUvarint(frame, uint64(len(r.Data)))
		h.Write(frame)
		h.Write(r.Data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Builder makes a state of the records of a snapshot.
type Builder struct {
	state *State
	meta  bool
}

// NewBuilder begins with an empty state.
func NewBuilder() *Builder { return &Builder{state: NewState()} }

// Add takes the next record. Errors wrap ErrRecord and say what is wrong.
func (b *Builder) Add(r Record) error {
	t, known := recordsByNumber[r.Type]
	switch {
	case !known:
		return fmt.Errorf("%w: type %d is not known: a newer version wrote it", ErrRecord, r.Type)
	case t.level > max(b.state.now.Level, 1):
		return fmt.Errorf("%w: type %d needs feature level %d, the state is at %d",
			ErrRecord, r.Type, t.level, b.state.now.Level)
	}
	return t.add(b, r)
}

func (b *Builder) row(t *table, r Record) error {
	row := t.empty()
	if err := command.Unmarshal(r.Data, row); err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrRecord, t.name, err)
	}
	if err := check(row); err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrRecord, t.name, err)
	}
	s := b.state
	level := s.now.Level
	if m, ok := row.(*meta); ok {
		level = m.Level
	}
	if err := t.allows(row, level); err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrRecord, t.name, err)
	}
	if m, ok := row.(*meta); ok {
		if b.meta {
			return fmt.Errorf("%w: the state's own record comes twice", ErrRecord)
		}
		s.now, b.meta = *m, true
		return nil
	}
	s.begin()
	if there, err := s.txn.First(t.name, byID, t.key(row)); err != nil || there != nil {
		return fmt.Errorf("%w: table %s: a row comes twice", ErrRecord, t.name)
	}
	s.put(change{t, row, added})
	if s.changes >= commitRows {
		s.commit()
	}
	return nil
}

func (b *Builder) key(ring *ring, r Record) error {
	var e keyEntry
	if err := command.Unmarshal(r.Data, &e); err != nil {
		return fmt.Errorf("%w: request key: %w", ErrRecord, err)
	}
	var a KeyedAnswer
	if err := command.Unmarshal(e.Answer, &a); err != nil {
		return fmt.Errorf("%w: answer of a request key: %w", ErrRecord, err)
	}
	if err := answerFields.Check(a, b.state.now.Level); err != nil {
		return fmt.Errorf("%w: answer of a request key: %w", ErrRecord, err)
	}
	ring.push(e)
	return nil
}

// check refuses rows whose packed parts would not unpack: readers take them for granted.
func check(row any) error {
	switch row := row.(type) {
	case *record:
		e, err := row.open()
		if err == nil && e.ID != row.ID {
			err = fmt.Errorf("the record of execution %d says %d", row.ID, e.ID)
		}
		return err
	case *posting:
		if ids := row.ids(); len(ids) == 0 || len(ids) != row.N || ids[len(ids)-1] != row.Last {
			return errors.New("a posting does not hold the ids that it counts")
		}
	case *runs:
		// Varints have one shortest form: packing what was unpacked shows what was lost.
		if row.N < 1 || row.N > runsPerRow || string(row.with(row.unpack()).Data) != string(row.Data) {
			return errors.New("a row of message runs does not hold the runs that it counts")
		}
	case *Segment:
		if row.Runs < 1 || row.Runs > len(row.Refs) || string(row.with(row.refs()).Refs) != string(row.Refs) {
			return errors.New("a segment does not hold the references that it counts")
		}
	case *Version:
		if len(row.PackageIDs) != len(row.Manifest.Packages) {
			return errors.New("a version numbers other packages than it has")
		}
	}
	return nil
}

// State ends the building: the state is that after the entry at index.
func (b *Builder) State(index uint64) (*State, error) {
	if !b.meta {
		return nil, fmt.Errorf("%w: the state's own record is missing", ErrRecord)
	}
	s := b.state
	s.Commit(index)
	for seg := range s.Reader().Segments() {
		for _, ref := range seg.refs() {
			row := s.Reader().runsWith(ref.operation, ref.run)
			if row == nil || row.OperationID != ref.operation || ref.run >= row.First+int64(row.N) {
				return nil, fmt.Errorf("%w: segment %s names the run %d of operation %d, which is missing", ErrRecord,
					sqltype.Quote(seg.Digest), ref.run, ref.operation)
			}
		}
	}
	return s, nil
}
