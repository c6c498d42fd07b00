package cluster

import (
	"github.com/hashicorp/raft"

	"scaleout/cluster/proposer"
	"scaleout/fsm/command"
)

// Machine is what a Node needs of the state machine.
type Machine interface {
	raft.FSM
	// View is the state of this moment.
	View() MachineState
	// Index is the index of the newest entry that the state holds.
	Index() uint64
}

// MachineState is what a Node needs to know of the catalog.
type MachineState interface {
	Level() int
	ClusterID() string
	Master(id string) (*command.MasterBeat, bool)
}

// Applied is one entry's results, as the state machine gives them.
type Applied = proposer.Applied

// MachineMaker makes the state machine of a node, with the node's hooks: applied is to be called after every entry,
// from the goroutine that applies and before Apply returns; failed when an entry can neither be applied nor skipped.
type MachineMaker func(applied func(Applied), failed func(error)) (Machine, error)
