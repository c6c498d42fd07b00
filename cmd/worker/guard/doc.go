// Package guard is the small process around one package, and the handle by which a worker holds it.
//
// The guard is the same binary run with a hidden verb ([Verb], [Main]). It owns the package's process tree, its
// deadline, its output file and its exit file, so that all four outlive the worker process that started it: a worker
// may crash, be stopped or be replaced, and the package neither runs past its lease nor loses what it said.
//
// What it promises:
//
//   - The tree is being killed 5 s before the deadline ([Spec.KillBefore]), whatever happened to the worker. Elapsed
//     time is the largest of monotonic, boot-time and forward wall clock, since a sleeping host's monotonic clock
//     stands still ([Lease]).
//   - The exit file exists only after the last process of the tree is gone. It is written atomically and synced.
//   - If the guard dies, the package's own process dies with it (Linux, Windows); what it left behind elsewhere is
//     found and killed by [Adopt] or [Sweep] before they say that it is gone.
//   - A folder is guarded at most once: whoever holds the folder's lock is its guard.
//
// What it leaves to others: what to run (package runner), when to extend the deadline and what to report (the worker).
package guard
