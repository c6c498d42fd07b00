package gossip

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// Meta is what a master says about itself. It travels in every announcement and must stay below 512 bytes encoded.
type Meta struct {
	ID              string `json:"i"`
	Name            string `json:"n"`
	Address         string `json:"a"` // "host:port" of its one TLS port, a name where it has one
	Version         string `json:"v,omitempty"`
	Level           int    `json:"l,omitempty"`
	BootstrapExpect int    `json:"e,omitempty"`
	HasState        bool   `json:"s,omitempty"` // it has a Raft log or snapshot: a cluster exists
	Stopping        bool   `json:"x,omitempty"` // it is about to stop: no leadership should be handed to it
}

func (m Meta) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("name %q, address %q and version %q take %d bytes in gossip; want at most %d: shorten the "+
			"node name",
			m.Name, m.Address, m.Version, len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

// decode reads what a node announced. node is memberlist's name for it, which must be its id.
func decode(node string, b []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{}, fmt.Errorf("unreadable announcement: %w", err)
	}
	if m.ID != node {
		return Meta{}, fmt.Errorf("announces id %q under the name %q", m.ID, node)
	}
	return m, nil
}

// Member is a master that gossip has heard of.
type Member struct {
	Meta
	GossipAddress string
	// Alive is false if the master left or stopped answering. Its last announcement is kept, for its address.
	Alive bool
}

// EventKind says what happened to a member.
type EventKind string

// The kinds of events.
const (
	Joined  EventKind = "joined"
	Left    EventKind = "left"
	Updated EventKind = "updated"
)

// Event is one change of the member list.
type Event struct {
	Kind EventKind
	Member
}
