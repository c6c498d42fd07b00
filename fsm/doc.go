// Package fsm is the replicated state machine: it applies the Raft log to the catalog, entry by entry, writes and
// reads Raft's snapshots, and hands out read transactions.
//
// It promises that nodes which applied the same entries hold the same state, and that Hash shows it; that a reader
// never shows part of an entry; and that an entry which this binary does not understand ends all work: the entry is not
// applied, no later one is, no snapshot is taken, Config.Failed is told, and Apply does not return, because returning
// would let Raft apply the next entry.
//
// It has no clock, no randomness and no files; time comes with the commands. What a command does is package catalog's
// business, what an entry looks like package command's, and who proposes one package cluster's.
package fsm
