package ispac

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadBounds(t *testing.T) {
	base := entriesOf(t, writeBytes(t, sample()))
	file := zipOf(t, base)
	_, err := readBytes(file, Options{MaxParts: 8})
	wantError(t, err, ErrTooLarge, "", "9 parts", "8 is")
	_, err = readBytes(file, Options{MaxManifest: 1000})
	wantError(t, err, ErrTooLarge, manifestPart, "1000")
	_, err = readBytes(file, Options{MaxUncompressed: 1000})
	wantError(t, err, ErrTooLarge, manifestPart, "1000")
	var sum, largest int64
	for _, e := range base {
		sum, largest = sum+int64(len(e.data)), max(largest, int64(len(e.data)))
	}
	if _, err = readBytes(file, Options{MaxUncompressed: sum}); err != nil {
		t.Error(err)
	}
	_, err = readBytes(file, Options{MaxUncompressed: sum - 1})
	if !errors.Is(err, ErrTooLarge) || largest >= sum-1 {
		t.Errorf("parts that are too large together: %v", err)
	}

	zeros := strings.Repeat("\x00", 2<<20)
	_, err = readBytes(zipOf(t, append(slices.Clone(base), entry{"zeros.bin", zeros})), Options{})
	wantError(t, err, ErrTooLarge, "zeros.bin", "500 to 1")
	small := slices.Clone(base) // none of these is large enough to be looked at alone
	for i := range 8 {
		small = append(small, entry{fmt.Sprintf("zeros%d.bin", i), zeros[:ratioFloor]})
	}
	_, err = readBytes(zipOf(t, small), Options{})
	wantError(t, err, ErrTooLarge, "", "500 to 1")
	err = Extract(bytes.NewReader(file), int64(len(file)), Options{MaxParts: 1}, nil)
	wantError(t, err, ErrTooLarge, "")

	// A file that is nothing but directory is not read into memory.
	var many []entry
	for i := range 6000 {
		many = append(many, entry{fmt.Sprintf("f%d%s", i, strings.Repeat("x", 150)), ""})
	}
	counted := &countingReader{r: bytes.NewReader(zipOf(t, many))}
	_, err = Read(counted, int64(counted.r.Len()), Options{MaxParts: 10})
	wantError(t, err, ErrTooLarge, "", "directory")
	if counted.n > 1<<20 {
		t.Errorf("%d bytes were read of a directory for 10 parts", counted.n)
	}
}

type countingReader struct {
	r *bytes.Reader
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.r.ReadAt(p, off)
}

// patchSizes sets what the central directory says of an entry's uncompressed size.
func patchSizes(t *testing.T, file []byte, name string, size uint32) []byte {
	t.Helper()
	out := bytes.Clone(file)
	for at := 0; ; {
		i := bytes.Index(out[at:], []byte("PK\x01\x02"))
		if i < 0 {
			t.Fatalf("no directory entry of %s", name)
		}
		at += i
		if string(out[at+46:at+46+len(name)]) == name {
			binary.LittleEndian.PutUint32(out[at+24:], size)
			return out
		}
		at += 46
	}
}

func TestDirectoryThatLies(t *testing.T) {
	file := writeBytes(t, sample())
	for _, size := range []uint32{0, 1, 500_000, 0xFFFFFFFE} {
		_, err := readBytes(patchSizes(t, file, "data.csv", size), Options{})
		kind := ErrFormat
		if size > 1<<30 {
			kind = ErrTooLarge
		}
		wantError(t, err, kind, "data.csv")
	}
	_, err := readBytes(patchSizes(t, file, manifestPart, 10), Options{})
	wantError(t, err, ErrFormat, manifestPart, "size")
}

// Entries that share their data make a bomb that no ratio of one entry shows.
func TestOverlappingEntries(t *testing.T) {
	file := writeBytes(t, sample())
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for _, f := range r.File {
		at, _ := f.DataOffset()
		offsets = append(offsets, at-30-int64(len(f.Name)))
	}
	spoilt := bytes.Clone(file)
	at := bytes.LastIndex(spoilt, []byte("PK\x01\x02")) // content types
	binary.LittleEndian.PutUint32(spoilt[at+42:], uint32(offsets[1]))
	_, err = readBytes(spoilt, Options{})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("overlapping entries: %v", err)
	}
}

func TestZipVariants(t *testing.T) {
	base := entriesOf(t, writeBytes(t, sample()))
	method := func(m uint16, flags uint16) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, e := range base {
			f, err := w.CreateRaw(&zip.FileHeader{Name: e.name, Method: m, Flags: flags, CompressedSize64: uint64(len(e.data)),
				UncompressedSize64: uint64(len(e.data))})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(f, e.data)
		}
		_ = w.Close()
		return b.Bytes()
	}
	if _, err := readBytes(method(zip.Store, 0), Options{}); err != nil {
		t.Errorf("stored parts: %v", err)
	}
	_, err := readBytes(method(14, 0), Options{})
	wantError(t, err, ErrFormat, manifestPart, "method 14")
	_, err = readBytes(method(zip.Store, 1), Options{})
	wantError(t, err, ErrFormat, manifestPart, "encrypted")
}

// zip64 extra fields are legal for small entries too.
func TestZip64(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	var sizes []int
	for _, e := range entriesOf(t, writeBytes(t, sample())) {
		extra := binary.LittleEndian.AppendUint16(nil, 1)
		extra = binary.LittleEndian.AppendUint16(extra, 16)
		extra = binary.LittleEndian.AppendUint64(extra, uint64(len(e.data)))
		extra = binary.LittleEndian.AppendUint64(extra, uint64(len(e.data)))
		f, err := w.CreateRaw(&zip.FileHeader{Name: e.name, Extra: extra, CompressedSize64: uint64(len(e.data)),
			UncompressedSize64: uint64(len(e.data))})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(f, e.data)
		sizes = append(sizes, len(e.data))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := b.Bytes()
	for at := range file[:len(file)-46] { // the 32-bit sizes now only point to the extra field
		if string(file[at:at+4]) == "PK\x01\x02" {
			binary.LittleEndian.PutUint32(file[at+20:], 0xFFFFFFFF)
			binary.LittleEndian.PutUint32(file[at+24:], 0xFFFFFFFF)
		}
	}
	p, err := readBytes(file, Options{})
	if err != nil || p.Name != "Sample" {
		t.Errorf("%d entries of zip64: %v", len(sizes), err)
	}
}
