// Package file writes files so that neither the death of the process nor the loss of power leaves half of one.
//
// A file is written under a temporary name in its own folder, fsynced, closed and renamed; then the folder is fsynced,
// because a rename that only the kernel's memory knows can still be lost. [Write] and [WriteWith] do all of it, and
// what they promise holds for every caller: a reader, and a machine that comes back after a loss of power, sees the old
// content or the new content, whole, with the mode that was asked for. A call that returned nil is durable. After an
// error the old content stands, or the new content when only the last fsync failed; no temporary file is left.
//
// A process that is killed in the middle leaves its temporary file behind. [RemoveLeftovers] removes such files; the
// owner of a folder calls it when the folder is opened. [Temporary] recognises one by its name.
//
// The parts are there for those who rename by themselves: [Rename], [SyncDir] and [MakeDir].
//
// On Windows a folder cannot be fsynced. The rename asks the system instead to return only when the new name is on the
// disk (MOVEFILE_WRITE_THROUGH), and SyncDir does nothing.
//
// The package knows no format and no content. It never reads a file and takes no lock: two writers of one path do not
// mix their content, and the later rename wins.
package file
