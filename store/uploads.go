package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"scaleout/fsm/logkey"
	"scaleout/store/file"
)

// uploadsName is the folder of the upload marks, one file <digest>.json for each.
const uploadsName = "uploads"

func (b *Blobs) markFile(digest string) string {
	return filepath.Join(b.path, uploadsName, digest+".json")
}

// Upload is the mark of a blob that somebody uploaded: it says who.
type Upload struct {
	By   string `json:"by"`
	Size int64  `json:"size"` // in bytes
}

// openUploads reads the marks. It removes a mark whose blob never came, because the process ended before, and a mark
// that cannot be read.
func (b *Blobs) openUploads() error {
	dir := filepath.Join(b.path, uploadsName)
	file.RemoveLeftovers(dir, 0)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	b.uploads = map[string]Upload{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		digest, _ := strings.CutSuffix(e.Name(), ".json")
		var u Upload
		if path == b.markFile(digest) && checkDigest(digest) == nil && b.Has(digest) {
			_, err := readDocument(path, &u)
			if err == nil && u.Size >= 0 {
				b.uploads[digest] = u
				continue
			}
			b.logger.LogAttrs(context.Background(), slog.LevelWarn,
				"the mark of who uploaded a blob cannot be read; the blob counts for nobody", slog.String(logkey.Blob, digest),
				slog.String(logkey.Path, path), slog.Any(logkey.Err, err))
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
	}
	return nil
}

// Mark notes, durably, who uploads a blob and how many bytes it has. Mark it before it is put: a mark without a blob is
// forgotten at the next start, a blob without a mark counts for nobody.
func (b *Blobs) Mark(digest string, u Upload) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	defer b.hold(digest)()
	if err := b.gate.check(); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	b.mu.Lock()
	known := b.uploads[digest] == u
	b.mu.Unlock()
	if known {
		return nil
	}
	if err := writeDocument(b.markFile(digest), u); err != nil {
		return onDisk(b.path, err)
	}
	b.mu.Lock()
	b.uploads[digest] = u
	b.mu.Unlock()
	return nil
}

// Unmark forgets who uploaded a blob.
func (b *Blobs) Unmark(digest string) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	defer b.hold(digest)()
	if err := b.gate.check(); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	return b.unmark(digest)
}

// unmark is Unmark under the digest's lock.
func (b *Blobs) unmark(digest string) error {
	if err := os.Remove(b.markFile(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	b.mu.Lock()
	delete(b.uploads, digest)
	b.mu.Unlock()
	return nil
}

// Marked returns the marks by digest.
func (b *Blobs) Marked() map[string]Upload {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.uploads)
}
