package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"scaleout/store/file"
)

// CopyDir copies the data directory at path to dest, for safe keeping before something is done to
// it that cannot be undone. It refuses while a process uses the directory (ErrLocked), and if dest
// exists. The copy gets the name dest as the last step, when it is complete and durable.
func CopyDir(path, dest string) (err error) {
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if dest, err = filepath.Abs(dest); err != nil {
		return fmt.Errorf("copy of data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, nodeName)); err != nil {
		return fmt.Errorf("%s is not a data directory: %w", path, err)
	}
	above := ".." + string(filepath.Separator)
	if rel, err := filepath.Rel(path, dest); err == nil && rel != ".." && !strings.HasPrefix(rel, above) {
		return fmt.Errorf("copy of data directory: %s is inside %s; name a place outside", dest, path)
	}
	if _, err := os.Lstat(dest); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("copy of data directory: %s: %w", dest, err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release(true)) }()

	if err := makeDir(filepath.Dir(dest)); err != nil {
		return fmt.Errorf("copy of data directory: %w", err)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dest), filepath.Base(dest)+".partial-")
	if err != nil {
		return fmt.Errorf("copy of data directory: %w", onDisk(dest, err))
	}
	err = copyTree(path, partial)
	if err == nil {
		err = file.Rename(partial, dest)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("copy of data directory: %w", onDisk(dest, err)), os.RemoveAll(partial))
	}
	return nil
}

// copyTree copies the content of a directory into another one that exists.
func copyTree(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.IsDir():
			if err := os.Mkdir(dst, 0o700); err != nil {
				return err
			}
			err = copyTree(src, dst)
		case e.Type()&fs.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(src); err == nil {
				err = os.Symlink(target, dst)
			}
		case e.Type().IsRegular() && !isLockFile(src):
			err = copyFile(src, dst)
		}
		if err != nil {
			return err
		}
	}
	return file.SyncDir(to)
}

// isLockFile reports whether a file is the lock of a data directory. It is not copied: it says nothing about the copy,
// and Windows would not let it be read.
func isLockFile(path string) bool { return filepath.Base(path) == lockName }

// copyFile copies content, mode and times: the modification time of a blob is its touch time.
func copyFile(src, dst string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = os.Chtimes(dst, st.ModTime(), st.ModTime())
	}
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}
