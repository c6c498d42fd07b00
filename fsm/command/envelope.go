package command

// Command is one change of the catalog: a pointer to a plain struct whose kind is registered. Wrap refuses any other
// value.
type Command any

// Key is a request key: the same key of the same caller yields the first answer again. The zero Key means none.
type Key struct {
	Text    string `cbor:"1,keyasint"`
	Chosen  bool   `cbor:"2,keyasint,omitempty"` // chosen by a caller: kept 24 h; else made by a client library or a forwarding follower: 3 min
	Request []byte `cbor:"3,keyasint,omitempty"` // HMAC of the request: the same key with another request is refused
}

// Envelope is a command with what the leader stamps on it.
type Envelope struct {
	Kind   Kind   `cbor:"1,keyasint"`
	Time   Time   `cbor:"2,keyasint"` // the leader's clock, held within 5 min of the masters' median
	Caller Caller `cbor:"3,keyasint"`
	Key    Key    `cbor:"4,keyasint,omitzero"`
	Body   []byte `cbor:"5,keyasint"` // the command in CBOR
}

// Entry is the payload of one Raft log entry: the commands of one group commit. Proposer and First let the leader
// that proposed it match results to callers; they do not touch the state.
type Entry struct {
	Proposer uint64     `cbor:"1,keyasint"` // random per leadership generation
	First    uint64     `cbor:"2,keyasint"` // proposal number of Commands[0]; the others follow
	Commands []Envelope `cbor:"3,keyasint"`
}

// Result is what the state machine answers to one command, equal on every node. Either Rejection is set and the
// command changed nothing, or it was applied.
type Result struct {
	Rejection *Rejection   `cbor:"1,keyasint,omitempty"`
	Value     int64        `cbor:"2,keyasint,omitempty"` // the id that the command made, where it made one
	Items     []ItemResult `cbor:"3,keyasint,omitempty"` // one per item of a list command, in order
}

// ItemResult is the answer to one item of a list command; each item is applied or rejected on its own.
type ItemResult struct {
	Code  string   `cbor:"1,keyasint,omitempty"` // "" applied; else the code of a Rejection
	Args  []string `cbor:"2,keyasint,omitempty"` // of that code
	Value int64    `cbor:"3,keyasint,omitempty"`
}
