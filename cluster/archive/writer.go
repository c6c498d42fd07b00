package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Writer writes an archive. Entries are written in the order of the methods; after an error the file is incomplete.
type Writer struct {
	out     io.Writer
	modTime int64
	last    Entry
	sums    bytes.Buffer // the content of SHA256SUMS
}

// NewWriter begins an archive on w with its metadata. It sets the format.
func NewWriter(w io.Writer, m Metadata) (*Writer, error) {
	m.Format = Format
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	out := &Writer{out: w, modTime: m.modTime()}
	return out, out.document(NameMetadata, append(raw, '\n'))
}

// KeyRing writes a key ring that Wrap has encrypted.
func (w *Writer) KeyRing(wrapped []byte) error { return w.document(NameKeyRing, wrapped) }

// State writes the state. It calls write twice, because a tar header has the size of what follows: the first call only
// counts the bytes. Both calls must write the same.
func (w *Writer) State(write func(io.Writer) error) error {
	var size counter
	if err := write(&size); err != nil {
		return err
	}
	return w.entry(Entry{NameState, int64(size)}, write)
}

// Blob writes a blob of the given size, whose SHA-256 has to be digest.
func (w *Writer) Blob(digest string, size int64, content io.Reader) error {
	return w.entry(Entry{BlobFolder + digest, size}, func(out io.Writer) error {
		_, err := io.Copy(out, content)
		return err
	})
}

// Close ends the archive with the digests of the blobs that no master had, if any, and the checksums. It does not close
// the writer below.
func (w *Writer) Close(missing []string) error {
	if len(missing) > 0 {
		if err := w.document(NameMissing, []byte(strings.Join(missing, "\n")+"\n")); err != nil {
			return err
		}
	}
	if err := w.document(NameSums, w.sums.Bytes()); err != nil {
		return err
	}
	_, err := w.out.Write(make([]byte, 2*blockSize))
	return err
}

func (w *Writer) document(name string, content []byte) error {
	return w.entry(Entry{name, int64(len(content))}, func(out io.Writer) error {
		_, err := out.Write(content)
		return err
	})
}

func (w *Writer) entry(e Entry, write func(io.Writer) error) error {
	if err := e.checkOrder(w.last); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	w.last = e
	head := header(e, w.modTime)
	if _, err := w.out.Write(head[:]); err != nil {
		return err
	}
	sum := sha256.New()
	body := &limited{out: io.MultiWriter(w.out, sum), left: e.Size}
	if err := write(body); err != nil {
		return err
	}
	if body.left != 0 {
		return fmt.Errorf("%s: %d bytes were announced and %d written", e.Name, e.Size, e.Size-body.left)
	}
	if digest, ok := e.Blob(); ok && digest != hex.EncodeToString(sum.Sum(nil)) {
		return fmt.Errorf("archive: the blob %s has the content of %x", digest, sum.Sum(nil))
	}
	w.sums.WriteString(sumLine(sum.Sum(nil), e.Name))
	_, err := w.out.Write(make([]byte, padding(e.Size)))
	return err
}

// sumLine returns a line of SHA256SUMS.
func sumLine(sum []byte, name string) string { return fmt.Sprintf("%x  %s\n", sum, name) }

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

var errLonger = errors.New("more bytes than were announced")

// limited passes on at most left bytes.
type limited struct {
	out  io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errLonger
	}
	n, err := l.out.Write(p)
	l.left -= int64(n)
	return n, err
}
