// Package archive is the file format of a backup of a whole cluster. An archive is a plain tar file that every tar
// program lists and extracts. Its entries are, in this order:
//
//	metadata.json    what the archive is: Metadata
//	keyring.json     the key ring, encrypted (optional)
//	state            a snapshot of the state machine
//	blobs/DIGEST     one entry per blob, named by its SHA-256, in ascending order
//	MISSING          the digests of blobs that no master had, one per line (optional)
//	SHA256SUMS       the SHA-256 of every entry above, as sha256sum(1) writes and checks it
//
// The tar is not compressed: its blobs are compressed already, and an uncompressed tar can be extracted entry by entry.
// An archive is written and read as a stream; no entry is held in memory but the small ones, whose sizes are bounded.
//
// Read promises that it reports every damage: a changed bit, a missing, added, repeated or reordered entry, a file that
// was cut off or that has something appended. It accepts what Writer writes and nothing else: links, devices, paths,
// sparse files and other extensions of tar do not exist for it. An archive is not signed: whoever can write the file
// can replace it by another valid one. What Read passes to its visitor is verified only when Read has returned, so
// whoever acts on an archive reads it twice. The key ring is encrypted and nothing else is: values that are not
// sensitive in the catalog can be read in the archive.
//
// The package does not know what the state and the blobs mean, and starts no goroutine.
package archive
