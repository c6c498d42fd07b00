package cluster

import (
	"github.com/hashicorp/raft"

	"scaleout/cluster/proposer"
	"scaleout/fsm/command"
)

// Machine is what a Node needs of the state machine.
type Machine interface {
	raft.FSM
	// Reader reads the state of this moment.
	Reader() MachineReader
	// Index is the index of the newest entry that the state holds.
	Index() uint64
}

// MachineReader is what a Node needs to know of the catalog.
type MachineReader interface {
	Level() int
	ClusterID() string
	Master(id string) (*command.MasterBeat, bool)
}

// Applied is one entry's results, as the state machine gives them.
type Applied = proposer.Applied

// MachineMaker makes the state machine of a node with the node's hooks. The state machine must call applied after every
// entry, from the goroutine that applies and before Apply returns, and failed for an entry that it can neither apply
// nor skip.
type MachineMaker func(applied func(Applied), failed func(error)) (Machine, error)
