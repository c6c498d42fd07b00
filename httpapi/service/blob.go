package service

import (
	"context"
	"errors"
	"fmt"
	"io"

	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
)

// Blobs is the cluster's blobs. Its errors wrap the outcomes of blobs that package command declares,
// where they apply.
type Blobs interface {
	procedure.BlobStore
	// Put stores what r holds, of that digest, for the caller of that name, on a majority and returns its size; size is
	// what r is said to hold, -1 when that is not known. Nothing is kept when the content has another digest.
	// *LimitReached when the caller has uploaded too much that nothing names.
	Put(ctx context.Context, by, digest string, size int64, r io.Reader) (int64, error)
}

// Blob is a blob that is open.
type Blob interface {
	io.ReaderAt
	io.Closer
}

// OpenBlob opens the blob of that digest, from another master when this one lacks it, and returns its size. Its errors
// wrap command.ErrNoBlob where that applies.
func (s *Service) OpenBlob(ctx context.Context, digest string) (Blob, int64, error) {
	return s.cfg.Blobs.Open(ctx, digest)
}

// PutBlob stores a project file on a majority and returns its size; size is what r is said to hold, -1 when that is not
// known. Its errors are those of Blobs; ErrBlobTooLarge for a file beyond the setting MaxProjectBytes, of which nothing
// is kept.
func (s *Service) PutBlob(
	ctx context.Context, caller command.Caller, digest string, size int64, r io.Reader,
) (int64, error) {
	limit := s.cfg.Settings().MaxProjectBytes
	tooLarge := fmt.Errorf("%w: the project file has more than the %d bytes of MaxProjectBytes",
		command.ErrBlobTooLarge, limit)
	if size > limit {
		return 0, tooLarge
	}
	n, err := s.cfg.Blobs.Put(ctx, caller.Name, digest, size, &bounded{r: r, left: limit})
	if errors.Is(err, errBeyond) {
		err = tooLarge
	}
	return n, err
}

var errBeyond = errors.New("there is more to read than may be")

// bounded reads up to left bytes, and fails with errBeyond when there are more.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errBeyond
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, errBeyond
	}
	return n, err
}
