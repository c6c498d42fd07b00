package blobs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"scaleout/fsm/logkey"
)

// Upload says who uploaded a blob.
type Upload struct {
	By   string
	Size int64 // in bytes
}

// leastCharge is what the smallest upload is counted as: each upload is a file, and the number of files is limited too.
const leastCharge = 64 << 10

// LimitError says that a caller has uploaded as much as may be stored without a project that names it.
type LimitError struct {
	By                string
	Used, Asked, Most int64 // bytes
}

// RetryAfter is when a caller that met the limit may try again without having deployed anything.
const RetryAfter = time.Hour

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s has %d bytes uploaded that no project names, and %d more would exceed the limit of %d: "+
		"deploy what was uploaded, or wait until it is deleted, 24 h after it came", e.By, e.Used, e.Asked, e.Most)
}

// uploading counts the uploads that are under way.
type uploading struct {
	mu    sync.Mutex
	bytes map[string]int64 // by caller
	calls map[string]int   // by digest
}

// Upload is Put for a caller whose uploads that no row names are limited. What counts is on this disk, with marks that
// outlive the process and go to the other masters with the blob, so that a new leader counts the same. The bytes count
// before the first one is written, and stop counting if the upload fails. size is -1 if it is not known.
func (k *Keeper) Upload(ctx context.Context, by, digest string, size int64, r io.Reader) (int64, error) {
	if k.cfg.Disk.Has(digest) { // no new bytes
		return k.Put(ctx, digest, r)
	}
	if size < 0 {
		size = k.cfg.MaxBytes
	}
	if err := k.reserve(by, digest, size); err != nil {
		return 0, err
	}
	defer k.free(by, digest, size)
	if err := k.cfg.Disk.Mark(digest, Upload{by, size}); err != nil {
		return 0, err
	}
	stored, err := k.cfg.Disk.Put(ctx, digest, r, k.cfg.MaxBytes)
	if err != nil {
		return 0, err
	}
	if stored != size {
		if err := k.cfg.Disk.Mark(digest, Upload{by, stored}); err != nil {
			return 0, err
		}
	}
	return stored, k.Ensure(ctx, digest)
}

func charge(size int64) int64 { return max(size, leastCharge) }

// reserve counts an upload, if there is room for it.
func (k *Keeper) reserve(by, digest string, size int64) error {
	k.tidy()
	u := &k.uploading
	u.mu.Lock()
	defer u.mu.Unlock()
	used := u.bytes[by]
	for other, mark := range k.cfg.Disk.Marked() {
		if mark.By == by && u.calls[other] == 0 {
			used += charge(mark.Size)
		}
	}
	if most := k.cfg.MaxUnnamed; most > 0 && used+charge(size) > most {
		return &LimitError{By: by, Used: used, Asked: size, Most: most}
	}
	u.bytes[by] += charge(size)
	u.calls[digest]++
	return nil
}

// free takes back what reserve counted. From here on the mark counts, if the blob was stored.
func (k *Keeper) free(by, digest string, size int64) {
	u := &k.uploading
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes[by] -= charge(size); u.bytes[by] == 0 {
		delete(u.bytes, by)
	}
	if u.calls[digest]--; u.calls[digest] > 0 {
		return
	}
	delete(u.calls, digest)
	if !k.cfg.Disk.Has(digest) {
		if err := k.cfg.Disk.Unmark(digest); err != nil {
			k.log.LogAttrs(context.Background(), slog.LevelWarn, "the mark of an upload that failed could not be removed",
				slog.String(logkey.Blob, digest), slog.Any(logkey.Err, err))
		}
	}
}

// tidy removes the marks of blobs that a row names by now.
func (k *Keeper) tidy() {
	for digest := range k.cfg.Disk.Marked() {
		if !k.cfg.Names.Named(digest) {
			continue
		}
		if err := k.cfg.Disk.Unmark(digest); err != nil {
			k.log.LogAttrs(context.Background(), slog.LevelWarn,
				"the mark of who uploaded a blob could not be removed; the next scrub tries again",
				slog.String(logkey.Blob, digest), slog.Any(logkey.Err, err))
		}
	}
}
