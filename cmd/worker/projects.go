package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// projects is the cache of unpacked projects by the digest of their file: each is downloaded once, verified, unpacked
// read-only and renamed into place as a whole. Before each run its file and all of its parts are verified anew: modes do
// not bind an administrator's account, and what one package did to them must not reach the next one. A copy that was
// changed stays for those that run from it, and is not given to anybody else.
type projects struct {
	dir   string
	limit int64
	fetch func(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error)
	log   *slog.Logger

	mu     sync.Mutex
	turns  map[string]*turn    // by digest, of those that are being acquired
	copies map[string]*project // by name
}

// project is one copy. Whoever holds a reference may read Dir and File; they are not removed meanwhile.
type project struct {
	name   string // of its folder: the digest, with a number where an older copy is still in use
	digest string
	File   string // the project file as it was deployed
	Dir    string // its parts

	parts map[string]part // under its digest's turn; nil: not read from File yet

	// Under projects.mu:
	refs    int
	size    int64
	used    time.Time
	spoiled bool // something changed it
}

// turn lets one call at a time verify or make a project.
type turn struct {
	slot chan struct{} // held by that call

	// Under projects.mu:
	users int
	begun int      // verifications begun
	good  *project // what the latest of them ended with
}

const (
	projectFile = "project.ispac"
	partsDir    = "parts"
	tmpPrefix   = "tmp-"
)

// errProject is a project file that cannot be unpacked, here or elsewhere.
var errProject = errors.New("worker: the project cannot be unpacked")

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nameForm   = regexp.MustCompile(`^([0-9a-f]{64})(-\d+)?$`)
)

func openProjects(dir string, limit int64, fetch func(context.Context, string, func() (io.Writer, error)) (int64, error), log *slog.Logger) (*projects, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	p := &projects{dir: dir, limit: limit, fetch: fetch, log: log, turns: map[string]*turn{}, copies: map[string]*project{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := removeTree(path); err != nil {
				log.Warn("leftover of a download", "path", path, "err", err)
			}
			continue
		}
		if m := nameForm.FindStringSubmatch(e.Name()); m != nil {
			pr := p.at(e.Name(), m[1])
			pr.size = treeSize(path)
			if info, err := e.Info(); err == nil {
				pr.used = info.ModTime()
			}
			p.copies[pr.name] = pr
		}
	}
	return p, nil
}

func (p *projects) at(name, digest string) *project {
	home := filepath.Join(p.dir, name)
	return &project{name: name, digest: digest, File: filepath.Join(home, projectFile), Dir: filepath.Join(home, partsDir)}
}

// hold takes a reference to a copy without verifying it, for an attempt that runs from it already; nil when it is not
// there.
func (p *projects) hold(name string) *project {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.copies[name]
	if pr != nil {
		pr.refs++
	}
	return pr
}

func (p *projects) release(pr *project) {
	p.mu.Lock()
	pr.refs--
	pr.used = time.Now()
	p.mu.Unlock()
	p.shrink()
}

// acquire returns a copy of the project, downloaded when there is none, that was verified after the call began. The
// caller releases it.
func (p *projects) acquire(ctx context.Context, digest string) (*project, error) {
	if !digestForm.MatchString(digest) {
		return nil, fmt.Errorf("%w: %.80q is not a digest; 64 hex digits were expected", errProject, digest)
	}
	p.mu.Lock()
	t := p.turns[digest]
	if t == nil {
		t = &turn{slot: make(chan struct{}, 1)}
		p.turns[digest] = t
	}
	t.users++
	before := t.begun
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(p.turns, digest)
		}
	}()
	select {
	case t.slot <- struct{}{}:
		defer func() { <-t.slot }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	// One verification serves all calls that waited for it: of a large project many may start at once.
	if pr := t.good; pr != nil && t.begun > before && p.copies[pr.name] == pr && !pr.spoiled {
		pr.refs++
		p.mu.Unlock()
		return pr, nil
	}
	t.begun++
	p.mu.Unlock()
	pr, err := p.verified(ctx, digest)
	p.mu.Lock()
	t.good = pr
	p.mu.Unlock()
	return pr, err
}

