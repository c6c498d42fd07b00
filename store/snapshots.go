package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
)

// The library marks a snapshot in the making so.
const snapshotTemp = ".tmp"

// snapshots is the library's file store with what it leaves out: it never removes
// snapshots that were not finished, and it falls back to an older one without asking whether
// the log still follows it.
type snapshots struct {
	*raft.FileSnapshotStore
	path string
	log  *Log
	gate *gate
}

func openSnapshots(dir string, log *Log, g *gate, opt Options) (*snapshots, error) {
	path := filepath.Join(dir, snapshotsName)
	removeLeftovers(path, func(name string) bool { return strings.HasSuffix(name, snapshotTemp) })
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, opt.RetainSnapshots, newHclog(opt.Logger))
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", onDisk(path, err))
	}
	s := &snapshots{FileSnapshotStore: store, path: path, log: log, gate: g}
	return s, s.check()
}

// Create begins a snapshot.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if err := s.gate.check(); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	sink, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		// On a full disk the library leaves behind what it had begun, at each try.
		begun := fmt.Sprintf("%d-%d-", term, index)
		removeLeftovers(s.path, func(name string) bool {
			return strings.HasPrefix(name, begun) && strings.HasSuffix(name, snapshotTemp)
		})
		return nil, fmt.Errorf("snapshot: %w", onDisk(s.path, err))
	}
	// The library makes both files now and later syncs their content, and the directory
	// above; their names in between are left to us.
	made := &sinkGate{SnapshotSink: sink, path: filepath.Join(s.path, sink.ID()+snapshotTemp), gate: s.gate}
	if err := syncDir(made.path); err != nil {
		_ = made.Cancel()
		return nil, fmt.Errorf("snapshot: %w", onDisk(made.path, err))
	}
	return made, nil
}

// Open opens a snapshot whose checksum is right and from which the log goes on, without a hole, at least to
// where the newest snapshot ends. Raft falls back to an older one when the newest is damaged; what this
// node has once acknowledged must not be forgotten on the way.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	path := filepath.Join(s.path, id)
	meta, content, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		return nil, nil, corrupt(path, err.Error())
	}
	newest, err := s.newest()
	if end, whole := s.log.endAfter(meta.Index); err == nil && (!whole || end < newest) {
		err = corrupt(path, fmt.Sprintf(
			"this snapshot ends at entry %d, a newer one at %d, and the log does not lead from one to the other", meta.Index, newest))
	}
	if err != nil {
		content.Close()
		return nil, nil, err
	}
	return meta, content, nil
}

// check refuses a directory whose log begins where no snapshot can lead to.
func (s *snapshots) check() error {
	list, err := s.List()
	if err != nil || len(list) > 0 {
		return err
	}
	newest, err := s.newest()
	if err != nil {
		return err
	}
	if newest > 0 {
		return corrupt(s.path, fmt.Sprintf("a snapshot of entry %d is there and cannot be read", newest))
	}
	first, err := s.log.FirstIndex()
	if err == nil && first > 1 {
		err = corrupt(s.path, fmt.Sprintf("no snapshot, and the log begins at entry %d", first))
	}
	return err
}

// newest is the last entry that any finished snapshot holds, readable or not: the library names the
// directory of each term-index-time.
func (s *snapshots) newest() (index uint64, err error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return 0, fmt.Errorf("snapshots: %w", err)
	}
	for _, e := range entries {
		part := strings.Split(e.Name(), "-")
		if !e.IsDir() || len(part) != 3 || strings.HasSuffix(e.Name(), snapshotTemp) {
			continue
		}
		if n, err := strconv.ParseUint(part[1], 10, 64); err == nil {
			index = max(index, n)
		}
	}
	return index, nil
}

// sinkGate stops a snapshot in the making when the directory is frozen.
type sinkGate struct {
	raft.SnapshotSink
	path string
	gate *gate
}

func (s *sinkGate) Write(p []byte) (int, error) {
	if err := s.gate.check(); err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	n, err := s.SnapshotSink.Write(p)
	return n, onDisk(s.path, err)
}

// Cancel gives up the snapshot. When the disk was full the library gives up half-way and keeps what it
// wrote; the file that it then leaves open frees its space when the garbage collector closes it.
func (s *sinkGate) Cancel() error {
	err := s.SnapshotSink.Cancel()
	return onDisk(s.path, errors.Join(err, os.RemoveAll(s.path)))
}

func (s *sinkGate) Close() error {
	if err := s.gate.check(); err != nil {
		_ = s.Cancel() // closes the file; what it removes, the next Open would
		return fmt.Errorf("snapshot: %w", err)
	}
	err := s.SnapshotSink.Close()
	if err != nil {
		// Gone already when it was the reaping of older ones that failed.
		_ = os.RemoveAll(s.path)
	}
	return onDisk(s.path, err)
}
