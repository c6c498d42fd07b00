package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"scaleout/fsm/ispac"
)

// part is what a part of a project must be. It is known from the verified project file and lives in memory alone: a
// package could change whatever lies beside the parts as well.
type part struct {
	size   int64
	digest string
}

// readParts visits the parts of a project file; a part that write makes no place for is only read.
func readParts(f *os.File, write func(name string) (io.WriteCloser, error)) (map[string]part, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	parts := map[string]part{}
	err = ispac.Extract(f, info.Size(), ispac.Options{}, func(name string, _ int64, r io.Reader) error {
		place, err := write(name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		size, err := io.Copy(io.MultiWriter(place, sum), r)
		parts[name] = part{size, hex.EncodeToString(sum.Sum(nil))}
		return errors.Join(err, place.Close())
	})
	var bad *ispac.PartError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("%w: %w", errProject, err)
	}
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	return parts, nil
}

// unpack writes the parts of a project, read-only: packages that run at the same time share them.
func unpack(f *os.File, dir string) (map[string]part, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	parts, err := readParts(f, func(name string) (io.WriteCloser, error) {
		return os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(f.Name(), 0o400), os.Chmod(dir, 0o500)); err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	return parts, nil
}

// verify reads the whole copy: its file must have the digest, and the folder hold the file's parts and nothing else. The
// caller has the digest's turn.
func (pr *project) verify() error {
	got, err := fileDigest(pr.File)
	if err != nil {
		return err
	}
	if got != pr.digest {
		return fmt.Errorf("%s has digest %s", projectFile, got)
	}
	if pr.parts == nil {
		f, err := os.Open(pr.File)
		if err != nil {
			return err
		}
		defer f.Close()
		if pr.parts, err = readParts(f, func(string) (io.WriteCloser, error) { return nowhere{}, nil }); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(pr.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		want, ok := pr.parts[e.Name()]
		if !ok {
			return fmt.Errorf("it holds %q, which is no part of it", e.Name())
		}
		if info, err := e.Info(); err != nil {
			return err
		} else if !info.Mode().IsRegular() || info.Size() != want.size {
			return fmt.Errorf("its part %q has another kind or size", e.Name())
		}
		if got, err := fileDigest(filepath.Join(pr.Dir, e.Name())); err != nil {
			return err
		} else if got != want.digest {
			return fmt.Errorf("its part %q has another content", e.Name())
		}
	}
	if len(entries) < len(pr.parts) {
		return fmt.Errorf("%d of its %d parts are there", len(entries), len(pr.parts))
	}
	return nil
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

func copyOf(f *os.File, path string) error {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fs.ErrInvalid)
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(f, from)
	return err
}

func fileDigest(path string) (string, error) {
	// A pipe in its place would be waited for.
	if info, err := os.Lstat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", filepath.Base(path))
	}
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
