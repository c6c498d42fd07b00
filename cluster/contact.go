package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// Contact returns when this node last heard from a leader: the present moment on the leader itself, zero if it never
// did.
func (n *Node) Contact() time.Time {
	if !n.up() {
		return time.Time{}
	}
	if term, _ := n.IsLeader(); term > 0 {
		return time.Now()
	}
	return n.raft.LastContact()
}

// heard reports whether a member answered this leader's Raft within so many heartbeat time-outs. It is always true for
// this node itself.
func (n *Node) heard(id raft.ServerID, heartbeats int) bool {
	at, ok := n.wire.Contact(id)
	return string(id) == n.id || ok && time.Since(at) < time.Duration(heartbeats)*n.cfg.Timing.Heartbeat
}
