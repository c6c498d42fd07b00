// Package dispatch is the leader's queue and lease clocks: which waiting worker gets which ready task, and when the
// lease of a silent attempt has run out.
//
// Everything here is memory of one leadership. Establish rebuilds it from the state and Drop forgets it; what must
// outlive the leader is a command. The package promises:
//
//   - a lease never ends early, although it may end late;
//   - a grant that the state gives to a worker is delivered again until the worker names it;
//   - a worker gets no answer without a proof of leadership that is newer than its call;
//   - tasks of one kind are granted in the order of their ids.
//
// It leaves the transitions to fsm/catalog, the loops to cluster/routine, and HTTP to httpapi.
package dispatch
