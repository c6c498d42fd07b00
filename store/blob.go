package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"scaleout/fsm/logkey"
	"scaleout/store/file"
)

// Blob is an open blob. It stays readable if it is deleted meanwhile. ReadAt may be called from several goroutines.
//
// A Blob never gives out a byte that differs from what was stored. ReadAt verifies the whole blob before its first
// byte, unless that was done since the process began, and each block again when it is read. Read does the same once the
// whole has been verified. Before that Read verifies while it reads, so that one pass over the file is enough, and
// gives the last bytes out only if everything up to them is right.
type Blob struct {
	blobs  *Blobs
	digest string
	file   *os.File
	info   fs.FileInfo

	at     int64     // of Read
	stream *outliner // of a Read that verifies while it reads
	end    error     // sticky: how Read ended

	mu      sync.Mutex
	outline *outline // nil until the whole has been verified
	block   int64    // the block in content; -1: none
	content []byte
	err     error // sticky: it is damaged or its disk does not give it
}

var (
	_ io.ReadCloser = (*Blob)(nil)
	_ io.ReaderAt   = (*Blob)(nil)
)

// Open opens a blob for reading; ErrNotFound when it is not here.
func (b *Blobs) Open(digest string) (*Blob, error) {
	if err := checkDigest(digest); err != nil {
		return nil, err
	}
	if b.isDamaged(digest) {
		return nil, fmt.Errorf("%w: %s (its file is damaged)", ErrNotFound, digest)
	}
	f, err := os.Open(b.file(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, digest)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	blob := &Blob{blobs: b, digest: digest, file: f, info: info, block: -1, outline: b.outlineOf(digest)}
	if blob.outline != nil && blob.outline.size != info.Size() {
		return nil, blob.corrupt("its file has %d bytes instead of %d", info.Size(), blob.outline.size)
	}
	return blob, nil
}

// Size returns the size of the file in bytes. Once the blob has been verified, that is the size of what was stored.
func (b *Blob) Size() int64 { return b.info.Size() }

// Read reads on from where the last Read stopped.
func (b *Blob) Read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.at == 0 && b.stream == nil && !b.verified() {
		b.stream = newOutliner()
	}
	var n int
	if b.stream != nil {
		n, b.end = b.readOn(p)
	} else {
		n, b.end = b.ReadAt(p, b.at)
	}
	b.at += int64(n)
	if n > 0 && b.end != nil && !errors.Is(b.end, io.EOF) {
		return n, nil // the bytes before the error are right; the next call returns the error
	}
	return n, b.end
}

func (b *Blob) readOn(p []byte) (int, error) {
	n, err := b.file.Read(p)
	b.stream.Write(p[:n])
	switch {
	case err != nil && err != io.EOF:
		return n, b.unreadable(err)
	case err == nil && b.at+int64(n) < b.Size():
		return n, nil
	}
	digest, outline := b.stream.finish()
	if digest != b.digest || outline.size != b.Size() {
		return 0, b.corrupt("%d of %d bytes read have SHA-256 %s", outline.size, b.Size(), digest)
	}
	b.blobs.remember(b.digest, outline)
	return n, io.EOF
}

func (b *Blob) verified() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.outline != nil
}

// ReadAt implements io.ReaderAt.
func (b *Blob) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("blob %s: negative offset %d", b.digest, off)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && b.outline == nil {
		b.err = b.verify(context.Background())
	}
	for b.err == nil && n < len(p) {
		if off >= b.outline.size {
			return n, io.EOF
		}
		if b.err = b.load(off / blockSize); b.err == nil {
			m := copy(p[n:], b.content[off%blockSize:])
			n, off = n+m, off+int64(m)
		}
	}
	return n, b.err
}

// load reads and verifies a block, unless it is the one that was read last. The lock is held.
func (b *Blob) load(block int64) error {
	if block == b.block {
		return nil
	}
	b.block = -1
	start := block * blockSize
	size := min(blockSize, b.outline.size-start)
	if int64(cap(b.content)) < size {
		b.content = make([]byte, size)
	}
	b.content = b.content[:size]
	n, err := b.file.ReadAt(b.content, start)
	switch {
	case err != nil && err != io.EOF:
		return b.unreadable(err)
	case int64(n) < size || !b.outline.holds(block, b.content):
		return b.corrupt("the %d bytes from %d on are not those that were stored", size, start)
	}
	b.block = block
	return nil
}

// verify reads the whole. The lock is held.
func (b *Blob) verify(ctx context.Context) error {
	o := newOutliner()
	buf := make([]byte, copyChunk)
	in := io.NewSectionReader(b.file, 0, math.MaxInt64)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("blob %s: %w", b.digest, err)
		}
		n, err := in.Read(buf)
		o.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return b.unreadable(err)
		}
	}
	digest, outline := o.finish()
	if digest != b.digest || outline.size != b.Size() {
		return b.corrupt("its %d bytes have SHA-256 %s", outline.size, digest)
	}
	b.outline = outline
	b.blobs.remember(b.digest, outline)
	return nil
}

