package cluster

import (
	"cmp"
	"slices"

	"github.com/hashicorp/raft"
)

// RosterMember is one member of the configuration.
type RosterMember struct {
	ID      string
	Name    string
	Address string // "host:port", as the configuration has it
	Voter   bool
}

// Roster returns the members of the latest configuration, sorted by id, from memory. A name is "" if it is not known
// yet.
func (n *Node) Roster() (members []RosterMember) {
	if !n.up() {
		return nil
	}
	_, servers := n.configuration()
	for _, s := range servers {
		id := string(s.ID)
		m := RosterMember{ID: id, Name: n.nameOf(id), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
		if m.Name == id {
			m.Name = ""
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b RosterMember) int { return cmp.Compare(a.ID, b.ID) })
	return members
}
