package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm/logkey"
	"scaleout/store/file"
)

const (
	snapshotTemp  = ".tmp"
	snapshotMeta  = "meta.json"
	snapshotState = "state.bin"
)

// snapshots are Raft's snapshots, each a directory named term-index-milliseconds. The library's own file store would do
// if disks kept what they are given. It has no checksum over a snapshot's index, term and configuration. It skips a
// snapshot that it cannot read, without a word. It falls back to an older snapshot without asking whether the log still
// follows it. And it reports a finished snapshot as failed if an older one cannot be removed.
type snapshots struct {
	path   string
	retain int
	log    *Log
	gate   *gate
	logger *slog.Logger
	check  func(content io.Reader, index, term uint64) error // nil: the content is not looked into
	sync   func(dir string) error                            // file.SyncDir

	mu      sync.Mutex
	refused map[string]struct{} // found damaged; not listed any more
}

// snapshotDocument is meta.json. The document's own checksum covers all of it.
type snapshotDocument struct {
	raft.SnapshotMeta
	StateSum string `json:"state_crc32c"`
}

// snapshotName is what the name of a snapshot's directory says.
type snapshotName struct {
	id          string
	term, index uint64
	at          int64
}

func parseSnapshotName(id string) (n snapshotName, ok bool) {
	fields := strings.Split(id, "-")
	if len(fields) != 3 {
		return n, false
	}
	var errs [3]error
	n.id = id
	n.term, errs[0] = strconv.ParseUint(fields[0], 10, 64)
	n.index, errs[1] = strconv.ParseUint(fields[1], 10, 64)
	n.at, errs[2] = strconv.ParseInt(fields[2], 10, 64)
	return n, errors.Join(errs[:]...) == nil
}

// openSnapshots refuses a directory from which the state cannot be made whole. A damaged snapshot is passed over only
// if an older one and the log lead to where the damaged one ends.
func openSnapshots(dir string, log *Log, g *gate, opt Options) (*snapshots, error) {
	s := &snapshots{
		path: filepath.Join(dir, snapshotsName), retain: opt.RetainSnapshots, log: log, gate: g, logger: opt.Logger,
		check: opt.CheckSnapshot, sync: file.SyncDir, refused: map[string]struct{}{},
	}
	removeEntries(s.path, func(name string) bool { return strings.HasSuffix(name, snapshotTemp) })
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, n := range names {
		_, content, err := s.Open(n.id)
		if err == nil {
			if len(refused) > 0 {
				s.logger.LogAttrs(context.Background(), slog.LevelError,
					"a damaged snapshot is passed over; an older one and the log hold all that was in it",
					slog.String(logkey.Snapshot, n.id), slog.Any(logkey.Err, errors.Join(refused...)))
			}
			return s, content.Close()
		}
		refused = append(refused, fmt.Errorf("the snapshot of entry %d: %w", n.index, err))
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("snapshots: none of the %d can be used: %w", len(names), errors.Join(refused...))
	}
	first, err := log.FirstIndex()
	if err != nil {
		return nil, err
	}
	if first > 1 {
		return nil, corrupt(s.path, fmt.Sprintf("no snapshot, and the log begins at entry %d", first))
	}
	if end, whole := log.endAfter(0); !whole {
		return nil, corrupt(log.path, fmt.Sprintf("the log ends at entry %d and has a hole before it", end))
	}
	return s, nil
}

// names returns the finished snapshots, readable or not, in Raft's order: the newest first.
func (s *snapshots) names() ([]snapshotName, error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var names []snapshotName
	for _, e := range entries {
		if n, ok := parseSnapshotName(e.Name()); ok && e.IsDir() {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b snapshotName) int {
		return cmp.Or(cmp.Compare(b.term, a.term), cmp.Compare(b.index, a.index), cmp.Compare(b.at, a.at))
	})
	return names, nil
}

// end returns the last entry that any finished snapshot holds, readable or not.
func (s *snapshots) end() (index uint64, err error) {
	names, err := s.names()
	for _, n := range names {
		index = max(index, n.index)
	}
	return index, err
}

// List returns the snapshots that are not known to be damaged, the newest first.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	var list []*raft.SnapshotMeta
	for _, n := range names {
		if s.isRefused(n.id) {
			continue
		}
		d, err := s.document(n)
		if err != nil {
			s.refuse(n.id, err)
			continue
		}
		if list = append(list, &d.SnapshotMeta); len(list) == s.retain {
			break
		}
	}
	return list, nil
}

func (s *snapshots) isRefused(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, refused := s.refused[id]
	return refused
}

// refuse takes a snapshot off the list if it is damaged, but not if it merely could not be read this time.
func (s *snapshots) refuse(id string, err error) {
	if !errors.Is(err, ErrCorrupt) {
		return
	}
	s.mu.Lock()
	_, before := s.refused[id]
	s.refused[id] = struct{}{}
	s.mu.Unlock()
	if !before {
		s.logger.LogAttrs(context.Background(), slog.LevelError, "a snapshot is refused", slog.String(logkey.Snapshot, id),
			slog.Any(logkey.Err, err))
	}
}

