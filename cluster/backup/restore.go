package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"scaleout/cluster"
	"scaleout/cluster/archive"
	"scaleout/cluster/pki"
	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

// The names of the temporary files of a restore begin and end so.
const (
	spoolPrefix = "restore-"
	spoolSuffix = ".tmp"
)

// Restored is the result of a restore.
type Restored struct {
	Cluster  string // of the backup
	Index    uint64 // of the backup
	NewIndex uint64 // where this cluster goes on
	Blobs    int    // stored from the backup
	KeyRing  bool   // taken over from the backup
	Missing  []string
}

// Restore makes a backup the state of this cluster. Key decrypts the backup's key ring. An error other than
// command.ErrUnknownOutcome means that the state was not changed.
func (b *Backups) Restore(ctx context.Context, r io.Reader, key []byte) (Restored, error) {
	out, err := b.restore(ctx, r, key)
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, command.ErrNoSpace) {
		err = fmt.Errorf("%w: %w", command.ErrNoSpace, err)
	}
	return out, err
}

func (b *Backups) restore(ctx context.Context, r io.Reader, key []byte) (out Restored, err error) {
	if !b.restoring.TryLock() {
		return out, fmt.Errorf("%w: another restore is running", command.ErrRefused)
	}
	defer b.restoring.Unlock()
	b.removeSpooled(ctx)
	defer b.removeSpooled(ctx)
	if err := b.checkEmpty(); err != nil {
		return out, err
	}
	file, err := b.spool(r)
	if err != nil {
		return out, err
	}
	defer file.Close()
	c, err := check(file)
	if err != nil {
		return out, err
	}
	ring, err := b.decryptKeyRing(c, key)
	if err != nil {
		return out, err
	}
	at, err := b.cfg.Node.RestoreReady(ctx, c.Metadata.Level)
	if err != nil {
		return out, err
	}
	at.Index = max(at.Index, c.Metadata.Index)
	state, size, err := b.adopt(file, at)
	if err != nil {
		return out, err
	}
	defer state.Close()
	if err := b.storeBlobs(ctx, file); err != nil {
		return out, err
	}
	if ring != nil {
		if err := b.cfg.KeyRing.Merge(ring); err != nil {
			return out, err
		}
		if err := b.cfg.Node.SpreadKeyRing(ctx); err != nil {
			return out, err
		}
	}
	if err := b.cfg.Node.Install(ctx, at, size, state, b.checkEmpty); err != nil {
		return out, err
	}
	out = Restored{
		Cluster: c.Metadata.Cluster, Index: c.Metadata.Index, NewIndex: at.Index, Blobs: c.Blobs, KeyRing: ring != nil,
		Missing: b.missing(ctx, c.Named),
	}
	b.log.LogAttrs(ctx, slog.LevelWarn, "backup restored", slog.String(logkey.FromCluster, out.Cluster),
		slog.Uint64(logkey.FromIndex, out.Index), slog.Time(logkey.Created, c.Metadata.Created),
		slog.Uint64(logkey.Index, at.Index), slog.Int(logkey.Blobs, out.Blobs),
		slog.Int(logkey.MissingBlobs, len(out.Missing)), slog.Bool(logkey.KeyRing, out.KeyRing))
	return out, nil
}

// checkEmpty returns an error if this cluster has been used.
func (b *Backups) checkEmpty() error {
	if used := b.cfg.State.Reader().Used(); used != "" {
		return fmt.Errorf("%w: this one has %s. Make a new cluster of empty data directories, keep workers away from it, "+
			"and restore there", command.ErrNotEmpty, used)
	}
	return nil
}

// spool keeps what the caller sends in a file, because it is read several times.
func (b *Backups) spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(b.cfg.Spool, spoolPrefix+"*"+spoolSuffix)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, fmt.Errorf("the backup was not received: %w", err)
	}
	return f, nil
}

