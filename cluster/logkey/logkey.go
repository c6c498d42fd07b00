// Package logkey holds the keys of the log lines that the rooms of cluster write: one key for each thing, so that a
// search for a master, an attempt or a blob finds every line about it.
//
// A thing that an identifier names has the suffix _id; without the suffix the key holds the name that people know.
package logkey

// Keys of log lines.
const (
	Err       = "err"
	Component = "component" // the room that writes the line

	Master   = "master"    // the name of another master
	MasterID = "master_id" // its node id
	Leader   = "leader"    // the name of the master that leads
	Address  = "address"   // host:port
	Was      = "was"       // the address before
	Through  = "through"   // the name of the master that was asked
	To       = "to"        // the name of the master that takes over
	Remote   = "remote"    // the other side of a connection
	Cluster  = "cluster"   // the cluster's id
	Version  = "version"   // of a program
	Level    = "level"     // the feature level

	Term       = "term" // Raft's
	Generation = "generation"
	Routine    = "routine"
	Index      = "index" // of a log entry
	Proposal   = "proposal"
	Proposer   = "proposer" // the name of the master that proposes a cluster
	Set        = "set"      // the masters that are to begin a cluster

	TaskID  = "task_id"
	Attempt = "attempt"
	Worker  = "worker"  // the worker's id
	Workers = "workers" // how many
	Pending = "pending" // how many tasks
	Leases  = "leases"  // how many
	Number  = "number"  // of executions
	Parts   = "parts"   // of a segment
	Blob    = "blob"    // its digest
	Removed = "removed" // how many rows

	FromCluster  = "from_cluster" // the id of the cluster that a backup is of
	FromIndex    = "from_index"   // the log entry that a backup is of
	Created      = "created"      // when a backup was saved
	Blobs        = "blobs"        // how many
	MissingBlobs = "missing_blobs"
	KeyRing      = "key_ring" // whether a backup has one

	Keys = "keys" // how many

	Event  = "event"  // the id of an event
	Change = "change" // what an event says of the membership
	Detail = "detail" // what an event says for people

	Name          = "name"   // in a certificate
	Path          = "path"   // of a file or a directory
	Reason        = "reason" // a word that a program can compare
	Disk          = "disk"   // what is wrong with it
	Bytes         = "bytes"
	Left          = "left" // bytes, or time, that remain
	Limit         = "limit"
	Ahead         = "ahead"  // by how much a clock is
	For           = "for"    // how long something has lasted
	Took          = "took"   // how long something took
	Waited        = "waited" // how long somebody has waited
	Since         = "since"
	SilentSince   = "silent_since"
	MoreSinceLast = "more_since_last" // lines that were left out
)
