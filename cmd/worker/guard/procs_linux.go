package guard

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"scaleout/cmd/worker/logger"
)

// members returns the living processes of the tree. This process is their subreaper, so a process that forks, changes
// its session or loses its parent still descends from this process.
func (t *tree) members() []proc {
	table, err := listProcs()
	if err != nil {
		t.log.Error("the process table cannot be read", logger.Err(err))
		return nil
	}
	return descend(table, os.Getpid())
}

func becomeReaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

func packageAttr() *unix.SysProcAttr {
	return &unix.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
}

func listProcs() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	table := make([]proc, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, err := readProc(pid); err == nil {
				table = append(table, p)
			}
		}
	}
	return table, nil
}

func readProc(pid int) (proc, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	// The program's name in parentheses may contain any characters. The fields begin after the last closing parenthesis.
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 20 {
		return proc{}, fmt.Errorf("guard: /proc/%d/stat has %d fields", pid, len(f))
	}
	p := proc{pid: pid, zombie: f[0] == "Z" || f[0] == "X"}
	p.ppid, _ = strconv.Atoi(f[1])
	p.pgrp, _ = strconv.Atoi(f[2])
	p.session, _ = strconv.Atoi(f[3])
	p.start, err = strconv.ParseUint(f[19], 10, 64)
	return p, err
}

// startTime returns when pid started, in ticks since boot, and 0 if there is no such process.
func startTime(pid int) uint64 {
	p, err := readProc(pid)
	if err != nil {
		return 0
	}
	return p.start
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
