// Package catalog is the SSISDB catalog as pure state: its rows, the transitions between them, and the two tables from
// which every door is derived: procedures and views.
//
// It promises that a transition is a function of the state and the command alone: no clock, no randomness, no map
// order, no I/O. A transition first decides, reading only, and then writes, which cannot fail: that is what makes a
// command all-or-nothing. Rows are immutable once they are in the state; a change replaces them.
//
// It leaves the log to package fsm, the queue and the leases to cluster/dispatch, and HTTP to httpapi.
package catalog
