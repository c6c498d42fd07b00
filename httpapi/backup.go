package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

// Backups makes backups and restores them. Its errors wrap the outcomes that fsm/command declares.
type Backups interface {
	// Save writes a backup of the whole cluster, with the blobs if wanted. A lock says how the key that wraps the key
	// ring is made; without a key the ring stays out.
	Save(ctx context.Context, w io.Writer, o SaveOptions) error
	// Restore makes a backup this cluster's state. Any error but command.ErrUnknownOutcome means that nothing was
	// changed.
	Restore(ctx context.Context, r io.Reader, key []byte) (wire.Restored, error)
}

// SaveOptions says what goes into a backup.
type SaveOptions struct {
	Blobs bool
	Key   []byte
	Lock  []byte // JSON
}

func backupHeader(r *request, name string) ([]byte, error) {
	text := r.Header.Get(name)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("%s is not base64", name) // its value is a secret
	}
	return raw, nil
}

func (a *API) saveBackup(w http.ResponseWriter, r *request) error {
	if a.cfg.Backups == nil {
		return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
	}
	var o SaveOptions
	var err error
	if o.Blobs, err = r.boolean("blobs", true); err != nil {
		return err
	}
	if o.Key, err = backupHeader(r, wire.HeaderBackupKey); err != nil {
		return err
	}
	if o.Lock, err = backupHeader(r, wire.HeaderBackupLock); err != nil {
		return err
	}
	if err := a.service.Prove(r.Context()); err != nil {
		return err
	}
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "backup asked for", slog.Bool(logkey.Blobs, o.Blobs),
		slog.Bool(logkey.KeyRing, len(o.Key) > 0), slog.String(logkey.Caller, r.caller.Name))
	w.Header().Set("Content-Type", wire.ContentBackup)
	w.Header().Set("Cache-Control", "no-store")
	return a.cfg.Backups.Save(r.Context(), w, o)
}

func (a *API) restoreBackup(w http.ResponseWriter, r *request) error {
	if a.cfg.Backups == nil {
		return fmt.Errorf("%w: %s", errNotFound, r.URL.Path)
	}
	key, err := backupHeader(r, wire.HeaderBackupKey)
	if err != nil {
		return err
	}
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "restore of a backup asked for",
		slog.Int64(logkey.Bytes, r.ContentLength), slog.String(logkey.Caller, r.caller.Name))
	// A restore goes on when its caller goes away: half a restore would be worse than none.
	out, err := a.cfg.Backups.Restore(context.WithoutCancel(r.Context()), r.Body, key)
	if err != nil {
		return err
	}
	out.Missing = filled(out.Missing)
	return answer(w, http.StatusOK, out)
}
