// Package transport carries everything that reaches a master over one TLS port,
// and everything that it says to other masters.
//
// The port speaks three protocols, told apart by ALPN: HTTP for workers and
// users, Raft, and HTTP among masters ("peer"). For the latter two the client
// must hold a certificate of a master of this cluster; the handshake fails
// otherwise. After the handshake the dialler says, in a short preamble, which
// cluster and which node it is and which node it wants. An address that now
// belongs to another node is therefore never taken for the wanted one. Masters
// are addressed by node id and their host names resolved at every dial.
//
// The package promises
//
//   - that connections can be cut: every open connection is known, and CutRaft
//     closes those of Raft in both directions and lets no new one come up, which
//     the library's own transport does not do;
//   - that a rotated certificate is in use within seconds: older connections are
//     replaced one after the other, when they are between two messages;
//   - proofs of leadership: Raft.Proof returns up to which moment a majority of
//     voters has confirmed this node's term, counted from when each confirmed
//     message was sent, not from when its answer came.
//
// It leaves to others who is a member, who may call what over HTTP, and when to
// ask for a proof. It knows no certificate format: Security does.
package transport
