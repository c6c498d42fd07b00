package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"scaleout/cmd/worker/logger"
	"scaleout/fsm/ispac"
)

var discardLog = logger.New(slog.New(slog.DiscardHandler))

// cached is a project cache whose masters have one project.
type cached struct {
	*projects
	t       *testing.T
	digest  string
	fetched int
}

var cachedParts = map[string]string{"p.sh": "echo the right thing\n", "helper.py": "pass\n"}

// projectOf returns a project file whose packages are these parts, and its digest.
func projectOf(t testing.TB, parts map[string]string) (file []byte, digest string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(parts))
	d := ispac.Definition{Name: "P"}
	for _, name := range names {
		d.Packages = append(d.Packages, ispac.PackageDefinition{Name: name})
	}
	p, err := d.Project(func() string { return "6F9619FF-8B86-D011-B42D-00C04FC964FF" }, names)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = ispac.Write(&b, p, func(part string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(parts[part])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return b.Bytes(), hex.EncodeToString(sum[:])
}

func cache(t *testing.T, dir string) *cached {
	t.Helper()
	file, digest := projectOf(t, cachedParts)
	c := &cached{t: t, digest: digest}
	fetch := func(_ context.Context, _ string, create func() (io.Writer, error)) (int64, error) {
		c.fetched++
		w, err := create()
		if err != nil {
			return 0, err
		}
		n, err := w.Write(file)
		return int64(n), err
	}
	var err error
	if c.projects, err = openProjects(dir, 1<<30, fetch, discardLog); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cached) get() *project {
	c.t.Helper()
	pr, err := c.acquire(c.t.Context(), c.digest)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, want := range cachedParts {
		if got, err := os.ReadFile(filepath.Join(pr.Dir, name)); err != nil || string(got) != want {
			c.t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if got, err := fileDigest(pr.File); err != nil || got != c.digest {
		c.t.Errorf("the project file has digest %s, %v", got, err)
	}
	if err := pr.verify(); err != nil {
		c.t.Error(err)
	}
	return pr
}

// Whatever a package did to what lies in the cache, the next one runs what was deployed. Those that run meanwhile keep
// what they run from.
func TestWhatIsRunIsWhatWasVerified(t *testing.T) {
	// replace gives a file other content of the same size and time.
	replace := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		raw[len(raw)/2] ^= 1
		if err := os.Chmod(path, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, raw, 0); err != nil {
			return err
		}
		return os.Chtimes(path, info.ModTime(), info.ModTime())
	}
	for name, change := range map[string]func(pr *project) error{
		"a part of the same size and time": func(pr *project) error { return replace(filepath.Join(pr.Dir, "p.sh")) },
		"the project file":                 func(pr *project) error { return replace(pr.File) },
		"a part grows": func(pr *project) error {
			return os.Truncate(filepath.Join(pr.Dir, "helper.py"), 1<<40) // nothing that is worth reading
		},
		"one file more": func(pr *project) error {
			return os.WriteFile(filepath.Join(pr.Dir, "sitecustomize.py"), nil,
				0o600)
		},
		"one folder more": func(pr *project) error { return os.Mkdir(filepath.Join(pr.Dir, "json"), 0o700) },
		"one part less":   func(pr *project) error { return os.Remove(filepath.Join(pr.Dir, "helper.py")) },
		"no parts":        func(pr *project) error { return removeTree(pr.Dir) },
		"no project file": func(pr *project) error { return os.Remove(pr.File) },
		"nothing":         func(pr *project) error { return nil },
		"a link elsewhere": func(pr *project) error {
			path := filepath.Join(pr.Dir, "p.sh")
			elsewhere := filepath.Join(filepath.Dir(filepath.Dir(pr.Dir)), "elsewhere")
			return errors.Join(os.Rename(path, elsewhere), os.Symlink(elsewhere, path))
		},
	} {
		for _, when := range []string{"used by nobody", "used by another", "after a restart"} {
			t.Run(name+"/"+when, func(t *testing.T) {
				dir := t.TempDir()
				t.Cleanup(func() { removeTree(dir) })
				c := cache(t, dir)
				first := c.get()
				if when != "used by another" {
					c.release(first)
				}
				unlock(t, first)
				if err := change(first); err != nil {
					t.Skip(err) // not possible on this system
				}
				if when == "after a restart" {
					c = cache(t, dir)
				}
				second := c.get()
				if when == "used by another" {
					if _, err := os.Stat(filepath.Dir(first.File)); err != nil {
						t.Errorf("removed under a package that runs from it: %v", err)
					}
					if name != "nothing" && second == first {
						t.Error("the changed copy was given out")
					}
					c.release(first)
				}
				c.release(second)
				if left, err := os.ReadDir(dir); err != nil || len(c.copies) != 1 || len(left) > 2 {
					t.Errorf("%d copies, %d files are left, %v", len(c.copies), len(left), err)
				}
				if strings.Contains(name, "part") && c.fetched > 1 {
					t.Errorf("downloaded %d times, though the project file was right", c.fetched)
				}
			})
		}
	}
}

// A copy that another process's attempt runs from is not taken away, whichever it is.
func TestAHeldCopyStays(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { removeTree(dir) })
	c := cache(t, dir)
	first := c.get()
	unlock(t, first)
	if err := os.WriteFile(filepath.Join(first.Dir, "more"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := c.get()
	c = cache(t, dir)
	c.limit = 1
	held := c.reference(second.name)
	if held == nil || c.reference("0000") != nil {
		t.Fatal("not found, or what is not there was")
	}
	c.shrink()
	if len(c.copies) != 1 || c.copies[second.name] != held {
		t.Errorf("%v are left", c.copies)
	}
	if pr := c.get(); pr != held {
		t.Error("a right copy was not used")
	}
}

// Of many that start at once, those that waited share a verification.
func TestManyAcquireAtOnce(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { removeTree(dir) })
	c := cache(t, dir)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { c.release(c.get()) })
	}
	wg.Wait()
	if c.fetched != 1 || len(c.copies) != 1 || len(c.acquisitions) != 0 {
		t.Errorf("downloaded %d times, %d copies, %d acquisitions", c.fetched, len(c.copies), len(c.acquisitions))
	}
	for _, pr := range c.copies {
		if pr.refs != 0 {
			t.Errorf("%d references are left", pr.refs)
		}
	}
}

// unlock lets this account, which may not be root, do what root could.
func unlock(t *testing.T, pr *project) {
	t.Helper()
	filepath.WalkDir(filepath.Dir(pr.File), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
}
