// Package dispatch is the leader's queue and lease clocks: which waiting worker gets which ready task, and when a
// silent attempt has lost its term.
//
// Everything here is memory of one leadership. Establish rebuilds it from the state, Drop forgets it; what must
// outlive the leader is a command. The package promises that a lease never ends early (it may end late), that a grant
// which state gives to a worker is delivered again until the worker names it, that nothing is answered to a worker
// without a proof of leadership newer than its call, and that tasks of one kind are granted in the order of their ids.
//
// It leaves the transitions to fsm/catalog, the loops to cluster/routine, and HTTP to httpapi.
package dispatch
