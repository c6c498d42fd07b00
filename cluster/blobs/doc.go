// Package blobs keeps project files and message segments on several masters: a majority holds a blob before any row
// names it, a master that lacks a blob fetches it, and a blob that no row names is deleted after a day.
//
// A blob is named by its SHA-256 and never changes. The package promises that Store and Ensure return only when a
// majority of the voters of the latest configuration has the blob on disk, fsynced, and that a node deletes only blobs
// that no row has named for a day. A Proposer lets no command that names a blob into the log before that. Disk, peers
// and the catalog's names are interfaces; Handler answers the calls of peers.
package blobs
