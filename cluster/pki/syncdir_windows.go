package pki

// syncDir does nothing: Windows has no sync of a directory, and NTFS journals
// the rename itself.
func syncDir(string) error { return nil }
