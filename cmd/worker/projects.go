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

	"scaleout/cmd/worker/logger"
	"scaleout/fsm/logkey"
)

// projects is the cache of unpacked projects by the digest of their file. Each project is downloaded once, verified,
// unpacked read-only and renamed into place as a whole. Before each run its file and all of its parts are verified
// again: file modes do not stop an administrator's account, and what one package changed must not reach the next one. A
// changed copy stays for the packages that run from it, and no other package gets it.
type projects struct {
	dir   string
	limit int64
	fetch fetchFunc
	log   logger.Logger

	mu           sync.Mutex
	acquisitions map[string]*acquisition // by digest
	copies       map[string]*project     // by name
}

// fetchFunc downloads the blob with a digest; see client.GetBlob.
type fetchFunc = func(ctx context.Context, digest string, create func() (io.Writer, error)) (int64, error)

// project is one unpacked copy of a project. Its file and its parts are not removed while somebody holds a reference.
type project struct {
	name   string // of its folder: the digest, and a number if an older copy is still in use
	digest string
	File   string // the path of the project file as it was deployed
	Dir    string // the folder of its parts

	parts map[string]part // guarded by the digest's acquisition; nil: not read from File yet

	// Guarded by projects.mu:
	refs    int
	size    int64
	used    time.Time
	changed bool // something changed its files
}

// acquisition lets one call at a time verify or make a copy of one project.
type acquisition struct {
	slot chan struct{} // held by that call

	// Guarded by projects.mu:
	users    int
	started  int      // how many verifications have started
	verified *project // the result of the latest one
}

const (
	projectFile = "project.ispac"
	partsDir    = "parts"
	tmpPrefix   = "tmp-"
)

// errProject means that no worker can unpack the project file.
var errProject = errors.New("worker: the project cannot be unpacked")

var (
	digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	namePattern   = regexp.MustCompile(`^([0-9a-f]{64})(-\d+)?$`)
)

func openProjects(dir string, limit int64, fetch fetchFunc, log logger.Logger) (*projects, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	p := &projects{
		dir: dir, limit: limit, fetch: fetch, log: log,
		acquisitions: map[string]*acquisition{}, copies: map[string]*project{},
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := removeTree(path); err != nil {
				log.Warn("what an interrupted download left cannot be removed", slog.String(logkey.Path, path), logger.Err(err))
			}
			continue
		}
		if m := namePattern.FindStringSubmatch(e.Name()); m != nil {
			pr := p.newProject(e.Name(), m[1])
			pr.size = treeSize(path)
			if info, err := e.Info(); err == nil {
				pr.used = info.ModTime()
			}
			p.copies[pr.name] = pr
		}
	}
	return p, nil
}

func (p *projects) newProject(name, digest string) *project {
	folder := filepath.Join(p.dir, name)
	return &project{
		name: name, digest: digest, File: filepath.Join(folder, projectFile), Dir: filepath.Join(folder, partsDir),
	}
}

// reference takes a reference to a copy without verifying it, for an attempt that already runs from it. It returns nil
// if there is no such copy.
func (p *projects) reference(name string) *project {
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

// acquire returns a copy of the project that was verified after the call began, and downloads the project if need be.
// The caller releases the copy.
func (p *projects) acquire(ctx context.Context, digest string) (*project, error) {
	if !digestPattern.MatchString(digest) {
		return nil, fmt.Errorf("%w: %.80q is not a digest; 64 hex digits were expected", errProject, digest)
	}
	p.mu.Lock()
	q := p.acquisitions[digest]
	if q == nil {
		q = &acquisition{slot: make(chan struct{}, 1)}
		p.acquisitions[digest] = q
	}
	q.users++
	before := q.started
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(p.acquisitions, digest)
		}
	}()
	select {
	case q.slot <- struct{}{}:
		defer func() { <-q.slot }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	// One verification serves all calls that waited while it started: many packages of a large project may start at once.
	if pr := q.verified; pr != nil && q.started > before && p.copies[pr.name] == pr && !pr.changed {
		pr.refs++
		p.mu.Unlock()
		return pr, nil
	}
	q.started++
	p.mu.Unlock()
	pr, err := p.findOrMake(ctx, digest)
	p.mu.Lock()
	q.verified = pr
	p.mu.Unlock()
	return pr, err
}

