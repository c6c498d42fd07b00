package master

import (
	"context"
	"io"

	"scaleout/cluster/backup"
	"scaleout/httpapi"
	"scaleout/httpapi/wire"
)

// backups is what httpapi needs of backups.
type backups struct{ *backup.Backups }

func (a backups) Save(ctx context.Context, w io.Writer, o httpapi.SaveOptions) error {
	options, err := backup.ParseOptions(o.Blobs, o.Key, o.Lock)
	if err != nil {
		return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: wire.HeaderBackupLock + ": " + err.Error()}
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
