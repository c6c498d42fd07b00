// Package client is the Go client of the masters' HTTPS interface: the command line, the worker and the tests use it.
//
// A Client knows several masters and needs only one of them: it sends each call to the master that answered last, goes
// on to the next when that one is unreachable, silent, stopping or without a leader, and does so until the call is
// answered or its patience ends. What it tries again is decided by what may have happened: a call that was certainly
// not applied is always tried again, one whose outcome is unknown only if a second application is harmless (reads,
// calls with a request key, exchanges, registrations, messages, blobs). Procedure calls get a request key from the
// library unless the caller chose one.
//
// A master that works on a call says so with 102 Processing; one that stays silent for a second after it got the whole
// request is taken for dead.
package client
