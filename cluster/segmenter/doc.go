// Package segmenter is the leader's packer: what workers send for operation_messages goes into shared segments, and one
// command names the parts of a segment.
//
// A call is answered after its messages are committed: the segment is on the disks of a majority of the voters and the
// state names it. Sequence numbers keep doubles out: the state skips what it has and refuses a gap. Small segments are
// merged when the leader cleans up. How a segment is written is package fsm/segment's.
package segmenter
