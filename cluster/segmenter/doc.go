// Package segmenter packs the messages that workers send for operation_messages into shared segments, on the leader.
// One command names all parts of a segment.
//
// A call is answered after its messages are committed: the segment is on the disks of a majority of the voters, and the
// state names it. Sequence numbers keep duplicates out: the state skips messages that it has and refuses a gap. Small
// segments are merged when the leader cleans up. The format of a segment is package fsm/segment's.
package segmenter
