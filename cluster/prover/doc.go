// Package prover keeps the newest proof that this node led, for one leadership.
//
// It promises that Wait returns nil only for a proof of a moment after the given one, and that Doubt is closed once no
// proof is newer than the limit. What counts as a proof is its caller's: the transport knows when each message was sent
// that a majority of the voters has confirmed. Raft's own VerifyLeader would not do, because it also counts answers of
// non-voters and answers to heartbeats that were sent before; it only serves to send heartbeats at once.
package prover
