package wire

import "time"

// HeaderLastEventID is where a stream of events goes on: the id of the last event that the caller has.
const HeaderLastEventID = "Last-Event-ID"

// EventReset is the type of the event that says that events were missed: those up to its id are not kept any more.
const EventReset = "reset"

// Event is one event of GET /v1/events. Fields that do not belong to its type are absent.
type Event struct {
	ID        string    `json:"id"` // "index.number", equal on every master
	Time      time.Time `json:"time,omitzero"`
	Type      string    `json:"type"`
	Execution int64     `json:"execution_id,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Status    int64     `json:"status,omitempty"` // of the execution, after the event
	// StatusName is Status in a word; with Folder, Project and Package it stands in execution_ended.
	StatusName string `json:"status_name,omitempty"`
	Folder     string `json:"folder_name,omitempty"`
	Project    string `json:"project_name,omitempty"`
	Package    string `json:"package_name,omitempty"`
	Worker     string `json:"worker,omitempty"` // AgentId
	Node       string `json:"node,omitempty"`   // a master's id
	Name       string `json:"name,omitempty"`   // folder/project/package, a worker's or a master's name
	Owner      string `json:"owner,omitempty"`  // who created the execution
	Term       int64  `json:"term,omitempty"`
	Level      int64  `json:"level,omitempty"`
	Version    int64  `json:"version,omitempty"`
	Ms         int64  `json:"ms,omitempty"`
	ExitCode   int64  `json:"exit_code,omitempty"`
	Detail     string `json:"detail,omitempty"`
}
