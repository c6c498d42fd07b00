package file

import (
	"os"

	"golang.org/x/sys/windows"
)

// rename returns when the new name is on the disk.
func rename(from, to string) error {
	fail := func(err error) error { return &os.LinkError{Op: "rename", Old: from, New: to, Err: err} }
	oldName, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return fail(err)
	}
	newName, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return fail(err)
	}
	flags := uint32(windows.MOVEFILE_REPLACE_EXISTING | windows.MOVEFILE_WRITE_THROUGH)
	if err := windows.MoveFileEx(oldName, newName, flags); err != nil {
		return fail(err)
	}
	return nil
}

// SyncDir does nothing: Windows gives no way to flush a folder. NTFS journals its names, and rename waits for its own.
func SyncDir(string) error { return nil }
