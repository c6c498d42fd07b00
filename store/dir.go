package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"scaleout/fsm/logkey"
	"scaleout/store/file"
)

// Format is the version of the directory layout that this program writes, and the
// newest that it reads.
const Format = 1

const (
	nodeName      = "node.json"
	logName       = "raft.db"
	snapshotsName = "snapshots"
	blobsName     = "blobs"

	defaultRetainSnapshots = 2
	defaultLogCacheBytes   = 32 << 20
)

// LogStore is what Raft keeps its log, term and vote in.
type LogStore interface {
	raft.LogStore
	raft.StableStore
}

// Options are the choices that Open takes; the zero value is good.
type Options struct {
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// WrapLog lets a test put a stalling or failing store between Raft and the
	// disk. The store that it returns is below the cache and the clock of Log.Writing.
	WrapLog func(LogStore) LogStore
	// CheckSnapshot returns an error if a snapshot's content is not that of the given place in the log. If it is nil, the
	// content is not looked into. It need not read to the end: the content has been compared with its checksum.
	CheckSnapshot func(content io.Reader, index, term uint64) error
	// RetainSnapshots is how many snapshots are kept; 0 means 2.
	RetainSnapshots int
	// LogCacheBytes bounds the memory for recent log entries; 0 means 32 MiB, a
	// negative number means no cache.
	LogCacheBytes int64
}

// Dir is an open data directory. Its methods may be called from any goroutine.
type Dir struct {
	path      string
	node      node
	logger    *slog.Logger
	gate      gate
	lock      *lock
	log       *Log
	snapshots *snapshots
	blobs     *Blobs
	documents sync.Mutex
	close     func() error
}

// node is the identity of the node that this directory belongs to. Format is what every version of the program can
// read, so it stays where it is.
type node struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// Open opens the data directory at path and makes it if there is none. A new directory gets a new node identity. Open
// fails with ErrLocked while another process has the directory open, with ErrNewerFormat if a newer program wrote it,
// and with ErrCorrupt if identity, log or snapshots are damaged.
func Open(path string, opt Options) (*Dir, error) {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.RetainSnapshots <= 0 {
		opt.RetainSnapshots = defaultRetainSnapshots
	}
	if opt.LogCacheBytes == 0 {
		opt.LogCacheBytes = defaultLogCacheBytes
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &Dir{path: path, logger: opt.Logger}
	if d.lock, err = takeLock(path); err != nil {
		return nil, err
	}
	if err := d.open(opt); err != nil {
		return nil, errors.Join(err, d.lock.release(true))
	}
	d.close = sync.OnceValue(d.shut)
	return d, nil
}

func (d *Dir) open(opt Options) (err error) {
	known, err := d.readNode()
	if err != nil {
		return err
	}
	for _, name := range []string{documentsName, snapshotsName, blobsName} {
		if err := makeDir(filepath.Join(d.path, name)); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	// Only those of this package: others keep keys and certificates here.
	file.RemoveLeftovers(d.path, 0, nodeName, logName)
	file.RemoveLeftovers(filepath.Join(d.path, documentsName), 0)

	if d.log, err = openLog(filepath.Join(d.path, logName), known, &d.gate, opt); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.log.close())
		}
	}()
	if d.snapshots, err = openSnapshots(d.path, d.log, &d.gate, opt); err != nil {
		return err
	}
	d.log.covered = d.snapshots.end
	for _, name := range []string{"", documentsName, snapshotsName} {
		// A process that was killed between a rename and the fsync after it left a name that can be
		// seen now, and could still be lost. From here on every name that is seen is durable.
		if err := file.SyncDir(filepath.Join(d.path, name)); err != nil {
			return fmt.Errorf("data directory: %w", onDisk(d.path, err))
		}
	}
	if d.blobs, err = openBlobs(filepath.Join(d.path, blobsName), &d.gate, d.logger); err != nil {
		return err
	}
	if known {
		return nil
	}
	if !d.New() {
		return corrupt(filepath.Join(d.path, nodeName), "missing, while the directory holds Raft state")
	}
	// The identity is written last, because a directory that has one counts as complete.
	d.node = node{Format: Format, ID: uuid.NewString(), Created: time.Now().UTC().Truncate(time.Second)}
	if err := writeDocument(filepath.Join(d.path, nodeName), d.node); err != nil {
		return fmt.Errorf("node identity: %w", err)
	}
	return nil
}

