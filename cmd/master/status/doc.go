// Package status tells what the masters of a cluster are and how they are: to operators, and as rows for the catalog.
//
// What only a master itself knows (its machine, certificate, settings, missing blobs) each master tells the others at
// [Path]; the rest is the node's view of its members. It promises to wait for all others together no longer than half a
// second: a master that does not answer in time is shown without what only it knows.
//
// It leaves to cluster who is a member and alive, and decides nothing.
package status
