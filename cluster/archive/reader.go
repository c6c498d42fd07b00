package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// Contents is what Read found in an archive besides the content of its entries.
type Contents struct {
	Metadata Metadata
	Entries  int
	Blobs    int
	Missing  []string // digests of blobs that no master had
}

// Read reads a whole archive and verifies it. It calls visit for the key ring, the state and each blob; visit may read
// as much of the content as it wants. Errors that are not visit's wrap ErrDamaged or ErrNewerFormat, or come from in.
func Read(in io.Reader, visit func(e Entry, content io.Reader) error) (Contents, error) {
	r := &reader{in: bufio.NewReaderSize(in, bufferSize), sums: sha256.New()}
	for r.last.Name != NameSums {
		if err := r.entry(visit); err != nil {
			return r.found, err
		}
	}
	return r.found, r.end()
}

// Verify reads a whole archive only to find damage.
func Verify(in io.Reader) (Contents, error) {
	return Read(in, func(Entry, io.Reader) error { return nil })
}

type reader struct {
	in      *bufio.Reader
	modTime int64
	last    Entry
	found   Contents
	sums    hash.Hash // of the expected content of SHA256SUMS
	sumSize int64
}

// entry reads one entry.
func (r *reader) entry(visit func(Entry, io.Reader) error) error {
	var head [blockSize]byte
	if err := r.full(head[:]); err != nil {
		return err
	}
	e, modTime, err := parseHeader(head)
	if err != nil {
		return err
	}
	if err := e.checkOrder(r.last); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if r.found.Entries > 0 && modTime != r.modTime {
		return fmt.Errorf("%w: %q is of another time than the entries before it", ErrDamaged, e.Name)
	}
	r.modTime, r.last = modTime, e
	r.found.Entries++
	body := &content{r: r, left: e.Size, sum: sha256.New()}
	if err := r.read(e, body, visit); err != nil {
		return errors.Join(err, body.err)
	}
	// What was not read yet is read for the checksum; body keeps the error.
	_, _ = io.Copy(io.Discard, body)
	if body.err != nil {
		return body.err
	}
	if err := r.zeros(padding(e.Size)); err != nil {
		return err
	}
	return r.sum(e, body.sum.Sum(nil))
}

// read handles the content of an entry by its kind.
func (r *reader) read(e Entry, body io.Reader, visit func(Entry, io.Reader) error) error {
	switch e.Name {
	case NameMetadata:
		return r.metadata(body)
	case NameMissing:
		return r.missing(body)
	case NameSums:
		if e.Size != r.sumSize {
			return fmt.Errorf("%w: %s has %d bytes; the entries before it need %d", ErrDamaged, NameSums, e.Size, r.sumSize)
		}
		return nil
	case NameKeyRing:
		if !r.found.Metadata.KeyRing {
			return fmt.Errorf("%w: it has a key ring, and its metadata say that it has none", ErrDamaged)
		}
	case NameState:
		if r.found.Metadata.KeyRing && r.found.Entries == 2 {
			return fmt.Errorf("%w: it has no key ring, and its metadata say that it has one", ErrDamaged)
		}
	default:
		if !r.found.Metadata.Blobs {
			return fmt.Errorf("%w: it has blobs, and its metadata say that it has none", ErrDamaged)
		}
		r.found.Blobs++
	}
	return visit(e, body)
}

func (r *reader) metadata(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	m := &r.found.Metadata
	if err := json.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("%w: its metadata: %w", ErrDamaged, err)
	}
	switch {
	case m.Format != Format:
		return fmt.Errorf("%w: %d; this version reads %d", ErrNewerFormat, m.Format, Format)
	case m.modTime() != r.modTime:
		return fmt.Errorf("%w: its entries are of another time than its metadata", ErrDamaged)
	}
	return nil
}

func (r *reader) missing(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	list := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	if slices.ContainsFunc(list, func(s string) bool { return !isDigest(s) }) || !bytes.HasSuffix(raw, []byte("\n")) {
		return fmt.Errorf("%w: %s is not a list of digests", ErrDamaged, NameMissing)
	}
	r.found.Missing = list
	return nil
}

// sum compares the checksum of an entry where that is possible already, and keeps it for SHA256SUMS.
func (r *reader) sum(e Entry, sum []byte) error {
	if e.Name == NameSums {
		if !bytes.Equal(sum, r.sums.Sum(nil)) {
			return fmt.Errorf("%w: a checksum in %s differs", ErrDamaged, NameSums)
		}
		return nil
	}
	if digest, ok := e.Blob(); ok && digest != hex.EncodeToString(sum) {
		return fmt.Errorf("%w: the blob %s has the content of %x", ErrDamaged, digest, sum)
	}
	line := sumLine(sum, e.Name)
	r.sums.Write([]byte(line))
	r.sumSize += int64(len(line))
	return nil
}

// end reads the two blocks that end a tar file, and then the end of the file.
func (r *reader) end() error {
	if err := r.zeros(2 * blockSize); err != nil {
		return err
	}
	_, err := r.in.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return err
}

func (r *reader) full(p []byte) error {
	_, err := io.ReadFull(r.in, p)
	return endsEarly(err)
}

func endsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}

func (r *reader) zeros(n int64) error {
	var block [2 * blockSize]byte
	if err := r.full(block[:n]); err != nil {
		return err
	}
	if block != [2 * blockSize]byte{} {
		return fmt.Errorf("%w: something stands between its entries", ErrDamaged)
	}
	return nil
}

// content reads what an entry holds and hashes it.
type content struct {
	r    *reader
	left int64
	sum  hash.Hash
	err  error
}

func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.in.Read(p[:min(int64(len(p)), c.left)])
	c.sum.Write(p[:n])
	c.left -= int64(n)
	if c.left == 0 {
		err = nil // whatever it is, the next reader finds it
	}
	c.err = endsEarly(err)
	return n, c.err
}
