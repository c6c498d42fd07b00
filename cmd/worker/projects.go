package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"scaleout/fsm/ispac"
)

// projects is the cache of unpacked projects by the digest of their file: each is downloaded once, verified, unpacked
// read-only and renamed into place as a whole.
type projects struct {
	dir   string
	limit int64
	fetch func(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error)
	log   *slog.Logger

	mu      sync.Mutex
	entries map[string]*project
}

// project is one entry. Whoever holds a reference may read Dir and File; they are not removed meanwhile.
type project struct {
	digest string
	File   string // the project file as it was deployed
	Dir    string // its parts

	turn  chan struct{} // held while it is being made ready
	ready bool          // under turn
	noted bool          // under turn: that a package changed it
	refs  int           // under projects.mu, like the rest
	size  int64
	used  time.Time
}

const (
	projectFile = "project.ispac"
	partsDir    = "parts"
	listFile    = "parts.json"
	tmpPrefix   = "tmp-"
)

// errProject is a project file that cannot be unpacked, here or elsewhere.
var errProject = errors.New("worker: the project cannot be unpacked")

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func openProjects(dir string, limit int64, fetch func(context.Context, string, func() (io.Writer, error)) (int64, error), log *slog.Logger) (*projects, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	p := &projects{dir: dir, limit: limit, fetch: fetch, log: log, entries: map[string]*project{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), tmpPrefix):
			if err := removeTree(path); err != nil {
				log.Warn("leftover of a download", "path", path, "err", err)
			}
		case digestForm.MatchString(e.Name()):
			pr := p.entry(e.Name())
			pr.size = treeSize(path)
			if info, err := e.Info(); err == nil {
				pr.used = info.ModTime()
			}
		}
	}
	p.shrink()
	return p, nil
}

func (p *projects) entry(digest string) *project {
	pr := p.entries[digest]
	if pr == nil {
		home := filepath.Join(p.dir, digest)
		pr = &project{
			digest: digest, turn: make(chan struct{}, 1),
			File: filepath.Join(home, projectFile), Dir: filepath.Join(home, partsDir),
		}
		p.entries[digest] = pr
	}
	return pr
}

// hold takes a reference without looking whether the project is there: for attempts that run from it already.
func (p *projects) hold(digest string) *project {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.entry(digest)
	pr.refs++
	return pr
}

func (p *projects) release(pr *project) {
	p.mu.Lock()
	pr.refs--
	pr.used = time.Now()
	p.mu.Unlock()
	p.shrink()
}

// acquire returns the project, downloaded when it is not here. The caller releases it.
func (p *projects) acquire(ctx context.Context, digest string) (*project, error) {
	if !digestForm.MatchString(digest) {
		return nil, fmt.Errorf("%w: %.80q is not a digest; 64 hex digits were expected", errProject, digest)
	}
	pr := p.hold(digest)
	err := p.prepare(ctx, pr)
	if err != nil {
		p.release(pr)
		return nil, err
	}
	return pr, nil
}

