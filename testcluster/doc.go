// Package testcluster runs whole clusters for tests: real TLS, real disks, real packages.
//
// Start makes masters in this process, or with Processes as child processes of the test binary. In process, links can
// be cut and slowed and disks stalled, and Kill is a power cut: connections end and nothing more reaches the disk. As
// processes, Kill is SIGKILL and Pause SIGSTOP. Every test ends the same way: what was broken is healed, dead masters
// come back, all masters must have the same state hash, and no goroutine may be left.
//
// A test package that starts workers or child processes calls Main from its TestMain.
package testcluster
