//go:build unix

package testcluster

import "syscall"

// What stops a process where it stands, and what lets it go on.
const (
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)
