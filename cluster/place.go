package cluster

import (
	"context"
	"time"

	"scaleout/fsm/sqltype"
)

// Place is where calls go, as this node believes: to the leader.
type Place struct {
	Leader Leader // its Term is the highest that this node knows
	Known  bool   // whether there is a leader at all
	Here   bool   // this node leads and is ready
	// Contact is when this node last heard from the leader; now, on the leader itself.
	Contact time.Time
}

// Place returns it as it is now. It is not a proof: Read is.
func (n *Node) Place() Place {
	l, known := n.Leader()
	term, ready := n.IsLeader()
	return placeOf(n.id, l, known, term, ready, n.Contact())
}

// placeOf puts together what was read at slightly different moments: a node that has just lost its leadership still
// knows its term, and a node whose leadership is ready may already follow another leader.
func placeOf(self string, l Leader, known bool, term uint64, ready bool, contact time.Time) Place {
	p := Place{Known: known, Here: ready && known && l.ID == self, Contact: contact}
	if known {
		p.Leader = l
		p.Leader.Term = max(l.Term, term)
	}
	return p
}

// MemberID returns the id of the master with a name or id. A master that is not known is returned as it was named:
// Transfer and Remove refuse it under that name.
func (n *Node) MemberID(ctx context.Context, member string) string {
	return memberID(n.Members(ctx), member)
}

func memberID(members []Member, member string) string {
	for _, m := range members {
		if m.ID == member {
			return m.ID
		}
	}
	for _, m := range members {
		if sqltype.EqualText(m.Name, member) {
			return m.ID
		}
	}
	return member
}
