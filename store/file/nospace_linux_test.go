package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFullDiskKeepsTheOldContent(t *testing.T) {
	folder := t.TempDir()
	if err := unix.Mount("tiny", folder, "tmpfs", 0, "size=256k"); err != nil {
		if os.Getenv("SCALEOUT_MOUNT") != "" {
			t.Fatalf("a small file system cannot be mounted: %v", err)
		}
		t.Skipf("a small file system cannot be mounted (%v); root can, and so can 'unshare --map-root-user --mount'", err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	path := filepath.Join(folder, "a")
	must(t, Write(path, 0o600, []byte("old")))
	for range 3 { // a temporary file that stayed would take the room of the next
		err := Write(path, 0o600, bytes.Repeat([]byte("new"), 1<<20))
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path+": ") {
			t.Errorf("error %v", err)
		}
		if got := content(t, path); got != "old" {
			t.Errorf("content %.20q", got)
		}
		folderHolds(t, folder, "a")
	}
	must(t, Write(path, 0o600, bytes.Repeat([]byte("n"), 100<<10)))
}
