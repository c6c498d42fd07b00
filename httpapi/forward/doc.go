// Package forward brings a call to the leader in at most one hop.
//
// A call that arrives at the leader is handled there. A call that arrives at a follower is passed on over a connection
// that both masters authenticated, with the verified identity of the caller in headers that only masters may set. A
// call that was passed on already and reaches a master that does not lead is refused with not_leader and never passed
// on again, so that two masters that each believe in the other cannot send a call round in circles. A master that is
// elected but not ready yet keeps the call until it is ready.
//
// While nobody leads, calls wait a bounded, jittered time; a new leader wakes them. A call in flight is dropped as soon
// as this node hears of another leader or a higher term: its outcome is then unknown, and it is repeated only if its
// route says that this is harmless.
//
// Headers, bodies and trailers are copied by net/http/httputil, under the rules of HTTP for proxies: what belongs to
// one connection ends there. The request key goes on in any case, since only its key makes a repeated call the same
// call.
//
// The package decides nothing about identity, permissions or the shape of errors: package httpapi does.
package forward
