package guard

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"scaleout/cmd/worker/logger"
)

// cgroup is a control group (v2) for one package. It makes the kill atomic, and only with it can all descendants of a
// dead guard be found. The tree works without one where none may be made.
type cgroup struct {
	dir string // "": there is none
	fd  int
}

func newCgroup(log logger.Logger) *cgroup {
	parent := ownCgroup()
	if parent == "" {
		return &cgroup{}
	}
	dir := filepath.Join(parent, "scaleout-"+newSecret()[:12])
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		// A kernel without this file cannot kill a whole group.
		_, err = os.Stat(filepath.Join(dir, "cgroup.kill"))
	}
	fd := -1
	if err == nil {
		fd, err = unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		os.Remove(dir)
		log.Info("no cgroup for the package", logger.Err(err))
		return &cgroup{}
	}
	return &cgroup{dir: dir, fd: fd}
}

// ownCgroup returns the directory of this process's own group, and "" if there is no v2 hierarchy.
func ownCgroup() string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	var mount string
	for line := range strings.Lines(string(mounts)) {
		left, right, ok := strings.Cut(line, " - ")
		if f := strings.Fields(left); ok && strings.HasPrefix(right, "cgroup2 ") && len(f) > 4 {
			mount = f[4]
		}
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && mount != "" {
			return filepath.Join(mount, path)
		}
	}
	return ""
}

// join makes a process start inside the group. If it were moved later, it could have forked before.
func (c *cgroup) join(attr *unix.SysProcAttr) bool {
	if c.dir == "" {
		return false
	}
	attr.UseCgroupFD, attr.CgroupFD = true, c.fd
	return true
}

func (c *cgroup) path() string { return c.dir }
func (c *cgroup) kill()        { killCgroup(c.dir) }

func (c *cgroup) close() {
	if c.dir != "" {
		unix.Close(c.fd)
		removeCgroup(c.dir)
		c.dir = ""
	}
}

func killCgroup(dir string) {
	if dir != "" {
		os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	}
}

// removeCgroup removes the group and reports whether it is gone. A group with a living process cannot be removed.
func removeCgroup(dir string) bool {
	if dir == "" {
		return true
	}
	err := os.Remove(dir)
	return err == nil || os.IsNotExist(err)
}
