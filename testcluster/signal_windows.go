package testcluster

import "syscall"

// Windows has no such signals; a test that pauses processes finds them running there.
const (
	pauseSignal  = syscall.Signal(0x13)
	resumeSignal = syscall.Signal(0x12)
)

func stands(int) bool { return true }