// verified finds a copy that is as it should be, or makes one. The caller has the digest's turn.
func (p *projects) verified(ctx context.Context, digest string) (*project, error) {
	var spoiled *project
	for {
		pr := p.candidate(digest)
		if pr == nil {
			break
		}
		err := pr.verify()
		if err == nil {
			if spoiled != nil {
				p.release(spoiled)
			}
			return pr, nil
		}
		p.mu.Lock()
		pr.spoiled = true
		others := pr.refs - 1
		p.mu.Unlock()
		p.log.Warn("the unpacked project was changed, perhaps by a package that ran from it; a fresh copy is made of it",
			"project_blob", digest, "err", err, "running_from_it", others)
		if spoiled != nil {
			p.release(spoiled)
		}
		spoiled = pr
	}
	pr, err := p.build(ctx, digest, spoiled)
	if spoiled != nil {
		p.release(spoiled)
	}
	return pr, err
}

// candidate takes a reference to a copy that is not known to be spoiled.
func (p *projects) candidate(digest string) *project {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pr := range p.copies {
		if pr.digest == digest && !pr.spoiled {
			pr.refs++
			return pr
		}
	}
	return nil
}

// build makes a copy and takes a reference to it. The project file is that of the spoiled copy when it is still right.
func (p *projects) build(ctx context.Context, digest string, spoiled *project) (*project, error) {
	tmp, err := os.MkdirTemp(p.dir, tmpPrefix)
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	parts, err := p.fill(ctx, digest, tmp, spoiled)
	if err != nil {
		return nil, errors.Join(err, removeTree(tmp))
	}
	size := treeSize(tmp)
	p.mu.Lock()
	defer p.mu.Unlock()
	name := digest
	for n := 2; !p.free(name); n++ {
		name = digest + "-" + strconv.Itoa(n)
	}
	pr := p.at(name, digest)
	if err := os.Rename(tmp, filepath.Join(p.dir, name)); err != nil {
		return nil, errors.Join(fmt.Errorf("worker: project cache: %w", err), removeTree(tmp))
	}
	pr.parts, pr.size, pr.refs = parts, size, 1
	p.copies[name] = pr
	return pr, nil
}

// free reports whether a copy can have the name. The lock is held.
func (p *projects) free(name string) bool {
	_, err := os.Lstat(filepath.Join(p.dir, name)) // what could not be removed may still lie there
	return p.copies[name] == nil && errors.Is(err, fs.ErrNotExist)
}

// fill puts a verified project file and its parts into a folder.
func (p *projects) fill(ctx context.Context, digest, dir string, spoiled *project) (map[string]part, error) {
	path := filepath.Join(dir, projectFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	defer f.Close()
	if spoiled == nil || copyOf(f, spoiled.File) != nil || right(path, digest) != nil {
		_, err := p.fetch(ctx, digest, func() (io.Writer, error) {
			_, err := f.Seek(0, io.SeekStart)
			return f, errors.Join(err, f.Truncate(0)) // what a master sent wrongly before is forgotten
		})
		if err != nil {
			return nil, fmt.Errorf("worker: download of project %s: %w", digest, err)
		}
		// What is on the disk counts, not what came over the wire.
		if err := right(path, digest); err != nil {
			return nil, fmt.Errorf("worker: download of project %s: %w", digest, err)
		}
	}
	return unpack(f, filepath.Join(dir, partsDir))
}

func right(path, digest string) error {
	got, err := fileDigest(path)
	if err == nil && got != digest {
		err = fmt.Errorf("%s has digest %s instead of %s", projectFile, got, digest)
	}
	return err
}

// shrink removes copies that nothing uses: the spoiled ones, and the longest unused ones until the rest is within the
// limit.
func (p *projects) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var total int64
		var goes *project
		for _, pr := range p.copies {
			total += pr.size
			if pr.refs == 0 && (goes == nil || !goes.spoiled && (pr.spoiled || pr.used.Before(goes.used))) {
				goes = pr
			}
		}
		if goes == nil || total <= p.limit && !goes.spoiled {
			return
		}
		// Out of the map before it is out of the disk: whoever asks for it now makes it anew. The lock is kept, since
		// both use the same path.
		delete(p.copies, goes.name)
		if err := removeTree(filepath.Dir(goes.File)); err != nil {
			p.log.Warn("project cache", "err", err)
		}
	}
}
