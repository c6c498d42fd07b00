// Package cluster is one node of the cluster: it proposes commands, proves leadership, and cares for membership,
// transfer, snapshots and the node's own health.
//
// A Node runs hashicorp/raft over the state machine of package fsm. It promises:
//
//   - a command is answered from this node's own state machine, never from a Raft future, and a caller is told
//     precisely: applied, not applied, or unknown;
//   - a linearizable read passes only after a majority of voters has confirmed this term after the read arrived;
//   - leadership is a scope: what runs under it has ended before the next one begins;
//   - membership changes only when a master joins or an operator says so, never by gossip and never by a stop;
//   - a leader whose disk stalls makes room for another within seconds, by ending itself.
//
// It leaves the catalog's rules to package fsm, leases to cluster/dispatch, blobs to cluster/blobs and HTTP for people
// to package httpapi. Raft's configuration is the truth about members; gossip is an address book.
package cluster
