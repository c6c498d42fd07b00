// Package command is the language of the replicated log: every change of the catalog is one of its plain structs,
// written in CBOR inside an Entry.
//
// It promises that what was once written can be read for ever: kinds are numbered in one table and only ever appended,
// fields are only ever added, and golden bytes under test hold both to it. It knows nothing of the state that the
// commands change (package catalog), of Raft (package fsm) or of who proposes them.
//
// The table of the kinds stands in package catalog, which knows all of a kind, and is registered here: a program or a
// test that wraps or reads commands links package catalog.
//
// The package also holds the vocabulary that the leader and the doors share about work in progress: Caller, Grant,
// Report, Poll, Answer, Registration and Accepted; and the outcomes of a call on a master (ErrNotLeader and so on),
// with NotApplied, which tells a certain outcome from an unknown one.
package command
