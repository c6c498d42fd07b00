package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Blob is an open blob, for one reader. It stays readable when it is deleted meanwhile.
type Blob struct {
	blobs  *Blobs
	digest string
	file   *os.File
	info   fs.FileInfo
	hash   hash.Hash
	read   int64
	err    error // sticky: how the reading ended
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
	return &Blob{blobs: b, digest: digest, file: f, info: info, hash: sha256.New()}, nil
}

// Size is the size of the file in bytes.
func (b *Blob) Size() int64 { return b.info.Size() }

// Read reads on from where it last stopped. The last bytes are given out only when everything up to
// them has the digest that the blob is named by; otherwise the file is set aside and the error is
// ErrCorrupt. So a reader that stops after Size bytes and never asks for io.EOF is safe too.
func (b *Blob) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.file.Read(p)
	b.hash.Write(p[:n])
	b.read += int64(n)
	switch {
	case err != nil && err != io.EOF:
		b.err = fmt.Errorf("blob %s: %w", b.digest, err)
		return n, b.err
	case err == nil && b.read < b.Size():
		return n, nil
	}
	if got := hex.EncodeToString(b.hash.Sum(nil)); got != b.digest || b.read != b.Size() {
		b.err = fmt.Errorf("%w: blob %s: %d of %d bytes read have SHA-256 %s; the file is set aside and counts as missing",
			ErrCorrupt, b.digest, b.read, b.Size(), got)
		b.blobs.quarantine(b)
		return 0, b.err
	}
	b.err = io.EOF
	return n, nil
}

// ReadAt reads without verifying: a range cannot be checked against the digest of the whole. Whoever needs
// certainty calls Verify, or reads to the end, first.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }

// Close closes the file.
func (b *Blob) Close() error {
	err := b.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Verify reads a whole blob; ErrCorrupt when it is damaged, and then it is set aside.
func (b *Blobs) Verify(ctx context.Context, digest string) error {
	blob, err := b.Open(digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	buf := make([]byte, copyChunk)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
		if _, err := blob.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// quarantine moves a damaged file out of the way. It may be moved only if it still is the file that was
// read: another reader may have been faster, and a good copy may stand there by now.
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
	err = os.Rename(path, aside)
	if err == nil {
		err = errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(aside)))
	}
	b.mu.Lock()
	delete(b.touched, blob.digest)
	if err != nil {
		b.damaged[blob.digest] = struct{}{}
	}
	b.mu.Unlock()
	b.logger.Error("damaged blob set aside", "digest", blob.digest, "bytes", blob.Size(), "path", aside, "error", err)
	b.trimQuarantine()
}

// trimQuarantine keeps the newest few; they are for looking at, and a failing disk makes many.
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
