package command

// Announce tells the state who leads and who belongs to the cluster, and what else a leader has to say that the state
// cannot know by itself. What is new of it becomes events.
type Announce struct {
	Leader  string            `cbor:"1,keyasint,omitempty"` // node id
	Term    uint64            `cbor:"2,keyasint,omitempty"`
	Members []AnnouncedMember `cbor:"3,keyasint,omitempty"` // all of them, by id; none: only Notices count
	Notices []Notice          `cbor:"4,keyasint,omitempty"`
}

// AnnouncedMember is one master of the configuration.
type AnnouncedMember struct {
	ID      string `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"`
	Address string `cbor:"3,keyasint"` // "host:port"
	Voter   bool   `cbor:"4,keyasint,omitempty"`
}

// Notice is something that happened to the leader, such as a commit that took long.
type Notice struct {
	Type   string `cbor:"1,keyasint"`           // lower-case letters and underscores
	Node   string `cbor:"2,keyasint,omitempty"` // node id of the master that it happened to
	Number int64  `cbor:"3,keyasint,omitempty"`
	Detail string `cbor:"4,keyasint,omitempty"` // a code as Type is one; catalog.EventTypes lists them
	// The attempt that it is about, if any, and the worker that runs it.
	Execution int64  `cbor:"5,keyasint,omitempty"`
	Attempt   int    `cbor:"6,keyasint,omitempty"`
	Worker    string `cbor:"7,keyasint,omitempty"` // AgentId
}
