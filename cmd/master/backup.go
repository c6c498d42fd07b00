package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"scaleout/cluster"
	"scaleout/cluster/archive"
	"scaleout/cluster/pki"
	"scaleout/fsm"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/httpapi"
	"scaleout/httpapi/wire"
)

// spoolPrefix begins the names of files that a restore needs for as long as it works.
const spoolPrefix = "restore-"

// backups is what httpapi needs of backups.
type backups struct{ m *Master }

func (a backups) Save(ctx context.Context, w io.Writer, o httpapi.SaveOptions) error {
	return a.m.save(ctx, w, o)
}

// save writes a backup of this master's state. What the state names is fetched from other masters where this one lacks
// it; what no master has is listed at the end of the file.
func (m *Master) save(ctx context.Context, w io.Writer, o httpapi.SaveOptions) error {
	var lock archive.Lock
	if len(o.Key) > 0 {
		if err := json.Unmarshal(o.Lock, &lock); err != nil {
			return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: wire.HeaderBackupLock + " is not the expected JSON"}
		}
		if err := lock.Check(); err != nil || len(o.Key) != archive.KeySize {
			return &wire.BadInput{Code: wire.CodeInvalidArgument, Detail: fmt.Sprintf("a key of %d bytes; %d were expected, made as this version does", len(o.Key), archive.KeySize)}
		}
	}
	capture, err := m.fsm.Capture()
	if err != nil {
		return err
	}
	view := capture.View()
	file, err := archive.NewWriter(w, archive.Metadata{
		Created: m.node.Now().UTC(), Cluster: view.ClusterID(), Master: m.cfg.Name, Version: m.cfg.Version,
		Level: view.Level(), Index: view.Index(), Blobs: o.Blobs, KeyRing: len(o.Key) > 0, Rows: view.Counts(),
	})
	if err != nil {
		return err
	}
	if len(o.Key) > 0 {
		ring, err := m.ring.Marshal()
		if err != nil {
			return errors.New("the key ring could not be encoded")
		}
		wrapped, err := archive.Wrap(ring, o.Key, lock, view.ClusterID())
		if err != nil {
			return err
		}
		if err := file.KeyRing(wrapped); err != nil {
			return err
		}
	}
	if err := file.State(capture.Write); err != nil {
		return err
	}
	if !o.Blobs {
		return file.Close(nil)
	}
	var missing []string
	for _, digest := range slices.Sorted(view.Blobs()) { // the order of an archive
		blob, err := m.keeper.Open(ctx, digest)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			m.log.Error("a blob that is named is on no master; the backup lists it as missing", "blob", digest, "err", err)
			missing = append(missing, digest)
			continue
		}
		if err := errors.Join(file.Blob(digest, blob.Size(), blob), blob.Close()); err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
	}
	return file.Close(missing)
}

// checked is a backup that was verified as a whole.
type checked struct {
	meta    archive.Metadata
	keyRing []byte // wrapped
	names   []string
	blobs   int
}

// check verifies a backup from its first byte to its last.
func check(file io.ReadSeeker) (c checked, err error) {
	var view *catalog.Reader
	visit := func(e archive.Entry, content io.Reader) (err error) {
		switch e.Name {
		case archive.NameKeyRing:
			c.keyRing, err = io.ReadAll(content)
		case archive.NameState:
			view, err = fsm.Check(content, command.Level)
		}
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return c, err
	}
	found, err := archive.Read(file, visit)
	c.meta, c.blobs = found.Metadata, found.Blobs
	switch {
	case errors.Is(err, fsm.ErrTooNew), errors.Is(err, archive.ErrNewerFormat):
		return c, fmt.Errorf("%w: %w", command.ErrLevel, err)
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, fsm.ErrSnapshot):
		return c, fmt.Errorf("%w: %w", httpapi.ErrBackupDamaged, err)
	case err != nil:
		return c, err
	case view.Index() != c.meta.Index, view.ClusterID() != c.meta.Cluster:
		return c, fmt.Errorf("%w: its metadata is of another backup than its parts", httpapi.ErrBackupDamaged)
	}
	for digest := range view.Blobs() {
		c.names = append(c.names, digest)
	}
	return c, nil
}

func (a backups) Restore(ctx context.Context, r io.Reader, key []byte) (wire.Restored, error) {
	out, err := a.m.restore(ctx, r, key)
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, command.ErrNoSpace) {
		err = fmt.Errorf("%w: %w", command.ErrNoSpace, err)
	}
	return out, err
}

// empty refuses a cluster that somebody has used.
func (m *Master) empty() error {
	if used := m.fsm.View().Used(); used != "" {
		return fmt.Errorf("%w: this one has %s. Make a new cluster of empty data directories, keep workers away from it, and restore there", httpapi.ErrNotEmpty, used)
	}
	return nil
}

