package ispac

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Options bound what a project file may cost to read. The zero value is usable.
type Options struct {
	Password string // the project's password, "" if none is known

	MaxUncompressed int64 // bytes, sum of all parts inflated; default 1 GiB
	MaxParts        int   // entries in the zip directory; default 4096
	MaxManifest     int64 // bytes, each part that is parsed, inflated; default 64 MiB
	MaxRatio        int64 // uncompressed to compressed, for parts and sums over 1 MiB; default 500
}

func (o Options) withDefaults() Options {
	if o.MaxUncompressed <= 0 {
		o.MaxUncompressed = 1 << 30
	}
	if o.MaxParts <= 0 {
		o.MaxParts = 4096
	}
	if o.MaxManifest <= 0 {
		o.MaxManifest = 64 << 20
	}
	if o.MaxRatio <= 0 {
		o.MaxRatio = 500
	}
	return o
}

// ratioFloor is the size below which a high ratio is no sign of an attack.
const ratioFloor = 1 << 20

// archive is an opened project file whose directory has been checked: names
// are plain and unique, and sizes are within the bounds and do not overlap.
type archive struct {
	parts []part // sorted by name
	index map[string]int
	opt   Options
	src   *budgetReader
}

type part struct {
	name string
	file *zip.File
}

func (p part) size() int64 { return int64(p.file.UncompressedSize64) }

func openArchive(r io.ReaderAt, size int64, opt Options) (*archive, error) {
	opt = opt.withDefaults()
	if size < 0 {
		return nil, badPart("", fmt.Sprintf("a size of %d bytes", size))
	}
	// The directory is read as a whole, before its entries can be counted: the
	// budget keeps a file that is nothing but directory from filling memory.
	budget := &budgetReader{r: r, left: 256<<10 + int64(opt.MaxParts)*1024}
	zr, err := zip.NewReader(budget, size)
	switch {
	case budget.spent:
		return nil, &PartError{Detail: fmt.Sprintf("the zip directory is too large for %d parts", opt.MaxParts),
			Err: ErrTooLarge}
	case budget.err != nil:
		return nil, &PartError{Detail: "reading: " + budget.err.Error(), Err: budget.err}
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // names have their own check below
		return nil, badPart("", fmt.Sprintf("not a zip archive, or cut short (%v)", err))
	}
	budget.unlimited = true
	if n := len(zr.File); n > opt.MaxParts {
		return nil, &PartError{Detail: fmt.Sprintf("it has %d parts; %d is the most", n, opt.MaxParts), Err: ErrTooLarge}
	}
	a := &archive{opt: opt, src: budget, index: make(map[string]int, len(zr.File))}
	for _, f := range zr.File {
		name, err := unescapeName(f.Name)
		if err == nil {
			err = checkPartName(name)
		}
		if err != nil {
			return nil, badPart(f.Name, err.Error())
		}
		a.parts = append(a.parts, part{name: name, file: f})
	}
	slices.SortFunc(a.parts, func(x, y part) int { return strings.Compare(x.name, y.name) })
	for i, p := range a.parts {
		if j, twice := a.index[fold(p.name)]; twice {
			detail := "the name stands twice in the zip directory"
			if other := a.parts[j].name; other != p.name {
				detail = fmt.Sprintf("the name differs from %s by case only", clip(other))
			}
			return nil, badPart(p.name, detail)
		}
		a.index[fold(p.name)] = i
	}
	return a, a.checkSizes(size)
}

// checkSizes holds what the directory claims against the bounds. Reading a part
// later enforces the claim, so that a directory that lies gains nothing.
func (a *archive) checkSizes(fileSize int64) error {
	type span struct {
		from, to int64
		name     string
	}
	var (
		total uint64
		spans = make([]span, 0, len(a.parts))
		most  = uint64(a.opt.MaxUncompressed)
		ratio = uint64(a.opt.MaxRatio)
	)
	tooLarge := func(part, format string, args ...any) error {
		return &PartError{Part: part, Detail: fmt.Sprintf(format, args...), Err: ErrTooLarge}
	}
	for _, p := range a.parts {
		f := p.file
		packed, plain := f.CompressedSize64, f.UncompressedSize64
		switch {
		case f.Flags&1 != 0:
			return badPart(p.name, "the zip entry is encrypted; SSIS encrypts inside the parts")
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return badPart(p.name, fmt.Sprintf("compression method %d is not known; parts are stored or deflated", f.Method))
		case packed > uint64(fileSize):
			return badPart(p.name, fmt.Sprintf("it claims %d compressed bytes in a file of %d", packed, fileSize))
		case plain > most, total+plain > most:
			return tooLarge(p.name, "with it the parts have more than %d bytes uncompressed", most)
		case plain > ratioFloor && plain/ratio > packed:
			return tooLarge(p.name, "%d bytes are compressed to %d; more than %d to 1 is refused", plain, packed, ratio)
		}
		total += plain
		from, err := f.DataOffset()
		if err != nil {
			return a.unreadable(p, err)
		}
		if from < 0 || from > fileSize-int64(packed) {
			return badPart(p.name, "its data lies beyond the end of the file")
		}
		spans = append(spans, span{from, from + int64(packed), p.name})
	}
	if total > ratioFloor && total/ratio > uint64(fileSize) {
		return tooLarge("", "%d bytes are compressed to %d; more than %d to 1 is refused", total, fileSize, ratio)
	}
	slices.SortFunc(spans, func(x, y span) int {
		if x.from != y.from {
			return int(min(max(x.from-y.from, -1), 1))
		}
		return int(min(max(x.to-y.to, -1), 1))
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return badPart(spans[i].name, fmt.Sprintf("its data overlaps that of %s", clip(spans[i-1].name)))
		}
	}
	return nil
}

