// Package guard is the small process around one package, and the worker's handle of that process.
//
// The guard is the same binary, run with a hidden verb ([Verb], [Main]). It owns the package's process tree, deadline,
// output file and exit file, so all four outlive the worker process that started the guard. A worker may crash, be
// stopped or be replaced: the package does not run past its lease, and no output of it is lost.
//
// What it promises:
//
//   - It begins to end the tree 5 s before the lease ends ([Spec.KillBefore]), whatever happens to the worker. Elapsed
//     time is the largest of the monotonic clock, the boot-time clock and a wall clock that only counts forward, since
//     the
//     monotonic clock of a sleeping host stands still ([Lease]).
//   - The exit file exists only after the last process of the tree has ended. It is written atomically and synced.
//   - If the guard dies, the package's own process dies with it (Linux, Windows). [Adopt] and [Sweep] find and kill
//     other
//     processes that it left, before they report that the package is gone.
//   - A folder is guarded at most once: the process that holds the folder's lock is its guard.
//
// It leaves to others what to run (package runner), when to extend the deadline, and what to report (the worker).
package guard
