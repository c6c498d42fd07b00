// Package cluster is one node of the cluster: Raft over the state machine, leadership as a scope, membership, transfer,
// and the node's own disk and clock.
//
// A Node runs hashicorp/raft over the state machine of package fsm. It promises:
//
//   - a command is answered from this node's own state machine, never from a Raft future, and a caller learns
//     precisely: applied, not applied, or unknown (cluster/proposer);
//   - a linearizable read passes only after a majority of voters has confirmed this term after the read arrived
//     (cluster/prover);
//   - leadership is a scope: what runs under it has ended before the next one begins (cluster/leader);
//   - membership changes only when a master joins or an operator says so, never by gossip and never by a stop;
//   - a leader whose disk stalls makes room for another within seconds, by ending itself.
//
// How an empty master begins or finds a cluster is cluster/bootstrap's, the form of calls between masters
// cluster/peer's, and the data directory of a stopped master cluster/recovery's: none of them needs a Node. It leaves
// the catalog's rules to package fsm, leases to cluster/dispatch, blobs to cluster/blobs and HTTP for people to package
// httpapi. Raft's configuration is the truth about members; gossip is an address book.
package cluster
