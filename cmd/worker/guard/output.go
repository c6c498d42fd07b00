package guard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Line is one line that a package wrote.
type Line struct {
	Time   time.Time
	Stream Stream
	Text   string
}

// Stream tells where a line came from.
type Stream byte

// The streams of a Line. A notice is the guard's own line about lines that it left out.
const (
	Stdout Stream = 'O'
	Stderr Stream = 'E'
	Notice Stream = 'N'
)

const (
	timeLayout = "2006-01-02T15:04:05.0000000Z"
	maxLine    = 8 << 10 // a longer line is split
	maxTail    = 64 << 10
	linePrefix = len(timeLayout) + 3
	readAtMost = 1 << 20
	noticeRoom = 256
	tailShare  = 8 // one eighth of the limit, and at most maxTail, is for the end of the output
)

// output writes the lines of both streams in the order of their arrival: the first lines up to the limit and, beyond
// it, the last ones. The last lines of a package say why it failed, so the limit must not cut them off.
type output struct {
	mu      sync.Mutex
	file    *os.File
	w       *bufio.Writer
	room    int64 // bytes left for the head
	tailMax int64
	tail    []string
	tailLen int64
	full    bool
	dropped int64 // lines
	masker  *masker
	now     func() time.Time
}

func newOutput(folder string, limit int64, secrets *masker, now func() time.Time) (*output, error) {
	f, err := os.OpenFile(filepath.Join(folder, OutputFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("guard: output file: %w", err)
	}
	tail := min(limit/tailShare, maxTail)
	return &output{
		file: f, w: bufio.NewWriter(f), room: max(limit-tail-noticeRoom, 0), tailMax: tail, masker: secrets, now: now,
	}, nil
}

// copy copies one stream until its end. Each stream is copied by its own goroutine, so lines that the package writes to
// both streams at about the same time may change places. Secrets are masked before the stream is split into lines, so
// that neither a read nor a line can split a secret.
func (o *output) copy(s Stream, r io.Reader) {
	r = o.masker.reader(r)
	buf, have := make([]byte, maxLine), 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		rest := buf[:have]
		for len(rest) > 0 {
			end := bytes.IndexByte(rest, '\n') + 1
			if end == 0 && len(rest) < maxLine && err == nil {
				break // the rest of the line has not arrived yet
			}
			if end == 0 {
				end = len(rest)
			}
			o.line(s, rest[:end])
			rest = rest[end:]
		}
		have = copy(buf, rest)
		o.flush()
		if err != nil {
			return
		}
	}
}

func (o *output) flush() {
	o.mu.Lock()
	o.w.Flush()
	o.mu.Unlock()
}

func (o *output) line(s Stream, raw []byte) {
	text := strings.ToValidUTF8(string(bytes.TrimRight(raw, "\r\n")), "\uFFFD")
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	o.mu.Lock()
	defer o.mu.Unlock()
	rec := o.now().UTC().Format(timeLayout) + " " + string(rune(s)) + " " + text + "\n"
	if !o.full && int64(len(rec)) <= o.room {
		o.room -= int64(len(rec))
		o.w.WriteString(rec)
		return
	}
	o.full = true
	o.tail = append(o.tail, rec)
	o.tailLen += int64(len(rec))
	for len(o.tail) > 0 && o.tailLen > o.tailMax {
		o.tailLen -= int64(len(o.tail[0]))
		o.tail[0] = ""
		o.tail = o.tail[1:]
		o.dropped++
	}
}

// close writes the last lines and syncs the file. The guard writes the exit file afterwards, so the output is complete
// whenever there is an exit file.
func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dropped > 0 {
		fmt.Fprintf(o.w, "%s %c %d lines were left out here: the output is larger than its limit\n",
			o.now().UTC().Format(timeLayout), Notice, o.dropped)
	}
	for _, rec := range o.tail {
		o.w.WriteString(rec)
	}
	return errors.Join(o.w.Flush(), o.file.Sync(), o.file.Close())
}

// ReadOutput reads complete lines of a task folder's output from the byte offset from on, at most about 1 MiB. It
// returns the offset for the next call. If there is nothing new yet, it returns no lines and the same offset.
func ReadOutput(folder string, from int64) ([]Line, int64, error) {
	f, err := os.Open(filepath.Join(folder, OutputFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, from, nil
	}
	if err != nil {
		return nil, from, fmt.Errorf("guard: output file: %w", err)
	}
	defer f.Close()
	buf, err := io.ReadAll(io.NewSectionReader(f, from, readAtMost))
	if err != nil {
		return nil, from, fmt.Errorf("guard: output file: %w", err)
	}
	var lines []Line
	for {
		end := bytes.IndexByte(buf, '\n')
		if end < 0 {
			return lines, from, nil
		}
		if l, ok := parseLine(string(buf[:end])); ok {
			lines = append(lines, l)
		}
		buf = buf[end+1:]
		from += int64(end) + 1
	}
}

func parseLine(rec string) (Line, bool) {
	if len(rec) < linePrefix || rec[linePrefix-1] != ' ' {
		return Line{}, false
	}
	t, err := time.Parse(timeLayout, rec[:len(timeLayout)])
	if err != nil {
		return Line{}, false
	}
	return Line{Time: t, Stream: Stream(rec[linePrefix-2]), Text: rec[linePrefix:]}, true
}
