package worker

// syncDir: a directory cannot be synced here; names are durable with the file system's journal.
func syncDir(string) error { return nil }
