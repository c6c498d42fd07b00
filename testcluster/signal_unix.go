//go:build unix

package testcluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// What stops a process where it stands, and what lets it go on.
const (
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// stands reports whether no thread of a process runs any more. Where there is no /proc, nothing is known and it says
// yes.
func stands(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		line, err := os.ReadFile(thread)
		name := bytes.LastIndexByte(line, ')') // the state follows the name, which may hold anything
		if err == nil && name >= 0 && name+2 < len(line) && !bytes.ContainsRune([]byte("TtZX"), rune(line[name+2])) {
			return false
		}
	}
	return true
}
