package cluster

import (
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// configurations numbers the configurations that this process has seen. Raft knows the index of the latest one, but
// only its main loop gives it, and a question to that loop blocks while the disk stalls.
type configurations struct {
	mu     sync.Mutex
	number uint64
	last   []raft.Server
}

func (c *configurations) see(servers []raft.Server) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.number == 0 || !slices.Equal(c.last, servers) {
		c.number++
		c.last = slices.Clone(servers)
	}
	return c.number
}

// configuration returns Raft's latest configuration, committed or not, and a number that changes whenever it does.
func (n *Node) configuration() (uint64, []raft.Server) {
	// Answered from memory: this future never blocks.
	servers := n.raft.GetConfiguration().Configuration().Servers
	return n.config.see(servers), servers
}

// Voters returns the ids of the voters of the latest configuration, and a number that changes whenever the
// configuration does. The number means nothing outside this process.
func (n *Node) Voters() (number uint64, ids []string) {
	if !n.up() {
		return 0, nil
	}
	number, servers := n.configuration()
	for _, id := range voterIDs(servers) {
		ids = append(ids, string(id))
	}
	return number, ids
}

// Servers returns the ids of all members of the latest configuration: voters and non-voters.
func (n *Node) Servers() []string {
	if !n.up() {
		return nil
	}
	_, servers := n.configuration()
	ids := make([]string, len(servers))
	for i, s := range servers {
		ids[i] = string(s.ID)
	}
	return ids
}

// Configuration returns the ids of the voters and of all other members of the latest configuration, and its number (see
// Voters).
func (n *Node) Configuration() (number uint64, voters, others []string) {
	if !n.up() {
		return 0, nil, nil
	}
	number, servers := n.configuration()
	voters, others = split(servers)
	return number, voters, others
}

func split(servers []raft.Server) (voters, others []string) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters = append(voters, string(s.ID))
		} else {
			others = append(others, string(s.ID))
		}
	}
	return voters, others
}

// Addresses returns the present addresses ("host:port") of all members of the latest configuration, as far as they are
// known.
func (n *Node) Addresses() []string {
	var list []string
	for _, id := range n.Servers() {
		if a, ok := n.Address(id); ok {
			list = append(list, a)
		}
	}
	return list
}

// Peers returns the present addresses ("host:port") of the voters.
func (n *Node) Peers() []string {
	_, ids := n.Voters()
	var list []string
	for _, id := range ids {
		if id == n.id {
			list = append(list, n.cfg.AdvertiseAddress)
		} else if a, ok := n.Address(id); ok {
			list = append(list, a)
		}
	}
	return list
}

func voterIDs(servers []raft.Server) []raft.ServerID {
	var ids []raft.ServerID
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// others returns the ids of all servers but self.
func others(servers []raft.Server, self string) []string {
	var ids []string
	for _, s := range servers {
		if string(s.ID) != self {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

func findServer(servers []raft.Server, id string) (raft.Server, bool) {
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	if i < 0 {
		return raft.Server{}, false
	}
	return servers[i], true
}
