// Package store is everything that one node keeps on its disk.
//
// A data directory holds
//
//	lock              held by the process that uses the directory; names its pid
//	node.json         format version and node identity, made once
//	raft.db           the Raft log and Raft's own small values (term, vote)
//	snapshots/        snapshots of the state machine
//	documents/        small JSON documents, such as bootstrap promises
//	blobs/            files named by their SHA-256
//
// Promises, for every file: what a call returned without an error for survives the death of the process and the loss of
// power. What was being written at that moment is there as a whole or not at all. What is read back is what was
// written, or the read fails with [ErrCorrupt]. Nothing damaged is ever repaired in place: the other masters hold the
// same data, so a damaged node is wiped and joins again as a new one, while a repair that guesses could put a wrong
// history back into the cluster.
//
// How each file keeps that promise:
//
//   - node.json and documents are written by store/file, as one durable step. They carry a checksum.
//   - node.json is made last of all. So a directory with an identity but without a
//     log has lost its log, and is refused: a node that forgot its vote must not
//     come back under its old name.
//   - raft.db is raft-boltdb's: new pages are fsynced before the meta page that refers to them. Each entry carries a
//     checksum. Each transaction that adds something also renews the record, an entry of its own behind all others: it
//     holds term, vote, the transaction's number, and how many entries with which checksums the file has. So neither
//     a flipped bit nor a page of yesterday goes unnoticed. The record costs no further fsync, except where entries
//     are deleted, which it announces before. All of it is checked when the directory is opened, and the pages before
//     the database library maps the file, since the library trusts them; an entry is checked again when it is read
//     from disk. After a failed fsync nobody knows what the disk holds, so the log takes no further write until it is
//     opened anew. A damaged meta page is refused although the library would use the other one: the last vote would be
//     forgotten. What the library may know and this package does not is no damage: a warning says that it could not be
//     verified, and the entries decide. docs/decisions/0002-raft-and-bolt.md says why it is built this way.
//   - Log entries are deleted in steps, from the end that keeps what remains free of
//     holes, so that a crash between two steps leaves a log that Raft can use.
//   - Snapshots are directories that get their name last. The name, the description (meta.json, a document with a
//     checksum) and the beginning of the content must agree on index and term, and the content has a checksum.
//     Snapshots that were never finished are removed when the directory is opened. An older snapshot stands in for a
//     damaged one only if the log leads on from it without a hole; else the directory is refused.
//   - Blobs are verified while they are written, before they get their name, and again
//     whenever they are read. A damaged blob is set aside in blobs/quarantine, so that
//     it counts as missing and is fetched again from another node.
//
// The package knows nothing of Raft's rules, of what the blobs mean or of when they may
// be deleted; it starts no goroutine.
package store
