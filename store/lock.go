package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"
)

const (
	lockName = "lock"
	// ownerOffset leaves the first byte free: on Windows it is the locked range, which
	// nobody else can read, and the pid is there to be read by others.
	ownerOffset = 1
	ownerSize   = 24
)

// lock is the right to use a data directory. The operating system releases it
// when the process dies, however it dies; the pid in the file is only for people.
type lock struct {
	file *flock.Flock
	path string
}

func takeLock(dir string) (*lock, error) {
	l := &lock{path: filepath.Join(dir, lockName)}
	l.file = flock.New(l.path, flock.SetPermissions(0o600))
	ok, err := l.file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of data directory %s: %w", dir, onDisk(l.path, err))
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s is held by %s; stop it first, or give this one a directory of its own",
			ErrLocked, dir, l.owner())
	}
	if err := l.write(strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(onDisk(l.path, err), l.file.Unlock())
	}
	return l, nil
}

// owner describes the process that holds the lock, as far as the file says it.
func (l *lock) owner() string {
	f, err := os.Open(l.path)
	if err != nil {
		return "another process"
	}
	defer f.Close()
	buf := make([]byte, ownerSize)
	n, err := f.ReadAt(buf, ownerOffset)
	if err != nil && !errors.Is(err, io.EOF) {
		return "another process"
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
	switch {
	case err != nil || pid <= 0:
		return "another process"
	case pid == os.Getpid():
		return fmt.Sprintf("this process (pid %d)", pid)
	}
	return fmt.Sprintf("process %d", pid)
}

// write replaces the text that names the owner. Its length is always the same, because a file with a locked
// range must not be truncated on Windows.
func (l *lock) write(owner string) error {
	f, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "%-*s\n", ownerSize-1, owner)
	_, err = f.WriteAt(text, ownerOffset)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// release lets another process use the directory. The file stays: if it were removed, two
// processes could lock two files of the same name.
func (l *lock) release(clear bool) error {
	if clear {
		// A text that cannot be cleared misleads nobody but people.
		_ = l.write("")
	}
	if err := l.file.Unlock(); err != nil {
		return fmt.Errorf("unlock %s: %w", l.path, err)
	}
	return nil
}
