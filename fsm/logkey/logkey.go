// Package logkey holds the keys of all log lines: one key for each thing, so that a search for a master, an attempt or
// a blob finds every line about it, whoever wrote it.
//
// A thing that an identifier names has the suffix _id; without the suffix the key holds the name that people know. A
// length of time is written as a duration, and a point in time as a time.
package logkey

// Keys of log lines. The handlers' own (time, level, msg, source) are never among them.
const (
	Err       = "err"
	Component = "component" // the room that writes the line
	Panic     = "panic"
	Stack     = "stack"

	Node         = "node"      // the name of the master that writes the line
	Master       = "master"    // the name of another master
	MasterID     = "master_id" // its node id
	Masters      = "masters"   // several
	Leader       = "leader"    // the name of the master that leads
	Address      = "address"   // host:port
	OtherAddress = "other_address"
	Was          = "was"     // the address before
	Through      = "through" // the name of the master that was asked
	To           = "to"      // the name of the master that takes over
	Remote       = "remote"  // the other side of a connection
	Cluster      = "cluster" // the cluster's id
	Forced       = "forced"
	Version      = "version"       // of a program
	FeatureLevel = "feature_level" // of a program, or of a cluster

	Term       = "term" // Raft's
	Generation = "generation"
	Routine    = "routine"
	Routines   = "routines" // several
	Index      = "index"    // of a log entry
	Snapshot   = "snapshot" // its name
	Unverified = "unverified"
	Proposal   = "proposal"
	Proposer   = "proposer" // the name of the master that proposes a cluster
	Set        = "set"      // the masters that are to begin a cluster

	TaskID      = "task_id"
	ExecutionID = "execution_id"
	Attempt     = "attempt"
	Worker      = "worker"  // the worker's id
	Workers     = "workers" // how many
	Pending     = "pending" // how many tasks
	Leases      = "leases"  // how many
	Adopted     = "adopted" // how many attempts
	Fenced      = "fenced"  // attempts that are not the worker's any more
	Parts       = "parts"   // of a segment
	Blob        = "blob"    // its digest
	Removed     = "removed" // how many rows
	Number      = "number"  // how many of what the message names

	FromCluster  = "from_cluster" // the id of the cluster that a backup is of
	FromIndex    = "from_index"   // the log entry that a backup is of
	Created      = "created"      // when a backup was saved
	Blobs        = "blobs"        // how many, or whether a backup has them
	MissingBlobs = "missing_blobs"
	KeyRing      = "key_ring" // whether a backup has one

	Keys       = "keys" // how many
	Name       = "name" // in a certificate
	Thumbprint = "thumbprint"
	NotAfter   = "not_after" // when a certificate ends
	CAs        = "cas"       // how many

	Event  = "event"  // the id of an event
	Change = "change" // of the membership
	Detail = "detail" // a sentence for people
	Cure   = "cure"   // what a person can do

	RequestID = "request_id"
	Caller    = "caller" // the name of who calls
	Route     = "route"
	Status    = "status" // HTTP's
	Code      = "code"   // of a refusal
	Result    = "result" // what became of a call
	Door      = "door"   // one of the interfaces of a master

	Machine    = "machine" // a host's name
	OS         = "os"
	PID        = "pid"
	Signal     = "signal"
	Extensions = "extensions" // which packages a worker can run
	Package    = "package"
	Runner     = "runner" // the program that runs packages
	Outcome    = "outcome"
	ExitCode   = "exit_code"
	Running    = "running" // how many attempts, or whether one does
	Reports    = "reports" // how many
	Messages   = "attempts_with_messages"

	Setting = "setting"
	Value   = "value" // of a setting
	State   = "state" // that a service tells systemd

	Path          = "path"   // of a file, a directory or a URL
	Reason        = "reason" // a word that a program can compare
	Disk          = "disk"   // what is wrong with it
	Bytes         = "bytes"
	Left          = "left" // bytes, or time, that remain
	Limit         = "limit"
	Ahead         = "ahead"  // by how much a clock is
	Late          = "late"   // by how much
	Age           = "age"    // how old something is
	For           = "for"    // how long something has lasted
	Took          = "took"   // how long something took
	Waited        = "waited" // how long somebody has waited
	Grace         = "grace"  // how long a package may take to end
	RetryIn       = "retry_in"
	Since         = "since"
	SilentSince   = "silent_since"
	MoreSinceLast = "more_since_last" // lines that were left out
)
