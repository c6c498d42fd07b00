package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/procedure"
)

// blobs keeps what it is given.
type blobs struct {
	mu      sync.Mutex
	m       map[string][]byte
	opening func() error
	fails   int64
}

func (b *blobs) Put(_ context.Context, _, digest string, _ int64, r io.Reader) (int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != digest {
		return 0, fmt.Errorf("%w: got %s", command.ErrDigest, got)
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
		return 0, command.ErrNoBlob
	}
	return int64(len(data)), nil
}

type reader struct {
	*bytes.Reader
	fails int64 // from this offset on; 0: it does not
}

func (r reader) ReadAt(p []byte, off int64) (int, error) {
	if r.fails > 0 && off+int64(len(p)) > r.fails {
		return 0, errors.New("the disk gave something else")
	}
	return r.Reader.ReadAt(p, off)
}

func (reader) Close() error { return nil }

func (b *blobs) Open(_ context.Context, digest string) (procedure.ReaderAtCloser, int64, error) {
	if b.opening != nil {
		if err := b.opening(); err != nil {
			return nil, 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.m[digest]
	if !ok {
		return nil, 0, fmt.Errorf("%w: %s", command.ErrNoBlob, digest)
	}
	return reader{bytes.NewReader(data), b.fails}, int64(len(data)), nil
}

// A blob that cannot be read to its end must not look complete, however much of it was sent.
func TestABlobThatFailsMidwayLooksBroken(t *testing.T) {
	w := newWorld(t, 1)
	n := w.nodes[0]
	digest, _, err := n.blobs.Store(t.Context(), strings.NewReader(strings.Repeat("0123456789", 50_000)), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fails := range []int64{1, 300_000, 499_999} {
		n.blobs.mu.Lock()
		n.blobs.fails = fails
		n.blobs.mu.Unlock()
		resp, err := w.as(&worker1).Get(n.srv.URL + "/v1/blobs/" + digest)
		if err != nil {
			continue
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Errorf("failing from %d on: %d bytes look complete", fails, len(got))
		}
	}
}