// document reads meta.json. Its numbers and the directory's name must agree, because the name is all that is known of a
// snapshot with a damaged document, and then the name says how far this node once was.
func (s *snapshots) document(n snapshotName) (d snapshotDocument, err error) {
	path := filepath.Join(s.path, n.id, snapshotMeta)
	found, err := readDocument(path, &d)
	switch {
	case err != nil:
		return d, err
	case !found:
		return d, corrupt(path, "missing")
	case d.ID != n.id || d.Index != n.index || d.Term != n.term:
		return d, corrupt(path, fmt.Sprintf("it is of snapshot %q, entry %d, term %d, and its directory is named %s",
			d.ID, d.Index, d.Term, n.id))
	case d.Version < raft.SnapshotVersionMin || d.Version > raft.SnapshotVersionMax:
		return d, corrupt(path, fmt.Sprintf("it has version %d, this program reads %d to %d",
			d.Version, raft.SnapshotVersionMin, raft.SnapshotVersionMax))
	}
	return d, nil
}

// Open opens a snapshot. It refuses one whose name, document and content do not agree or are damaged, and one from
// which the log does not lead, without a hole, at least to where the newest snapshot ends: what this node has once
// acknowledged must not be forgotten when Raft falls back to an older snapshot.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, content, err := s.open(id)
	if err != nil {
		s.refuse(id, err)
		return nil, nil, err
	}
	newest, err := s.end()
	if end, whole := s.log.endAfter(meta.Index); err == nil && (!whole || end < newest) {
		err = corrupt(filepath.Join(s.path, id), fmt.Sprintf(
			"this snapshot ends at entry %d, a newer one at %d, and the log does not lead from one to the other",
			meta.Index, newest))
	}
	if err != nil {
		content.Close()
		return nil, nil, err
	}
	return meta, content, nil
}

func (s *snapshots) open(id string) (_ *raft.SnapshotMeta, _ io.ReadCloser, err error) {
	n, ok := parseSnapshotName(id)
	if !ok {
		return nil, nil, fmt.Errorf("snapshot %q: want a name of term, index and time", id)
	}
	d, err := s.document(n)
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(s.path, id, snapshotState)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, corrupt(path, "missing")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	sum := &checksummer{}
	size, err := io.Copy(sum, f)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshot: %w", err)
	}
	if size != d.Size || sum.text() != d.StateSum {
		return nil, nil, corrupt(path, fmt.Sprintf("%d bytes with checksum %s, want %d with %s",
			size, sum.text(), d.Size, d.StateSum))
	}
	if s.check != nil {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, nil, fmt.Errorf("snapshot: %w", err)
		}
		if err := s.check(f, d.Index, d.Term); err != nil {
			return nil, nil, corrupt(path, err.Error())
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, fmt.Errorf("snapshot: %w", err)
	}
	return &d.SnapshotMeta, f, nil
}

// reap removes the snapshots that are not needed once a new one is there: all but the newest usable ones, and damaged
// ones that are older. A snapshot that cannot be removed costs room and nothing else.
func (s *snapshots) reap() {
	names, err := s.names()
	if err != nil {
		s.logger.LogAttrs(context.Background(), slog.LevelWarn, "old snapshots could not be looked for",
			slog.String(logkey.Path, s.path), slog.Any(logkey.Err, err))
		return
	}
	kept := 0
	for _, n := range names {
		if kept < s.retain && !s.isRefused(n.id) {
			kept++
			continue
		}
		if kept == 0 {
			continue // damaged and newer than all usable ones: its name says how far this node was
		}
		if err := os.RemoveAll(filepath.Join(s.path, n.id)); err != nil {
			s.logger.LogAttrs(context.Background(), slog.LevelWarn,
				"an old snapshot could not be removed; it is tried again with the next one", slog.String(logkey.Snapshot, n.id),
				slog.Any(logkey.Err, err))
		}
	}
}

// Create begins a snapshot.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if err := s.gate.check(); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("snapshot of version %d: this program writes version %d", version, raft.SnapshotVersionMax)
	}
	k := &sink{store: s}
	for at := time.Now().UnixMilli(); ; at++ {
		k.doc.SnapshotMeta = raft.SnapshotMeta{
			Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, at), Index: index, Term: term,
			Configuration: configuration.Clone(), ConfigurationIndex: configurationIndex,
		}
		k.path = filepath.Join(s.path, k.doc.ID+snapshotTemp)
		if _, err := os.Lstat(filepath.Join(s.path, k.doc.ID)); err == nil {
			continue
		}
		err := os.Mkdir(k.path, 0o700)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", onDisk(s.path, err))
		}
		break
	}
	var err error
	k.file, err = os.OpenFile(filepath.Join(k.path, snapshotState), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot: %w", onDisk(s.path, err)), os.RemoveAll(k.path))
	}
	return k, nil
}