// restore brings a backup into this cluster: all of it, or nothing. The file is verified and made ready as a whole before
// anything of the cluster is touched; then the blobs are stored, which nothing names yet; then every master gets the
// keys; then, in one step of Raft, the state.
func (m *Master) restore(ctx context.Context, r io.Reader, key []byte) (out wire.Restored, err error) {
	if !m.restoring.TryLock() {
		return out, fmt.Errorf("%w: another restore is running", command.ErrRefused)
	}
	defer m.restoring.Unlock()
	m.sweepSpool()
	defer m.sweepSpool()
	if err := m.empty(); err != nil {
		return out, err
	}
	file, err := m.spool(r)
	if err != nil {
		return out, err
	}
	defer file.Close()
	c, err := check(file)
	if err != nil {
		return out, err
	}
	given, err := m.openKeyRing(c, key)
	if err != nil {
		return out, err
	}
	at, err := m.node.RestoreReady(ctx, c.meta.Level)
	if err != nil {
		return out, err
	}
	at.Index = max(at.Index, c.meta.Index)
	state, size, err := m.adopt(file, at)
	if err != nil {
		return out, err
	}
	defer state.Close()
	if err := m.storeBlobs(ctx, file); err != nil {
		return out, err
	}
	if given != nil {
		if err := m.ring.Merge(given); err != nil {
			return out, err
		}
		if err := m.node.SpreadKeyRing(ctx); err != nil {
			return out, err
		}
	}
	if err := m.node.Install(ctx, at, size, state, m.empty); err != nil {
		return out, err
	}
	out = wire.Restored{Cluster: c.meta.Cluster, Index: c.meta.Index, NewIndex: at.Index, Blobs: c.blobs, KeyRing: given != nil, Missing: m.lost(ctx, c.names)}
	m.log.Warn("backup restored", "from_cluster", c.meta.Cluster, "from_index", c.meta.Index, "taken", c.meta.Created,
		"index", at.Index, "blobs", c.blobs, "missing_blobs", len(out.Missing), "key_ring", out.KeyRing)
	return out, nil
}

// lost are the blobs that no master has.
func (m *Master) lost(ctx context.Context, names []string) []string {
	missing := []string{}
	for _, digest := range names {
		blob, err := m.keeper.Open(ctx, digest)
		if err != nil {
			missing = append(missing, digest)
			continue
		}
		blob.Close()
	}
	return missing
}

// spool keeps what the caller sends, so that it can be read twice.
func (m *Master) spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(m.cfg.DataDirectory, spoolPrefix+"*.tmp")
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, fmt.Errorf("the backup was not received: %w", err)
	}
	return f, nil
}

// sweepSpool removes what a restore has left behind.
func (m *Master) sweepSpool() {
	old, _ := filepath.Glob(filepath.Join(m.cfg.DataDirectory, spoolPrefix+"*.tmp"))
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			m.log.Warn("a file of a restore could not be removed", "path", path, "err", err)
		}
	}
}

// openKeyRing decrypts the backup's key ring and makes sure that it fits to this one's.
func (m *Master) openKeyRing(c checked, key []byte) ([]byte, error) {
	switch {
	case c.keyRing == nil:
		return nil, nil
	case len(key) == 0:
		return nil, fmt.Errorf("%w: give the passphrase or key file with which it was saved", httpapi.ErrBackupKey)
	}
	raw, err := archive.Unwrap(c.keyRing, key, c.meta.Cluster)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", httpapi.ErrBackupKey, err)
	}
	own, err := m.ring.Marshal()
	if err != nil {
		return nil, errors.New("the key ring could not be encoded")
	}
	var given, trial pki.KeyRing
	if err := errors.Join(given.UnmarshalJSON(raw), trial.UnmarshalJSON(own)); err != nil {
		return nil, fmt.Errorf("%w: %w", httpapi.ErrBackupDamaged, err)
	}
	if _, err := trial.Merge(&given); err != nil {
		return nil, fmt.Errorf("%w: %w", httpapi.ErrBackupKey, err)
	}
	return raw, nil
}

// adopt rewrites the backup's state into that of this cluster.
func (m *Master) adopt(file io.ReadSeeker, at cluster.LogPosition) (state *os.File, size int64, err error) {
	if state, err = os.CreateTemp(m.cfg.DataDirectory, spoolPrefix+"*.tmp"); err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			state.Close()
		}
	}()
	view := m.fsm.View()
	id := fsm.Identity{ClusterID: view.ClusterID(), Level: view.Level(), Index: at.Index, Term: at.Term}
	if err := again(file, func(e archive.Entry, content io.Reader) error {
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

func again(file io.ReadSeeker, visit func(archive.Entry, io.Reader) error) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := archive.Read(file, visit)
	return err
}

// storeBlobs puts the backup's blobs onto a majority of the masters.
func (m *Master) storeBlobs(ctx context.Context, file io.ReadSeeker) error {
	return again(file, func(e archive.Entry, content io.Reader) error {
		digest, ok := e.Blob()
		if !ok {
			return nil
		}
		_, err := m.keeper.Put(ctx, digest, content)
		return err
	})
}
