//go:build unix

package guard

import (
	"os"

	"golang.org/x/sys/unix"
)

// queued is how many bytes stand in a pipe.
func queued(f *os.File) int64 {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	// Through Control: to ask for the descriptor itself would make the file block a whole thread.
	if cerr := conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), fionread) }); cerr != nil || err != nil {
		return 0
	}
	return int64(n)
}
