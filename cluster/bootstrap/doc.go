// Package bootstrap brings an empty master into a cluster: it begins one together with the other empty masters, or has
// this master join the one that exists.
//
// Beginning is the dangerous part: two sets of masters that each believe that they are the cluster lose data later. So
// only the master with the lowest id of a set proposes the cluster. Every member promises, durably, to follow that one
// proposal. Only when all have promised is the proposal decided, durably, and its proposer alone carries it out. The
// others get the configuration by replication, as any follower does.
//
// It promises that a master follows at most one proposal at a time, across restarts, until it has the log of the
// cluster that came of it, and that a proposal that its proposer has abandoned is never carried out.
//
// It knows nothing of a Node: whether there is a log, how Raft begins a cluster and how a master asks to join are
// functions that its caller hands in.
package bootstrap
