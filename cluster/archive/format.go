package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Format is the version of the file's layout. The name and the header of the first entry are the same in every version.
const Format = 1

// Names of the entries, in the order in which they stand in an archive. A blob's name is BlobFolder and its digest.
const (
	NameMetadata = "metadata.json"
	NameKeyRing  = "keyring.json"
	NameState    = "state"
	BlobFolder   = "blobs/"
	NameMissing  = "MISSING"
	NameSums     = "SHA256SUMS"
)

// Bounds of entries that are read into memory, and of the others.
const (
	maxMetadata = 64 << 10
	maxKeyRing  = 1 << 20
	maxMissing  = 64 << 20
	maxEntry    = 1 << 44
)

const (
	blockSize  = 512
	digestSize = 64 // hexadecimal
	bufferSize = 64 << 10
	maxOctal   = 1<<33 - 1 // what the eleven octal digits of a size or a time hold
)

// ErrDamaged: the file is not an archive, or not what was written.
var ErrDamaged = errors.New("the backup is damaged")

// ErrNewerFormat: a newer version wrote the file.
var ErrNewerFormat = errors.New("the backup has a newer format")

// Metadata is the first entry of an archive.
type Metadata struct {
	Format  int            `json:"format"`
	Created time.Time      `json:"created"`
	Cluster string         `json:"cluster_id"`
	Master  string         `json:"master"` // the master that wrote the archive
	Version string         `json:"version"`
	Level   int            `json:"feature_level"`
	Index   uint64         `json:"index"` // of the last log entry in the state
	Blobs   bool           `json:"blobs"` // project files and messages are included
	KeyRing bool           `json:"key_ring"`
	Rows    map[string]int `json:"rows"` // of the state, by table
}

// modTime returns the modification time of all entries, in seconds since 1970.
func (m *Metadata) modTime() int64 { return min(max(m.Created.Unix(), 0), maxOctal) }

// Entry is one file of an archive.
type Entry struct {
	Name string
	Size int64
}

// Blob returns the digest in the entry's name, and false if the entry is not a blob.
func (e Entry) Blob() (digest string, ok bool) {
	digest, ok = strings.CutPrefix(e.Name, BlobFolder)
	return digest, ok && isDigest(digest)
}

func isDigest(s string) bool {
	return len(s) == digestSize && strings.Trim(s, "0123456789abcdef") == ""
}

// position returns where the entry stands in an archive and how large it may be. The position 0 is not valid.
func (e Entry) position() (position int, limit int64) {
	switch e.Name {
	case NameMetadata:
		return 1, maxMetadata
	case NameKeyRing:
		return 2, maxKeyRing
	case NameState:
		return 3, maxEntry
	case NameMissing:
		return 5, maxMissing
	case NameSums:
		return 6, maxEntry // its size follows from the other entries
	}
	if _, ok := e.Blob(); ok {
		return 4, maxEntry
	}
	return 0, 0
}

// checkOrder returns an error if e may not follow last, which is the zero Entry before the first one. Blobs ascend, so
// that no digest can occur twice.
func (e Entry) checkOrder(last Entry) error {
	at, limit := e.position()
	before, _ := last.position()
	switch {
	case at == 0:
		return fmt.Errorf("it has an entry %.80q", e.Name)
	case before == 0 && e.Name != NameMetadata:
		return fmt.Errorf("it begins with %q instead of %q", e.Name, NameMetadata)
	case at < before, at == before && e.Name <= last.Name:
		return fmt.Errorf("%q follows %q", e.Name, last.Name)
	case at > 3 && before < 3:
		return fmt.Errorf("it has no entry %q", NameState)
	case e.Size < 0 || e.Size > limit:
		return fmt.Errorf("%q has %d bytes; at most %d are allowed", e.Name, e.Size, limit)
	}
	return nil
}

// header returns the tar header (POSIX ustar) of an entry. Readers compare it byte by byte: there is only one.
func header(e Entry, modTime int64) (b [blockSize]byte) {
	field := func(at int, format string, v any) { copy(b[at:], fmt.Sprintf(format, v)) }
	field(0, "%s", e.Name)
	field(100, "%07o", 0o600) // mode
	field(108, "%07o", 0)     // user
	field(116, "%07o", 0)     // group
	if e.Size <= maxOctal {
		field(124, "%011o", e.Size)
	} else { // as GNU tar writes it, and every tar reads it
		b[124] = 0x80
		binary.BigEndian.PutUint64(b[128:136], uint64(e.Size))
	}
	field(136, "%011o", modTime)
	field(148, "%s", "        ") // the checksum counts itself as blanks
	b[156] = '0'                 // a regular file
	field(257, "%s", "ustar\x0000")
	field(329, "%07o", 0) // device
	field(337, "%07o", 0)
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	field(148, "%06o\x00", sum)
	return b
}

// parseHeader reads the name, size and modification time of a header and refuses every other content.
func parseHeader(b [blockSize]byte) (e Entry, modTime int64, err error) {
	name, _, _ := strings.Cut(string(b[:100]), "\x00")
	e.Name = name
	if b[124] == 0x80 {
		size := binary.BigEndian.Uint64(b[128:136])
		e.Size = int64(min(size, math.MaxInt64))
	} else {
		e.Size = parseOctal(b[124:135])
	}
	modTime = parseOctal(b[136:147])
	if header(e, modTime) != b {
		return e, 0, fmt.Errorf("%w: the header of %.80q is not one that a backup has", ErrDamaged, name)
	}
	return e, modTime, nil
}

// parseOctal returns the number in digits; any other content yields a number whose digits differ.
func parseOctal(digits []byte) (n int64) {
	for _, c := range digits {
		n = n<<3 | int64(c&7)
	}
	return n
}

// padding returns how many zero bytes follow size bytes of content.
func padding(size int64) int64 { return -size & (blockSize - 1) }
