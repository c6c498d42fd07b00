package client

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"

	"scaleout/httpapi/wire"
)

// BackupLock is the key that wraps a backup's key ring, and the JSON that says how to derive the key again. The zero
// value means: no key ring.
type BackupLock struct{ Key, How []byte }

func (l BackupLock) header() http.Header {
	h := http.Header{}
	if len(l.Key) > 0 {
		h.Set(wire.HeaderBackupKey, base64.StdEncoding.EncodeToString(l.Key))
	}
	if len(l.How) > 0 {
		h.Set(wire.HeaderBackupLock, base64.StdEncoding.EncodeToString(l.How))
	}
	return h
}

// Backup reads a backup of the cluster. It calls read once for each attempt; each begins with the first byte. The
// stream may be cut off, so the caller must verify it.
func (c *Client) Backup(ctx context.Context, blobs bool, lock BackupLock, read func(io.Reader) error) error {
	q := url.Values{}
	if !blobs {
		q.Set("blobs", "false")
	}
	_, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/cluster/backup", query: q, header: lock.header(), repeatable: true, stream: read,
	})
	return err
}

// Restore sends a backup of size bytes. It calls open for the backup from its beginning, once for each attempt.
func (c *Client) Restore(
	ctx context.Context, lock BackupLock, size int64, open func() (io.ReadCloser, error),
) (wire.Restored, error) {
	h := lock.header()
	h.Set("Content-Type", wire.ContentBackup)
	var got wire.Restored
	a, err := c.do(ctx, &request{method: http.MethodPut, path: "/v1/cluster/backup", header: h, open: open, size: size})
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}