// readNode reads the identity. known is false if none has been made yet.
func (d *Dir) readNode() (known bool, err error) {
	path := filepath.Join(d.path, nodeName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("node identity: %w", err)
	}
	// The format is looked at before the checksum, which a newer format may compute in another way.
	var peek struct{ Value struct{ Format int } }
	if json.Unmarshal(raw, &peek) == nil && peek.Value.Format > Format {
		return false, fmt.Errorf("%w: %s has format %d, this program knows formats up to %d; "+
			"start it with the program that wrote it or a newer one, or give this node an empty directory, "+
			"so that it joins as a new node",
			ErrNewerFormat, d.path, peek.Value.Format, Format)
	}
	if _, err := readDocument(path, &d.node); err != nil {
		return false, fmt.Errorf("node identity: %w", err)
	}
	if id, err := uuid.Parse(d.node.ID); err != nil || id.String() != d.node.ID {
		return false, corrupt(path, fmt.Sprintf("node id %q is not a UUID", d.node.ID))
	}
	if d.node.Format < 1 {
		return false, corrupt(path, fmt.Sprintf("format %d, want 1 to %d", d.node.Format, Format))
	}
	return true, nil
}

// makeDir makes path and what is missing above it, each name durable.
func makeDir(path string) error { return onDisk(path, file.MakeDir(path)) }

// removeEntries deletes the entries of a folder that isLeftover names: what a dead process was writing. What cannot be
// deleted costs room and nothing else.
func removeEntries(folder string, isLeftover func(name string) bool) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if isLeftover(e.Name()) {
			os.RemoveAll(filepath.Join(folder, e.Name()))
		}
	}
}

// Path is the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// ID is the node's identity, a UUID made with the directory.
func (d *Dir) ID() string { return d.node.ID }

// New reports whether there is no Raft state at all: no log entry, no snapshot, no term
// and no vote. If that cannot be found out, New returns false, because taking a used
// directory for an empty one is the dangerous mistake.
func (d *Dir) New() bool {
	used, err := raft.HasExistingState(d.log, d.log, d.snapshots)
	if err != nil {
		d.logger.LogAttrs(context.Background(), slog.LevelError, "cannot tell whether the data directory holds Raft state",
			slog.String(logkey.Path, d.path), slog.Any(logkey.Err, err))
		return false
	}
	return !used
}

// Log is the Raft log and stable store.
func (d *Dir) Log() *Log { return d.log }

// Snapshots is where Raft keeps snapshots.
func (d *Dir) Snapshots() raft.SnapshotStore { return d.snapshots }

// Blobs are the content-addressed files.
func (d *Dir) Blobs() *Blobs { return d.blobs }

// Free is the number of bytes that this process may still write to the file system.
func (d *Dir) Free() (uint64, error) { return freeBytes(d.path) }

// Freeze makes every later write (log, snapshots, blobs, documents) fail with ErrFrozen without touching the disk;
// reads go on. A write that is running is not waited for: it may or may not reach the disk, and reports ErrFrozen. A
// test that cuts the node's connections first makes it look, to everyone outside, as if the process had crashed at this
// moment.
func (d *Dir) Freeze() { d.gate.freeze() }

// Close ends all writing, closes the log, then releases the directory. Raft
// must have been shut down before. A second call returns what the first one did.
func (d *Dir) Close() error { return d.close() }

func (d *Dir) shut() error {
	frozen := d.gate.close()
	// A write that passed the gate before ends before another process may open the directory.
	d.documents.Lock()
	defer d.documents.Unlock()
	d.blobs.settle()
	err := d.log.close()
	return errors.Join(err, d.lock.release(!frozen))
}
