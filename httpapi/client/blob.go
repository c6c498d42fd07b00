package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"

	"scaleout/httpapi/wire"
)

// GetBlob reads a blob and verifies it. Create yields the place for its content, empty, once for each beginning. When a
// master fails midway, the next one continues where it ended; when the content does not match the digest, which may be
// any master's fault that had a part in it, each begins anew from then on. ErrCorrupt when no master sent the right content.
func (c *Client) GetBlob(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error) {
	sum := sha256.New()
	var w io.Writer
	var written int64
	var corrupt error
	_, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/blobs/" + digest, again: true, local: wire.CodeBlobNotFound,
		stream: func(r io.Reader) error {
			if w == nil || corrupt != nil { // whose beginning was wrong is not known
				place, err := create()
				if err != nil {
					return &sinkError{err}
				}
				w, written = place, 0
				sum.Reset()
			}
			// The content is named by its digest, so what another master sends begins with what w has got.
			if _, err := io.CopyN(io.Discard, r, written); err != nil {
				return fmt.Errorf("after %d bytes: %w", written, err)
			}
			n, err := io.Copy(&sink{io.MultiWriter(w, sum)}, r)
			written += n
			if err != nil {
				return err
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
				corrupt = fmt.Errorf("%w: blob %s came as %s", ErrCorrupt, digest, got)
				return corrupt
			}
			return nil
		},
	})
	if err != nil && corrupt != nil && ctx.Err() == nil {
		return written, fmt.Errorf("%w; %w", ErrCorrupt, err)
	}
	return written, err
}

type sink struct{ io.Writer }

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil {
		err = &sinkError{err}
	}
	return n, err
}

// PutBlob stores size bytes of content that has the digest. Open yields the content from its beginning, once for each
// attempt. It returns after a majority of the masters holds the blob.
func (c *Client) PutBlob(ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error)) (wire.Blob, error) {
	r := &request{
		method: http.MethodPut, path: "/v1/blobs/" + digest, again: true, open: open, size: size,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
	}
	a, err := c.do(ctx, r)
	if err != nil {
		return wire.Blob{}, err
	}
	var got wire.Blob
	return got, decode(a, &got)
}

// PutBlobFile stores a file.
func (c *Client) PutBlobFile(ctx context.Context, path string) (wire.Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return wire.Blob{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return wire.Blob{}, fmt.Errorf("client: %s: %w", path, err)
	}
	return c.PutBlob(ctx, hex.EncodeToString(sum.Sum(nil)), size, func() (io.ReadCloser, error) { return os.Open(path) })
}
