package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// Format is the version of the file's layout.
const Format = 1

// A file is
//
//	magic
//	parts     header (length, JSON), chunks (length, bytes) up to one of length 0, SHA-256 of the chunks' bytes
//	SHA-256   of all before it
//
// where lengths are unsigned varints. The last part is of type TypeEnd.
const magic = "scaleout-backup\n"

// Types of parts, in the order in which they stand in a file.
const (
	TypeMetadata = "metadata" // Metadata as JSON
	TypeKeyRing  = "keyring"  // the wrapped key ring
	TypeState    = "state"    // a snapshot of the state machine
	TypeBlob     = "blob"     // named by its SHA-256
	TypeEnd      = "end"      // End as JSON
)

const (
	chunkSize  = 256 << 10
	maxHeader  = 4 << 10
	maxDocuRaw = 64 << 20 // the list of parts: 200 bytes for each blob
)

// ErrDamaged: the file is not a backup, or not what was written.
var ErrDamaged = errors.New("the backup is damaged")

// ErrNewerFormat: a newer version wrote the file.
var ErrNewerFormat = errors.New("the backup has a newer format")

// Metadata says what a file is, in its first part.
type Metadata struct {
	Format  int            `json:"format"`
	Created time.Time      `json:"created"`
	Cluster string         `json:"cluster_id"`
	Master  string         `json:"master"` // who wrote it
	Version string         `json:"version"`
	Level   int            `json:"feature_level"`
	Index   uint64         `json:"index"` // of the last log entry in the state
	Blobs   bool           `json:"blobs"` // project files and messages are in it
	KeyRing bool           `json:"key_ring"`
	Rows    map[string]int `json:"rows"` // of the state, by table
}

