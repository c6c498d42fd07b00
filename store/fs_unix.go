//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

var textNoSpace = unix.ENOSPC.Error()

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// freeBytes returns how many bytes an unprivileged process may still write below path.
func freeBytes(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
