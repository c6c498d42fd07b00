package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// temporaryMark stands between a file's name and something random while the file is being written.
const temporaryMark = ".tmp-"

// Write replaces the file at path by content, as one durable step. The error names path.
func Write(path string, mode fs.FileMode, content []byte) error {
	return WriteWith(path, mode, func(f *os.File) error {
		_, err := f.Write(content)
		return about(path, err)
	})
}

// WriteWith is Write for content that fill writes piece by piece into f, whatever the size. When fill fails, the file
// at path stays as it is and WriteWith returns fill's error unchanged. fill must not close f.
func WriteWith(path string, mode fs.FileMode, fill func(f *os.File) error) error {
	return disk.write(path, mode, fill)
}

// steps are the calls that make a write durable. Tests let one of them fail.
type steps struct {
	sync    func(f *os.File) error
	rename  func(from, to string) error
	syncDir func(path string) error
}

var disk = steps{sync: (*os.File).Sync, rename: rename, syncDir: SyncDir}

func (s steps) write(path string, mode fs.FileMode, fill func(f *os.File) error) (err error) {
	folder, name := filepath.Split(path)
	if folder == "" {
		folder = "." // CreateTemp takes "" for the system's folder of temporary files
	}
	// The temporary file has mode 0600 from its first moment, so a secret is never readable by others in between.
	f, err := os.CreateTemp(folder, name+temporaryMark)
	if err != nil {
		return about(path, err)
	}
	closed := false
	defer func() {
		if err != nil {
			if !closed {
				_ = f.Close()
			}
			_ = os.Remove(f.Name()) // not there any more when only the last fsync failed
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return about(path, err)
	}
	if err := s.sync(f); err != nil {
		return about(path, err)
	}
	closed = true // Windows renames no open file
	if err := f.Close(); err != nil {
		return about(path, err)
	}
	if err := s.rename(f.Name(), path); err != nil {
		return about(path, err)
	}
	return about(path, s.syncDir(folder))
}

// about makes an error one about the file at path: the name of a temporary file helps nobody.
func about(path string, err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		return &fs.PathError{Op: pathErr.Op, Path: path, Err: pathErr.Err}
	case errors.As(err, &linkErr):
		return &fs.PathError{Op: linkErr.Op, Path: path, Err: linkErr.Err}
	}
	return err
}

// Rename gives the file or folder at from the path to, replacing a file that is there, and makes the new name durable.
// The content must have been fsynced before. That the old name is gone is durable only where both are in one folder.
func Rename(from, to string) error {
	if err := rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// MakeDir makes the folder at path with mode 0700, and what is missing above it, each name durable. A folder that is
// there stays as it is.
func MakeDir(path string) error {
	if st, err := os.Stat(path); err == nil {
		if !st.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// RemoveLeftovers deletes the temporary files that killed writers of the given names, or of any name if none is given,
// left in a folder, unless somebody has written to them within the time idle. The only owner of a folder passes 0;
// others pass a time that no write takes. A file that cannot be deleted costs room and nothing else.
func RemoveLeftovers(folder string, idle time.Duration, names ...string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type().IsRegular() && isLeftover(e.Name(), names) && isIdle(e, idle) {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// Temporary returns the name of the file that the temporary file called name is to become, and false if name is not
// that of a temporary file. It is for owners whose files have names that RemoveLeftovers cannot list.
func Temporary(name string) (written string, ok bool) {
	at := strings.LastIndex(name, temporaryMark)
	if at < 0 {
		return "", false
	}
	return name[:at], true
}

func isLeftover(name string, of []string) bool {
	if len(of) == 0 {
		return strings.Contains(name, temporaryMark)
	}
	for _, written := range of {
		if strings.HasPrefix(name, written+temporaryMark) {
			return true
		}
	}
	return false
}

func isIdle(e fs.DirEntry, idle time.Duration) bool {
	if idle <= 0 {
		return true
	}
	st, err := e.Info()
	return err == nil && time.Since(st.ModTime()) > idle
}
