package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"scaleout/fsm/catalog"
)

// blobs keeps what it is given.
type blobs struct {
	mu      sync.Mutex
	m       map[string][]byte
	opening func() error
}

func (b *blobs) Put(_ context.Context, _, digest string, _ int64, r io.Reader) (int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != digest {
		return 0, fmt.Errorf("%w: got %s", ErrDigest, got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = map[string][]byte{}
	}
	b.m[digest] = data
	return int64(len(data)), nil
}

func (b *blobs) Store(ctx context.Context, r io.Reader, limit int64) (string, int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	n, err := b.Put(ctx, "", digest, int64(len(data)), bytes.NewReader(data))
	return digest, n, err
}

func (b *blobs) Confirm(_ context.Context, digest string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.m[digest]
	if !ok {
		return 0, catalog.ErrNoBlob
	}
	return int64(len(data)), nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func (b *blobs) Open(_ context.Context, digest string) (catalog.ReaderAtCloser, int64, error) {
	if b.opening != nil {
		if err := b.opening(); err != nil {
			return nil, 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.m[digest]
	if !ok {
		return nil, 0, fmt.Errorf("%w: %s", catalog.ErrNoBlob, digest)
	}
	return reader{bytes.NewReader(data)}, int64(len(data)), nil
}
