package testcluster

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountVariable makes a refused mount a failure rather than a skip.
const mountVariable = "SCALEOUT_MOUNT"

// SmallDisk puts the data directory of a master on a file system of its own, with a size in MiB. Without the right to
// mount one, the test is skipped, or fails if SCALEOUT_MOUNT is set.
func SmallDisk(i, mib int) Option {
	return func(c *Cluster) {
		c.mounts = append(c.mounts, func(nd *node) {
			if nd.i == i {
				c.mount(nd.data, mib)
			}
		})
	}
}

func (c *Cluster) mount(path string, mib int) {
	c.tb.Helper()
	c.must(os.Mkdir(path, 0o700))
	if err := unix.Mount("small", path, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		if os.Getenv(mountVariable) != "" {
			c.tb.Fatalf("a small file system cannot be mounted: %v", err)
		}
		c.tb.Skipf("a small file system cannot be mounted (%v); root can, and so can 'unshare --map-root-user --mount'", err)
	}
	c.closers = append(c.closers, func() {
		if c.tb.Failed() {
			c.tb.Logf("what was on %s went with its file system", path)
		}
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			c.tb.Logf("%s is still mounted: %v", path, err)
		}
	})
}

// FillDisk writes a file beside a master's data until only left bytes are free. The returned function removes the file.
func (c *Cluster) FillDisk(i int, left int64) (free func()) {
	c.tb.Helper()
	name := filepath.Join(c.Data(i), "ballast")
	f, err := os.Create(name)
	c.must(err)
	defer f.Close()
	for chunk := 1 << 20; chunk > 0; {
		if _, err := f.Write(make([]byte, chunk)); err != nil {
			chunk /= 2
		}
	}
	size, err := f.Seek(0, io.SeekEnd)
	c.must(err)
	c.must(f.Truncate(size - left))
	return func() { c.must(os.Remove(name)) }
}
