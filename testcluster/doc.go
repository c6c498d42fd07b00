// Package testcluster runs whole clusters for tests: real TLS, real disks, real packages.
//
// Start starts masters in this process or, with Processes, as child processes of the test binary. In this process a
// test can cut and slow links and stall disks, and Kill is a power cut: connections end and nothing more reaches the
// disk. For child processes Kill is SIGKILL and Pause is SIGSTOP. Every test ends in the same way: all faults are
// healed, ended masters are started again, all masters must have the same state hash, and no goroutine may be left.
//
// A test package that starts workers or child processes calls Main from its TestMain.
package testcluster