// Part is one part of a file.
type Part struct {
	Type   string `json:"type"`
	Name   string `json:"name,omitempty"` // of a blob: its digest
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// End is what the last part tells.
type End struct {
	Parts   []Part   `json:"parts"`
	Missing []string `json:"missing_blobs"` // named by the state and found on no master
}

// Writer writes a file.
type Writer struct {
	out   io.Writer
	total hash.Hash
	parts []Part
	begun bool
}

// NewWriter begins a file on w.
func NewWriter(w io.Writer) *Writer {
	sum := sha256.New()
	return &Writer{out: io.MultiWriter(w, sum), total: sum}
}

// Part writes a part; content writes the bytes.
func (w *Writer) Part(kind, name string, content func(io.Writer) error) error {
	part, err := w.write(kind, name, content)
	if err == nil {
		w.parts = append(w.parts, part)
	}
	return err
}

// Document writes a part of JSON.
func (w *Writer) Document(kind string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Part(kind, "", func(out io.Writer) error { _, err := out.Write(raw); return err })
}

func (w *Writer) write(kind, name string, content func(io.Writer) error) (Part, error) {
	if !w.begun {
		w.begun = true
		if _, err := io.WriteString(w.out, magic); err != nil {
			return Part{}, err
		}
	}
	part := Part{Type: kind, Name: name}
	header, err := json.Marshal(part)
	if err != nil {
		return part, err
	}
	if _, err := w.out.Write(append(binary.AppendUvarint(nil, uint64(len(header))), header...)); err != nil {
		return part, err
	}
	c := &chunks{out: w.out, sum: sha256.New()}
	buf := bufio.NewWriterSize(c, chunkSize)
	if err := content(buf); err != nil {
		return part, err
	}
	if err := buf.Flush(); err != nil {
		return part, err
	}
	part.Size, part.SHA256 = c.size, hex.EncodeToString(c.sum.Sum(nil))
	_, err = w.out.Write(append([]byte{0}, c.sum.Sum(nil)...))
	return part, err
}

// Close ends the file with the list of its parts. Without it a file is damaged.
func (w *Writer) Close(missing []string) error {
	raw, err := json.Marshal(End{Parts: w.parts, Missing: missing})
	if err != nil {
		return err
	}
	if _, err := w.write(TypeEnd, "", func(out io.Writer) error { _, err := out.Write(raw); return err }); err != nil {
		return err
	}
	_, err = w.out.Write(w.total.Sum(nil))
	return err
}

type chunks struct {
	out  io.Writer
	sum  hash.Hash
	size int64
}

func (c *chunks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if _, err := c.out.Write(binary.AppendUvarint(nil, uint64(n))); err != nil {
			return 0, err
		}
		if _, err := c.out.Write(rest[:n]); err != nil {
			return 0, err
		}
		c.sum.Write(rest[:n])
		c.size += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// Read reads a whole file and verifies it. For each part but the last it calls visit, which may read as much of the
// content as it wants. Errors that are not visit's wrap ErrDamaged or ErrNewerFormat.
func Read(r io.Reader, visit func(p Part, content io.Reader) error) (Metadata, End, error) {
	f := &reader{in: bufio.NewReaderSize(r, chunkSize), total: sha256.New()}
	var meta Metadata
	start := make([]byte, len(magic))
	if err := f.full(start); err != nil || string(start) != magic {
		return meta, End{}, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	var parts []Part
	for {
		p, err := f.header()
		if err != nil {
			return meta, End{}, err
		}
		if (len(parts) == 0) != (p.Type == TypeMetadata) {
			return meta, End{}, fmt.Errorf("%w: part %d is of type %.20q", ErrDamaged, len(parts)+1, p.Type)
		}
		body := &content{f: f, sum: sha256.New()}
		if p.Type == TypeEnd {
			end, err := f.end(body, parts)
			return meta, end, err
		}
		var kept bytes.Buffer
		var in io.Reader = body
		if p.Type == TypeMetadata {
			in = io.TeeReader(io.LimitReader(body, maxHeader), &kept)
		}
		if err := visit(p, in); err != nil {
			return meta, End{}, errors.Join(err, body.err)
		}
		// What the visitor left is read for the digest; body keeps the error.
		_, _ = io.Copy(io.Discard, in)
		_, _ = io.Copy(io.Discard, body)
		if body.err != nil {
			return meta, End{}, body.err
		}
		if p.Type == TypeMetadata {
			if err := json.Unmarshal(kept.Bytes(), &meta); err != nil {
				return meta, End{}, fmt.Errorf("%w: its metadata: %w", ErrDamaged, err)
			}
			if meta.Format != Format {
				return meta, End{}, fmt.Errorf("%w: %d; this version reads %d", ErrNewerFormat, meta.Format, Format)
			}
		}
		p.Size, p.SHA256 = body.size, body.digest
		if p.Type == TypeBlob && p.Name != p.SHA256 {
			return meta, End{}, fmt.Errorf("%w: the blob %.64s has the content of %s", ErrDamaged, p.Name, p.SHA256)
		}
		parts = append(parts, p)
	}
}

// Verify reads a whole file for nothing but damage.
func Verify(r io.Reader) (Metadata, End, error) {
	return Read(r, func(Part, io.Reader) error { return nil })
}

type reader struct {
	in    *bufio.Reader
	total hash.Hash
	one   [1]byte
}

func (f *reader) full(p []byte) error {
	if _, err := io.ReadFull(f.in, p); err != nil {
		return cut(err)
	}
	f.total.Write(p)
	return nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}

// ReadByte is for lengths.
func (f *reader) ReadByte() (byte, error) {
	err := f.full(f.one[:])
	return f.one[0], err
}

func (f *reader) length(most uint64) (int, error) {
	n, err := binary.ReadUvarint(f)
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			return 0, err
		}
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if n > most {
		return 0, fmt.Errorf("%w: a length of %d where at most %d can be", ErrDamaged, n, most)
	}
	return int(n), nil
}

func (f *reader) header() (p Part, err error) {
	n, err := f.length(maxHeader)
	if err != nil {
		return p, err
	}
	raw := make([]byte, n)
	if err := f.full(raw); err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("%w: the header of a part: %w", ErrDamaged, err)
	}
	return p, nil
}

func (f *reader) end(body *content, parts []Part) (end End, err error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxDocuRaw))
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil {
		return end, err
	}
	if err := json.Unmarshal(raw, &end); err != nil {
		return end, fmt.Errorf("%w: its list of parts: %w", ErrDamaged, err)
	}
	if len(end.Parts) != len(parts) {
		return end, fmt.Errorf("%w: it has %d parts and lists %d", ErrDamaged, len(parts), len(end.Parts))
	}
	for i := range parts {
		if parts[i] != end.Parts[i] {
			return end, fmt.Errorf("%w: part %d is not the one that was written", ErrDamaged, i+1)
		}
	}
	want := f.total.Sum(nil)
	have := make([]byte, len(want))
	if err := f.full(have); err != nil {
		return end, err
	}
	if !bytes.Equal(want, have) {
		return end, fmt.Errorf("%w: its SHA-256 differs", ErrDamaged)
	}
	if _, err := f.in.ReadByte(); !errors.Is(err, io.EOF) {
		return end, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return end, nil
}

// content reads the chunks of one part; at its end the part is verified.
type content struct {
	f      *reader
	sum    hash.Hash
	left   int
	size   int64
	digest string // set at the end
	err    error
}

func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.digest != "" {
		return 0, io.EOF
	}
	if c.left == 0 {
		if c.left, c.err = c.f.length(chunkSize); c.err != nil {
			return 0, c.err
		}
		if c.left == 0 {
			want := c.sum.Sum(nil)
			have := make([]byte, len(want))
			if c.err = c.f.full(have); c.err != nil {
				return 0, c.err
			}
			if !bytes.Equal(want, have) {
				c.err = fmt.Errorf("%w: the SHA-256 of a part differs", ErrDamaged)
				return 0, c.err
			}
			c.digest = hex.EncodeToString(want)
			return 0, io.EOF
		}
	}
	p = p[:min(len(p), c.left)]
	if len(p) == 0 {
		return 0, nil
	}
	if c.err = c.f.full(p); c.err != nil {
		return 0, c.err
	}
	c.sum.Write(p)
	c.left -= len(p)
	c.size += int64(len(p))
	return len(p), nil
}
