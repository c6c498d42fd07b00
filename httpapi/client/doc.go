// Package client is the Go client of the masters' HTTPS interface: the command line, the worker and the tests use it.
//
// A Client knows several masters and needs only one of them. It sends each call to the master that answered last, and
// goes on to the next master if that one is unreachable, silent, stopping or without a leader, until the call is
// answered or Config.Timeout ends. Whether it repeats a call depends on what may have happened. It always repeats a
// call that was certainly not applied. It repeats a call with an unknown outcome only if a second application does no
// harm (reads, calls with a request key, exchanges, registrations, messages, blobs). The library adds a request key to
// procedure calls unless the caller chose one.
//
// A master that works on a call says so with 102 Processing. A master that stays silent for a second after it has got
// the whole request is taken for dead.
package client
