package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"scaleout/cluster/archive"
	"scaleout/fsm/logkey"
)

// Options says what goes into a backup.
type Options struct {
	Blobs bool
	// Key encrypts the key ring, and Lock says how the key is derived. Without a key the ring is left out.
	Key  []byte
	Lock archive.Lock
}

// ParseOptions returns the options of a request. key is empty if the key ring is to be left out; else lock is the JSON
// of an archive.Lock. A key and a lock that this version would not make are refused, since nothing could open the ring.
func ParseOptions(blobs bool, key, lock []byte) (Options, error) {
	o := Options{Blobs: blobs, Key: key}
	if len(key) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(lock, &o.Lock); err != nil {
		return Options{}, errors.New("not the expected JSON")
	}
	if err := o.Lock.Check(); err != nil || len(key) != archive.KeySize {
		return Options{}, fmt.Errorf("a key of %d bytes; %d were expected, made as this version does", len(key),
			archive.KeySize)
	}
	return o, nil
}

// Save writes a backup of this master's state. A blob that this master lacks is read from another one; a blob that no
// master has is listed as missing.
func (b *Backups) Save(ctx context.Context, w io.Writer, o Options) error {
	capture, err := b.cfg.State.Capture()
	if err != nil {
		return err
	}
	reader := capture.Reader()
	file, err := archive.NewWriter(w, archive.Metadata{
		Created: b.cfg.Node.Now().UTC(), Cluster: reader.ClusterID(), Master: b.cfg.Master, Version: b.cfg.Version,
		Level: reader.Level(), Index: reader.Index(), Blobs: o.Blobs, KeyRing: len(o.Key) > 0, Rows: reader.Counts(),
	})
	if err != nil {
		return err
	}
	if len(o.Key) > 0 {
		ring, err := b.cfg.KeyRing.Marshal()
		if err != nil {
			return errUnencodable
		}
		wrapped, err := archive.Wrap(ring, o.Key, o.Lock, reader.ClusterID())
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
	for _, digest := range slices.Sorted(reader.Blobs()) { // the order of an archive
		blob, err := b.cfg.Blobs.Open(ctx, digest)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b.log.LogAttrs(ctx, slog.LevelError, "a blob that is named is on no master; the backup lists it as missing",
				slog.String(logkey.Blob, digest), slog.Any(logkey.Err, err))
			missing = append(missing, digest)
			continue
		}
		if err := errors.Join(file.Blob(digest, blob.Size(), blob), blob.Close()); err != nil {
			return fmt.Errorf("blob %s: %w", digest, err)
		}
	}
	return file.Close(missing)
}

// errUnencodable does not wrap its cause, which may quote a key.
var errUnencodable = errors.New("the key ring could not be encoded")
