// Package gossip says which masters are out there: who they are, where they listen, what they can do. It wraps
// hashicorp/memberlist, encrypted with the cluster's gossip key and labelled with the cluster's id, so that two
// clusters on one network never merge.
//
// Its members are hints and never the truth: they appear late, vanish late and are sometimes wrong. Gossip fills the
// address book, finds peers for bootstrap and join, and spreads versions. It never decides who is a member of the
// Raft configuration; package cluster does, from Raft alone.
package gossip
