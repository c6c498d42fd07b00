// Package recovery reads the data directory of a stopped master, and makes such a master the only member of its cluster
// when the others are lost for good.
//
// It promises that Inspect changes nothing, that Recover copies the directory before it changes anything, and that both
// see every entry of the log: also those of which this master never learned whether a majority had them. It also keeps
// the mark that says that a restored state is being installed, because a start and a recovery both have to heed it.
//
// It needs no Node. It leaves files to package store and the meaning of entries to package fsm.
package recovery