func (b *Blob) corrupt(format string, args ...any) error {
	b.blobs.quarantine(b)
	return fmt.Errorf("%w: blob %s: %s; the file is set aside and counts as missing",
		ErrCorrupt, b.digest, fmt.Sprintf(format, args...))
}

// unreadable handles a file that the disk does not deliver. The blob counts as missing for a while, so that another
// copy is fetched. The file stays until the copy replaces it, because nobody knows whether its content is bad.
func (b *Blob) unreadable(err error) error {
	if !errors.Is(err, os.ErrClosed) {
		b.blobs.setDamaged(b.digest, time.Now().Add(unreadableFor))
		b.blobs.logger.LogAttrs(context.Background(), slog.LevelError, "blob cannot be read; it counts as missing",
			slog.String(logkey.Blob, b.digest), slog.Any(logkey.Err, err))
		b.blobs.reportDamage(b.digest)
	}
	return fmt.Errorf("blob %s: %w", b.digest, err)
}

// Close closes the file.
func (b *Blob) Close() error {
	err := b.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Verify reads a whole blob. A damaged blob is set aside, and Verify returns ErrCorrupt.
func (b *Blobs) Verify(ctx context.Context, digest string) error {
	blob, err := b.Open(digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	blob.mu.Lock()
	defer blob.mu.Unlock()
	return blob.verify(ctx)
}

// Check is Verify, except that a blob that has been verified since the process began is not read again. Calls for the
// same blob at the same time read it once.
func (b *Blobs) Check(ctx context.Context, digest string) error {
	for {
		b.mu.Lock()
		wait := b.checking[digest]
		if b.outlines.known[digest] != nil {
			b.mu.Unlock()
			return nil
		}
		if wait == nil {
			break
		}
		b.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("blob %s: %w", digest, ctx.Err())
		}
	}
	done := make(chan struct{})
	b.checking[digest] = done
	b.mu.Unlock()
	err := b.Verify(ctx, digest)
	b.mu.Lock()
	delete(b.checking, digest)
	b.mu.Unlock()
	close(done)
	return err
}

// OnDamage sets the function that is called, from any goroutine, for each blob that was found damaged or unreadable. It
// must not call back into b. Set it before the blobs are used.
func (b *Blobs) OnDamage(report func(digest string)) { b.onDamage = report }

func (b *Blobs) reportDamage(digest string) {
	if b.onDamage != nil {
		b.onDamage(digest)
	}
}

func (b *Blobs) outlineOf(digest string) *outline {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.outlines.known[digest]
}

func (b *Blobs) remember(digest string, o *outline) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outlines.add(digest, o)
}

func (b *Blobs) setDamaged(digest string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.touched, digest)
	b.damaged[digest] = until
}

// quarantine moves a damaged file aside. It may be moved only if it still is the file that was
// read: another reader may have been faster, and a good copy may have its name by now.
func (b *Blobs) quarantine(blob *Blob) {
	defer b.hold(blob.digest)()
	path := b.file(blob.digest)
	now, err := os.Stat(path)
	same := err == nil && os.SameFile(now, blob.info)
	// Windows moves no open file.
	blob.file.Close()
	if !same || b.gate.check() != nil {
		return
	}
	aside := filepath.Join(b.path, quarantineName, fmt.Sprintf("%s.%d", blob.digest, time.Now().UnixNano()))
	if err = file.Rename(path, aside); err == nil {
		err = file.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		b.setDamaged(blob.digest, time.Time{})
	} else {
		b.mu.Lock()
		delete(b.touched, blob.digest)
		b.mu.Unlock()
	}
	b.logger.LogAttrs(context.Background(), slog.LevelError, "damaged blob set aside",
		slog.String(logkey.Blob, blob.digest), slog.Int64(logkey.Bytes, blob.Size()), slog.String(logkey.Path, aside),
		slog.Any(logkey.Err, err))
	b.trimQuarantine()
	b.reportDamage(blob.digest)
}

// trimQuarantine keeps the newest few files. They are for people to look at, and a failing disk makes many.
func (b *Blobs) trimQuarantine() {
	dir := filepath.Join(b.path, quarantineName)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keepQuarantined {
		return
	}
	age := func(e os.DirEntry) string {
		_, stamp, _ := strings.Cut(e.Name(), ".")
		return stamp
	}
	slices.SortFunc(entries, func(x, y os.DirEntry) int { return strings.Compare(age(x), age(y)) })
	for _, e := range entries[:len(entries)-keepQuarantined] {
		os.Remove(filepath.Join(dir, e.Name()))
	}
}
