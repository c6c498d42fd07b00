// Package announce writes into the replicated state what only a master knows and what events are made of: who leads,
// who belongs to the cluster, and what happened to a master (a slow commit, a full disk, an orphaned attempt). It also
// logs those events of the state that no other room logs.
//
// It promises that leader and members in the state follow the cluster's within a moment while a master leads; a leader
// that ends before it has announced leaves that to the next one. A notice is written once or, when its master never
// leads again or too many wait, not at all: notices are for operators, and nothing depends on them.
//
// It leaves to fsm/catalog which events follow, and to httpapi how they reach somebody.
package announce
