package master

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"scaleout/cluster/archive"
	"scaleout/cluster/backup"
	"scaleout/httpapi"
	"scaleout/httpapi/wire"
)

// backups is what httpapi needs of backups.
type backups struct{ *backup.Backups }

func (a backups) Save(ctx context.Context, w io.Writer, o httpapi.SaveOptions) error {
	options := backup.Options{Blobs: o.Blobs, Key: o.Key}
	if len(o.Key) > 0 {
		if err := json.Unmarshal(o.Lock, &options.Lock); err != nil {
			return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: wire.HeaderBackupLock + " is not the expected JSON"}
		}
		if err := options.Lock.Check(); err != nil || len(o.Key) != archive.KeySize {
			return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: fmt.Sprintf(
				"a key of %d bytes; %d were expected, made as this version does", len(o.Key), archive.KeySize)}
		}
	}
	return a.Backups.Save(ctx, w, options)
}

func (a backups) Restore(ctx context.Context, r io.Reader, key []byte) (wire.Restored, error) {
	out, err := a.Backups.Restore(ctx, r, key)
	return wire.Restored{
		Cluster: out.Cluster, Index: out.Index, NewIndex: out.NewIndex, Blobs: out.Blobs, KeyRing: out.KeyRing,
		Missing: out.Missing,
	}, err
}
