// Package catalog is the SSISDB catalog as pure state: its rows, the transitions between them, the permissions, the
// request keys and the events.
//
// It promises that a transition is a function of the state and the command alone: no clock, no randomness, no map
// order, no I/O. A transition first decides, reading only, and then writes, which cannot fail: that is what makes a
// command all-or-nothing. Rows are immutable once they are in the state; a change replaces them.
//
// It leaves the log to package fsm, what callers see of it to packages procedure and view, and the queue and the leases
// to cluster/dispatch.
package catalog
