package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
)

// journal is the file of one attempt's messages. Each line is a record, after the record's checksum.
type journal struct {
	path string
	file *os.File
	size int64

	index  []span // where the messages of each append are
	shift  int64  // the number of the first message, minus 1
	next   int64  // the number of the first message that no master has taken
	mark   int64
	full   bool
	closed bool
}

// span is one record with n messages. The first of them is the attempt's message at (counted from 0).
type span struct {
	offset int64
	length int
	at     int
	n      int
}

// record is one line of a journal.
type record struct {
	Messages []Message `json:"m,omitempty"`
	Mark     int64     `json:"k"`
	Full     bool      `json:"f,omitempty"`
	Closed   bool      `json:"c,omitempty"`
	Skip     int64     `json:"s,omitempty"` // how far all numbers shift
}

const recordOverhead = 80 // about the bytes that a message's other fields take in a record

// count returns how many messages were ever appended.
func (j *journal) count() int {
	if len(j.index) == 0 {
		return 0
	}
	last := j.index[len(j.index)-1]
	return last.at + last.n
}

// end returns the number that the next message gets.
func (j *journal) end() int64 { return j.shift + int64(j.count()) + 1 }

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	j := &journal{path: path, file: f, next: 1}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		rec, ok := decode(line)
		if err != nil || !ok {
			break
		}
		j.apply(rec, len(line))
	}
	j.next = j.shift + 1 // the cluster says which messages it has, and skips those when they are sent again
	// After the last whole record there can only be one that a crash cut in half: nobody was told that it was stored.
	if err := f.Truncate(j.size); err != nil {
		f.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return j, nil
}

func (j *journal) apply(rec record, length int) {
	if len(rec.Messages) > 0 {
		j.index = append(j.index, span{offset: j.size, length: length, at: j.count(), n: len(rec.Messages)})
	}
	j.shift += rec.Skip
	j.mark, j.full, j.closed = rec.Mark, rec.Full, rec.Closed
	j.size += int64(length)
}

func (j *journal) append(rec record) error {
	line, err := encode(rec)
	if err != nil {
		return err
	}
	_, err = j.file.WriteAt(line, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// The next record overwrites what was written of this one, or the next opening drops it.
		j.file.Truncate(j.size)
		return err
	}
	j.apply(rec, len(line))
	return nil
}

// read returns messages from number next on: about maxBytes of text, and at least one message if there is one.
func (j *journal) read(maxBytes int) ([]Message, error) {
	var all []Message
	skip := int(j.next - j.shift - 1)
	for _, s := range j.index {
		if s.at+s.n <= skip {
			continue
		}
		line := make([]byte, s.length)
		if _, err := io.ReadFull(io.NewSectionReader(j.file, s.offset, int64(s.length)), line); err != nil {
			return nil, fmt.Errorf("spool: %s: %w", j.path, err)
		}
		rec, ok := decode(line)
		if !ok {
			return nil, fmt.Errorf("spool: %s: the record at byte %d is damaged", j.path, s.offset)
		}
		for _, m := range rec.Messages[max(0, skip-s.at):] {
			if maxBytes -= len(m.Text); maxBytes < 0 && len(all) > 0 {
				return all, nil
			}
			all = append(all, m)
		}
	}
	return all, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(rec record) ([]byte, error) {
	data, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, castagnoli), data), nil
}

func decode(line []byte) (record, bool) {
	var rec record
	sum, data, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if !ok || !bytes.HasSuffix(line, []byte("\n")) {
		return rec, false
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || uint32(want) != crc32.Checksum(data, castagnoli) {
		return rec, false
	}
	return rec, json.Unmarshal(data, &rec) == nil
}