func (p *projects) prepare(ctx context.Context, pr *project) error {
	select {
	case pr.turn <- struct{}{}:
		defer func() { <-pr.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	home := filepath.Dir(pr.File)
	if !pr.ready {
		sum, err := fileDigest(pr.File)
		if pr.ready = err == nil && sum == pr.digest; !pr.ready && !errors.Is(err, fs.ErrNotExist) {
			p.log.Warn("a cached project is damaged and is downloaded again", "project_blob", pr.digest, "err", err)
		}
	}
	if pr.ready {
		return p.renew(pr)
	}
	if err := removeTree(home); err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	tmp, err := os.MkdirTemp(p.dir, tmpPrefix)
	if err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	if err := p.download(ctx, pr.digest, tmp); err != nil {
		return errors.Join(err, removeTree(tmp))
	}
	if err := os.Rename(tmp, home); err != nil {
		return errors.Join(fmt.Errorf("worker: project cache: %w", err), removeTree(tmp))
	}
	size := treeSize(home)
	p.mu.Lock()
	pr.size = size
	p.mu.Unlock()
	pr.ready = true
	return nil
}

func (p *projects) download(ctx context.Context, digest, tmp string) error {
	path := filepath.Join(tmp, projectFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	defer f.Close()
	size, err := p.fetch(ctx, digest, func() (io.Writer, error) {
		_, err := f.Seek(0, io.SeekStart)
		return f, errors.Join(err, f.Truncate(0)) // what a master sent wrongly before is forgotten
	})
	if err != nil {
		return fmt.Errorf("worker: download of project %s: %w", digest, err)
	}
	// What is on the disk counts, not what came over the wire.
	if sum, err := fileDigest(path); err != nil || sum != digest {
		return fmt.Errorf("worker: download of project %s: the file has digest %s (%v)", digest, sum, err)
	}
	return unpack(f, size, filepath.Join(tmp, partsDir))
}

// renew unpacks the project again when something changed its parts. File modes do not bind an administrator's account,
// and what one package did to the parts must not reach the next one.
func (p *projects) renew(pr *project) error {
	home := filepath.Dir(pr.File)
	have, err := json.Marshal(listParts(pr.Dir))
	want, rerr := os.ReadFile(filepath.Join(home, listFile))
	if err == nil && rerr == nil && bytes.Equal(have, want) {
		return nil
	}
	p.mu.Lock()
	others := pr.refs - 1
	p.mu.Unlock()
	if others > 0 {
		if pr.noted {
			return nil
		}
		pr.noted = true
		p.log.Error("a package changed the project that it runs from; others run from it, so it cannot be renewed now", "project_blob", pr.digest)
		return nil
	}
	pr.noted = false
	p.log.Warn("a package changed the project that it ran from; it is unpacked again", "project_blob", pr.digest)
	f, err := os.Open(pr.File)
	if err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = errors.Join(os.Chmod(home, 0o700), removeTree(pr.Dir))
	}
	if err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	return unpack(f, info.Size(), pr.Dir)
}

// unpack writes the parts of a project, read-only: packages that run at the same time share them. Beside them stands
// what they were like.
func unpack(f *os.File, size int64, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	err := ispac.Extract(f, size, ispac.Options{}, func(name string, _ int64, r io.Reader) error {
		part, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
		if err != nil {
			return err
		}
		_, err = io.Copy(part, r)
		return errors.Join(err, part.Close())
	})
	var bad *ispac.PartError
	if errors.As(err, &bad) {
		return fmt.Errorf("%w: %w", errProject, err)
	}
	var list []byte
	if err == nil {
		list, err = json.Marshal(listParts(dir))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(dir), listFile), list, 0o600)
	}
	if err == nil {
		err = errors.Join(os.Chmod(f.Name(), 0o400), os.Chmod(dir, 0o500))
	}
	if err != nil {
		return fmt.Errorf("worker: project cache: %w", err)
	}
	return nil
}

// partInfo is what a part looks like from outside.
type partInfo struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
}

func listParts(dir string) []partInfo {
	list := []partInfo{}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return nil
		}
		if info, err := d.Info(); err == nil {
			name, _ := filepath.Rel(dir, path)
			list = append(list, partInfo{name, info.Size(), info.ModTime().UnixNano()})
		}
		return nil
	})
	return list
}

// shrink removes projects that nothing uses, the longest unused first, until the rest is within the limit.
func (p *projects) shrink() {
	for {
		p.mu.Lock()
		var total int64
		var oldest *project
		for _, pr := range p.entries {
			total += pr.size
			if pr.refs == 0 && (oldest == nil || pr.used.Before(oldest.used)) {
				oldest = pr
			}
		}
		if total <= p.limit || oldest == nil {
			p.mu.Unlock()
			return
		}
		// Out of the map before it is out of the disk: whoever asks for it now makes it anew. The lock is kept, since
		// both use the same path.
		delete(p.entries, oldest.digest)
		err := removeTree(filepath.Dir(oldest.File))
		p.mu.Unlock()
		if err != nil {
			p.log.Warn("project cache", "err", err)
		}
	}
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func treeSize(dir string) (size int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// removeTree removes a folder whose parts may be read-only.
func removeTree(dir string) error {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
