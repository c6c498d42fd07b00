package client

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"

	"scaleout/httpapi/wire"
)

// BackupLock is the key that wraps a backup's key ring, and how it is made again (JSON). The zero value: no key ring.
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

// Backup gives a backup of the cluster to take, which is called once for each attempt and begins anew each time. The
// stream is whole only if it verifies.
func (c *Client) Backup(ctx context.Context, blobs bool, lock BackupLock, take func(io.Reader) error) error {
	q := url.Values{}
	if !blobs {
		q.Set("blobs", "false")
	}
	_, err := c.do(ctx, &request{
		method: http.MethodGet, path: "/v1/cluster/snapshot", query: q, header: lock.header(), again: true, stream: take,
	})
	return err
}

// Restore sends a backup of size bytes. Open yields it from its beginning, once for each attempt.
func (c *Client) Restore(ctx context.Context, lock BackupLock, size int64, open func() (io.ReadCloser, error)) (wire.Restored, error) {
	h := lock.header()
	h.Set("Content-Type", wire.ContentBackup)
	var got wire.Restored
	a, err := c.do(ctx, &request{method: http.MethodPut, path: "/v1/cluster/snapshot", header: h, open: open, size: size})
	if err != nil {
		return got, err
	}
	return got, decode(a, &got)
}
