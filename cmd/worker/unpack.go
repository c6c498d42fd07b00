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

// part is the size and digest that a part of a project must have. They come from the verified project file and are kept
// in memory only: a package could change a file beside the parts as well as the parts.
type part struct {
	size   int64
	digest string
}

// readParts reads the parts of a project file and writes each to the file that create returns for it.
func readParts(f *os.File, create func(name string) (io.WriteCloser, error)) (map[string]part, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("worker: project cache: %w", err)
	}
	parts := map[string]part{}
	err = ispac.Extract(f, info.Size(), ispac.Options{}, func(name string, _ int64, r io.Reader) error {
		file, err := create(name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		size, err := io.Copy(io.MultiWriter(file, sum), r)
		parts[name] = part{size, hex.EncodeToString(sum.Sum(nil))}
		return errors.Join(err, file.Close())
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

// unpack writes the parts of a project as read-only files: packages that run at the same time share them.
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

// verify reads the whole copy: the project file must have the digest, and the folder must contain the file's parts and
// nothing else. The caller holds the digest's acquisition.
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
		if pr.parts, err = readParts(f, func(string) (io.WriteCloser, error) { return discard{}, nil }); err != nil {
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
			return fmt.Errorf("the folder contains %q, which is no part of the project", e.Name())
		}
		if info, err := e.Info(); err != nil {
			return err
		} else if !info.Mode().IsRegular() || info.Size() != want.size {
			return fmt.Errorf("the part %q has another kind or size", e.Name())
		}
		if got, err := fileDigest(filepath.Join(pr.Dir, e.Name())); err != nil {
			return err
		} else if got != want.digest {
			return fmt.Errorf("the part %q has other content", e.Name())
		}
	}
	if len(entries) < len(pr.parts) {
		return fmt.Errorf("%d of the %d parts are there", len(entries), len(pr.parts))
	}
	return nil
}

// discard is a file that keeps nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

func copyFile(to *os.File, path string) error {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fs.ErrInvalid)
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

func fileDigest(path string) (string, error) {
	// Opening a pipe in its place would block.
	if info, err := os.Lstat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", filepath.Base(path))
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

// removeTree removes a folder that may contain read-only files and folders.
func removeTree(dir string) error {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
