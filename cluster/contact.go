package cluster

import "time"

// Contact is when this node last heard from a leader, and now on the leader itself; zero when never.
func (n *Node) Contact() time.Time {
	if !n.up() {
		return time.Time{}
	}
	if term, _ := n.IsLeader(); term > 0 {
		return time.Now()
	}
	return n.raft.LastContact()
}