// findOrMake returns a verified copy: an existing one, or a new one. The caller holds the digest's acquisition.
func (p *projects) findOrMake(ctx context.Context, digest string) (*project, error) {
	var changed *project
	for {
		pr := p.candidate(digest)
		if pr == nil {
			break
		}
		err := pr.verify()
		if err == nil {
			if changed != nil {
				p.release(changed)
			}
			return pr, nil
		}
		p.mu.Lock()
		pr.changed = true
		others := pr.refs - 1
		p.mu.Unlock()
		p.log.Warn("an unpacked project was changed, perhaps by a package that ran from it; a fresh copy is made",
			slog.String(logkey.Blob, digest), logger.Err(err), slog.Int(logkey.Running, others))
		if changed != nil {
			p.release(changed)
		}
		changed = pr
	}
	pr, err := p.makeCopy(ctx, digest, changed)
	if changed != nil {
		p.release(changed)
	}
	return pr, err
}

// candidate takes a reference to a copy that is not known to be changed.
func (p *projects) candidate(digest string) *project {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pr := range p.copies {
		if pr.digest == digest && !pr.changed {
			pr.refs++
			return pr
		}
	}
	return nil
}

// makeCopy makes a copy and takes a reference to it. It reuses the project file of the changed copy if that file still
// has the digest.
func (p *projects) makeCopy(ctx context.Context, digest string, changed *project) (*project, error) {
	tmp, err := os.MkdirTemp(p.dir, tmpPrefix)
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	parts, err := p.writeCopy(ctx, digest, tmp, changed)
	if err != nil {
		return nil, errors.Join(err, removeTree(tmp))
	}
	size := treeSize(tmp)
	p.mu.Lock()
	defer p.mu.Unlock()
	name := digest
	for n := 2; !p.isFree(name); n++ {
		name = digest + "-" + strconv.Itoa(n)
	}
	pr := p.newProject(name, digest)
	if err := os.Rename(tmp, filepath.Join(p.dir, name)); err != nil {
		return nil, errors.Join(fmt.Errorf("worker: project cache: %w", err), removeTree(tmp))
	}
	pr.parts, pr.size, pr.refs = parts, size, 1
	p.copies[name] = pr
	return pr, nil
}

// isFree reports whether a new copy can have the name. The caller holds the lock.
func (p *projects) isFree(name string) bool {
	_, err := os.Lstat(filepath.Join(p.dir, name)) // a folder that could not be removed may still be there
	return p.copies[name] == nil && errors.Is(err, fs.ErrNotExist)
}

// writeCopy writes a verified project file and its parts into a folder.
func (p *projects) writeCopy(ctx context.Context, digest, dir string, changed *project) (map[string]part, error) {
	path := filepath.Join(dir, projectFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	defer f.Close()
	if changed == nil || copyFile(f, changed.File) != nil || checkDigest(path, digest) != nil {
		_, err := p.fetch(ctx, digest, func() (io.Writer, error) {
			_, err := f.Seek(0, io.SeekStart)
			return f, errors.Join(err, f.Truncate(0)) // an earlier attempt may have written wrong content
		})
		if err != nil {
			return nil, fmt.Errorf("worker: download of project %s: %w", digest, err)
		}
		// The content on the disk is verified, not only what came over the network.
		if err := checkDigest(path, digest); err != nil {
			return nil, fmt.Errorf("worker: download of project %s: %w", digest, err)
		}
	}
	return unpack(f, filepath.Join(dir, partsDir))
}

func checkDigest(path, digest string) error {
	got, err := fileDigest(path)
	if err == nil && got != digest {
		err = fmt.Errorf("%s has digest %s instead of %s", projectFile, got, digest)
	}
	return err
}

// shrink removes unused copies: every changed one, and those that were unused for longest until the rest is within the
// limit.
func (p *projects) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var total int64
		var victim *project
		for _, pr := range p.copies {
			total += pr.size
			if pr.refs == 0 && (victim == nil || !victim.changed && (pr.changed || pr.used.Before(victim.used))) {
				victim = pr
			}
		}
		if victim == nil || total <= p.limit && !victim.changed {
			return
		}
		// The copy leaves the map first, so that a later call makes a new one. The lock is kept during the removal, since
		// both copies would have the same path.
		delete(p.copies, victim.name)
		if err := removeTree(filepath.Dir(victim.File)); err != nil {
			p.log.Warn("an unused project copy cannot be removed", logger.Err(err))
		}
	}
}