// removeSpooled removes the files that a restore has left behind.
func (b *Backups) removeSpooled(ctx context.Context) {
	entries, err := os.ReadDir(b.cfg.Spool)
	if err != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "files of a restore could not be looked for",
			slog.String(logkey.Path, b.cfg.Spool), slog.Any(logkey.Err, err))
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), spoolPrefix) || !strings.HasSuffix(e.Name(), spoolSuffix) {
			continue
		}
		path := filepath.Join(b.cfg.Spool, e.Name())
		if err := os.Remove(path); err != nil {
			b.log.LogAttrs(ctx, slog.LevelWarn, "a file of a restore could not be removed",
				slog.String(logkey.Path, path), slog.Any(logkey.Err, err))
		}
	}
}

// check verifies a backup from its first byte to its last.
func check(file io.ReadSeeker) (Contents, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Contents{}, err
	}
	c, err := Inspect(file)
	switch {
	case errors.Is(err, fsm.ErrTooNew), errors.Is(err, archive.ErrNewerFormat):
		err = fmt.Errorf("%w: %w", command.ErrLevel, err)
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, fsm.ErrSnapshot):
		err = fmt.Errorf("%w: %w", command.ErrBackupDamaged, err)
	}
	return c, err
}

// decryptKeyRing returns the backup's key ring, or nil if it has none. It fails if the ring cannot be merged into this
// master's.
func (b *Backups) decryptKeyRing(c Contents, key []byte) ([]byte, error) {
	switch {
	case c.KeyRing == nil:
		return nil, nil
	case len(key) == 0:
		return nil, fmt.Errorf("%w: give the passphrase or key file with which it was saved", command.ErrBackupKey)
	}
	raw, err := archive.Unwrap(c.KeyRing, key, c.Metadata.Cluster)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrBackupKey, err)
	}
	own, err := b.cfg.KeyRing.Marshal()
	if err != nil {
		return nil, errUnencodable
	}
	var given, trial pki.KeyRing
	if err := errors.Join(given.UnmarshalJSON(raw), trial.UnmarshalJSON(own)); err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrBackupDamaged, err)
	}
	if _, err := trial.Merge(&given); err != nil {
		return nil, fmt.Errorf("%w: %w", command.ErrBackupKey, err)
	}
	return raw, nil
}

// adopt rewrites the backup's state as a snapshot of this cluster and returns it in a file, with its size.
func (b *Backups) adopt(file io.ReadSeeker, at cluster.LogPosition) (state *os.File, size int64, err error) {
	if state, err = os.CreateTemp(b.cfg.Spool, spoolPrefix+"*"+spoolSuffix); err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			state.Close()
		}
	}()
	reader := b.cfg.State.Reader()
	id := fsm.Identity{ClusterID: reader.ClusterID(), Level: reader.Level(), Index: at.Index, Term: at.Term}
	if err := visit(file, func(e archive.Entry, content io.Reader) error {
		if e.Name != archive.NameState {
			return nil
		}
		_, err := fsm.Adopt(content, state, command.Level, id)
		return err
	}); err != nil {
		return nil, 0, err
	}
	if size, err = state.Seek(0, io.SeekCurrent); err == nil {
		_, err = state.Seek(0, io.SeekStart)
	}
	return state, size, err
}

// visit reads a verified archive once more.
func visit(file io.ReadSeeker, visitor func(archive.Entry, io.Reader) error) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := archive.Read(file, visitor)
	return err
}

// storeBlobs stores the backup's blobs on a majority of the masters.
func (b *Backups) storeBlobs(ctx context.Context, file io.ReadSeeker) error {
	return visit(file, func(e archive.Entry, content io.Reader) error {
		digest, ok := e.Blob()
		if !ok {
			return nil
		}
		_, err := b.cfg.Blobs.Put(ctx, digest, content)
		return err
	})
}

// missing returns the blobs that no master has.
func (b *Backups) missing(ctx context.Context, digests []string) (missing []string) {
	for _, digest := range digests {
		blob, err := b.cfg.Blobs.Open(ctx, digest)
		if err != nil {
			missing = append(missing, digest)
			continue
		}
		blob.Close()
	}
	return missing
}
