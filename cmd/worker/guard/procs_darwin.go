package guard

import (
	"os"

	"scaleout/cmd/worker/logger"

	"golang.org/x/sys/unix"
)

// members returns the living processes of the package's group and their descendants. It does not find a process that
// took a new session and whose parent has ended: macOS has nothing to track such a process by.
func (t *tree) members() []proc {
	table, err := listProcs()
	if err != nil {
		t.log.Error("the process table cannot be read", logger.Err(err))
		return nil
	}
	found := descend(table, os.Getpid())
	have := make(map[int]bool, len(found))
	for _, p := range found {
		have[p.pid] = true
	}
	for _, p := range table {
		if p.pgrp == t.leader && !p.zombie && !have[p.pid] {
			found = append(found, p)
		}
	}
	return found
}

func becomeReaper() error { return nil }

func packageAttr() *unix.SysProcAttr { return &unix.SysProcAttr{Setsid: true} }

const stateZombie = 5 // SZOMB

func listProcs() ([]proc, error) {
	rows, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	table := make([]proc, 0, len(rows))
	for i := range rows {
		table = append(table, toProc(&rows[i]))
	}
	return table, nil
}

func toProc(k *unix.KinfoProc) proc {
	return proc{
		pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), pgrp: int(k.Eproc.Pgid), session: -1,
		start:  uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec),
		zombie: k.Proc.P_stat == stateZombie,
	}
}

// startTime returns when pid started, in microseconds since 1970, and 0 if there is no such process.
func startTime(pid int) uint64 {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return 0
	}
	return toProc(k).start
}

func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

// cgroup does nothing on macOS.
type cgroup struct{}

func newCgroup(logger.Logger) *cgroup       { return &cgroup{} }
func (*cgroup) join(*unix.SysProcAttr) bool { return false }
func (*cgroup) path() string                { return "" }
func (*cgroup) kill()                       {}
func (*cgroup) close()                      {}
func killCgroup(string)                     {}
func removeCgroup(string) bool              { return true }
