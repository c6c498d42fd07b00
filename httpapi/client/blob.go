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

// GetBlob reads a blob and verifies it. It calls create for an empty place for the content, again for each new
// beginning. If a master fails midway, the next one continues at that byte. If the content does not match the digest,
// any master that sent a part may be at fault, and each further attempt begins anew. The error is ErrCorrupt if no
// master sent the right content.
func (c *Client) GetBlob(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error) {
	sum := sha256.New()
	var w io.Writer
	var written int64
	var corrupt error
	_, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/blobs/" + digest, repeatable: true, localRefusal: wire.CodeBlobNotFound,
		stream: func(r io.Reader) error {
			if w == nil || corrupt != nil { // after wrong content nobody knows which part was wrong
				fresh, err := create()
				if err != nil {
					return &sinkError{err}
				}
				w, written = fresh, 0
				sum.Reset()
			}
			// All masters have the same content under a digest, so this master's content begins with what w already has.
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

// PutBlob stores size bytes of content with the digest. It calls open for the content from its beginning, once for each
// attempt. It returns after a majority of the masters has the blob.
func (c *Client) PutBlob(
	ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error),
) (wire.Blob, error) {
	r := &request{
		method: http.MethodPut, path: "/v1/blobs/" + digest, repeatable: true, open: open, size: size,
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
