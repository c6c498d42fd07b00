// Package backup saves this master's state as a backup of the whole cluster, on request and on a schedule, and restores
// a backup into a new, empty cluster.
//
// It promises that Restore verifies the whole archive before it touches anything, and that a cluster is restored
// completely or not at all: the blobs are stored first, which nothing names yet, then every master gets the keys, then
// one step of Raft replaces the state. A scheduled backup gets its name when it is complete and verified. The schedule
// follows from the files in the folder, so that a restart changes nothing; each master keeps its own.
//
// It leaves the file format to cluster/archive, the step of Raft to cluster, and the copies of blobs to cluster/blobs.
package backup
