package store

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// sink is a snapshot in the making. It gets its name as the last step.
type sink struct {
	store *snapshots
	path  string
	doc   snapshotDocument
	file  *os.File
	out   *bufio.Writer
	sum   checksummer
	ended bool
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID returns the name that the snapshot will have.
func (k *sink) ID() string { return k.doc.ID }

// Position returns the place in the log up to which the snapshot goes. The state machine writes it into the content, so
// that content and directory cannot be exchanged unnoticed.
func (k *sink) Position() (index, term uint64) { return k.doc.Index, k.doc.Term }

// Write takes the next bytes of the content.
func (k *sink) Write(p []byte) (int, error) {
	if err := k.store.gate.check(); err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	if k.out == nil {
		k.out = bufio.NewWriterSize(k.file, 1<<16)
	}
	n, err := k.out.Write(p)
	_, _ = k.sum.Write(p[:n])
	k.doc.Size += int64(n)
	return n, onDisk(k.path, err)
}

// Cancel removes the unfinished snapshot.
func (k *sink) Cancel() error {
	if k.ended {
		return nil
	}
	k.ended = true
	err := k.file.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return onDisk(k.path, errors.Join(err, os.RemoveAll(k.path)))
}

// Close makes the snapshot durable and gives it its name. If Close fails, there is no such snapshot, unless the error
// says that it could not be removed. An older snapshot that cannot be removed is no failure of this one.
func (k *sink) Close() error {
	if k.ended {
		return nil
	}
	if err := k.finish(); err != nil {
		return errors.Join(fmt.Errorf("snapshot: %w", onDisk(k.path, err)), k.Cancel())
	}
	k.ended = true
	if err := k.name(); err != nil {
		return fmt.Errorf("snapshot: %w", onDisk(k.path, errors.Join(err, os.RemoveAll(k.path))))
	}
	k.store.reap()
	return nil
}

// name gives a complete snapshot its name. If nobody can know whether the name is durable, the rename is taken back. If
// nobody can know whether that is durable either, the snapshot keeps its name, so that everybody sees it.
func (k *sink) name() error {
	final := filepath.Join(k.store.path, k.doc.ID)
	if err := os.Rename(k.path, final); err != nil {
		return err
	}
	err := k.store.sync(k.store.path)
	if err == nil {
		return nil
	}
	if back := os.Rename(final, k.path); back != nil {
		return errors.Join(err, back)
	}
	if back := k.store.sync(k.store.path); back != nil {
		return errors.Join(err, back, os.Rename(k.path, final))
	}
	return err
}

// finish makes the content and its description durable. Only the name is missing then.
func (k *sink) finish() error {
	if err := k.store.gate.check(); err != nil {
		return err
	}
	if k.out != nil {
		if err := k.out.Flush(); err != nil {
			return err
		}
	}
	if err := k.file.Sync(); err != nil {
		return err
	}
	if err := k.file.Close(); err != nil {
		return err
	}
	k.doc.StateSum = k.sum.text()
	// This syncs the directory, and so the name of the content too.
	if err := writeDocument(filepath.Join(k.path, snapshotMeta), k.doc); err != nil {
		return err
	}
	return k.store.gate.check()
}

// checksummer computes the CRC-32C of what is written to it.
type checksummer struct{ crc uint32 }

func (s *checksummer) Write(p []byte) (int, error) {
	s.crc = crc32.Update(s.crc, castagnoli, p)
	return len(p), nil
}

func (s *checksummer) text() string { return fmt.Sprintf("%08x", s.crc) }
