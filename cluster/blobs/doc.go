// Package blobs keeps project files and message segments on several masters: a majority holds a blob before anything
// names it, whoever lacks one fetches it, and what nothing names is deleted after a day.
//
// A blob is named by its SHA-256 and never changes. The package promises that Store and Ensure return only when a
// majority of the voters of the latest configuration has the blob on disk, fsynced, and that a node deletes only what
// no row has named for a day. Disk, peers and the catalog's names are interfaces; the peers' side of the conversation
// is Handler.
package blobs