func (a *archive) find(name string) (part, bool) {
	i, ok := a.index[fold(name)]
	if !ok {
		return part{}, false
	}
	return a.parts[i], true
}

// read returns the content of a part that will be parsed.
func (a *archive) read(p part) ([]byte, error) {
	if p.size() > a.opt.MaxManifest {
		return nil, &PartError{Part: p.name, Err: ErrTooLarge,
			Detail: fmt.Sprintf("it has %d bytes; %d is the most", p.size(), a.opt.MaxManifest)}
	}
	var data []byte
	err := a.stream(p, func(r io.Reader) (err error) {
		data, err = io.ReadAll(r)
		return err
	})
	return data, err
}

// verify inflates a part and compares its checksum.
func (a *archive) verify(p part) error {
	return a.stream(p, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// stream opens a part for visit. An error of the part comes back as a
// PartError even where visit hides it.
func (a *archive) stream(p part, visit func(io.Reader) error) error {
	rc, err := p.file.Open()
	if err != nil {
		return a.unreadable(p, err)
	}
	defer func() { _ = rc.Close() }() // nothing is written, and Read has told all
	pr := &partReader{r: rc, part: p, archive: a}
	err = visit(pr)
	if pr.err != nil {
		return pr.err
	}
	if err != nil {
		return &PartError{Part: p.name, Detail: err.Error(), Err: err}
	}
	if pr.n > 0 && !pr.done {
		// The checksum is known at the end only: content that somebody used
		// must not go unchecked because they stopped at the byte they expected.
		if _, err := io.Copy(io.Discard, pr); err != nil {
			return err
		}
	}
	return nil
}

// unreadable tells a damaged part from a reader that failed.
func (a *archive) unreadable(p part, err error) error {
	if broken := a.src.err; broken != nil {
		return &PartError{Part: p.name, Detail: "reading: " + broken.Error(), Err: broken}
	}
	return badPart(p.name, fmt.Sprintf("its content is damaged (%v)", err))
}

type partReader struct {
	r       io.Reader
	part    part
	archive *archive
	n       int64
	done    bool
	err     error
}

func (r *partReader) Read(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(b)
	r.n += int64(n)
	switch {
	case errors.Is(err, io.EOF) && r.n == r.part.size():
		r.done = true
		return n, io.EOF
	case err != nil, r.n > r.part.size():
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, zip.ErrFormat) {
			err = errors.New("its size is not the one that the zip directory gives")
		}
		r.err = r.archive.unreadable(r.part, err)
		return 0, r.err
	}
	return n, nil
}

// budgetReader limits how much is read while unlimited is false.
type budgetReader struct {
	r         io.ReaderAt
	left      int64
	spent     bool
	unlimited bool
	err       error // of r, other than io.EOF
}

func (b *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if !b.unlimited {
		if b.left -= int64(len(p)); b.left < 0 {
			b.spent = true
			return 0, ErrTooLarge
		}
	}
	if off < 0 { // from a directory that lies; the reader is not to blame
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// Extract visits the parts for unpacking to disk, sorted by name: packages,
// connection managers, manifest, parameters and other files, but not the zip
// package's [Content_Types].xml. Names are plain, unescaped, without a path and
// unique without regard to case. size is what r yields. A part is checked when
// it has been read to its end; a visitor that reads nothing skips it.
// The first error ends the visit.
func Extract(r io.ReaderAt, size int64, opt Options, visit func(name string, size int64, r io.Reader) error) error {
	a, err := openArchive(r, size, opt)
	if err != nil {
		return err
	}
	if _, ok := a.find(manifestPart); !ok {
		return badPart(manifestPart, "it is missing; every project file has one")
	}
	for _, p := range a.parts {
		if fold(p.name) == fold(contentTypesPart) {
			continue
		}
		err := a.stream(p, func(r io.Reader) error { return visit(p.name, p.size(), r) })
		if err != nil {
			return err
		}
	}
	return nil
}
