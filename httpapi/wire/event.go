package wire

import "time"

// HeaderLastEventID is the id of the last event that the caller has. The stream continues after that event.
const HeaderLastEventID = "Last-Event-ID"

// EventReset is the type of the event that says that events were missed: the events up to its id are not kept any more.
const EventReset = "reset"

// Event is one event of GET /v1/events. A field that does not belong to the event's type is absent.
type Event struct {
	ID        string    `json:"id"` // "index.number", equal on every master
	Time      time.Time `json:"time,omitzero"`
	Type      string    `json:"type"`
	Execution int64     `json:"execution_id,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Status    int64     `json:"status,omitempty"` // of the execution, after the event
	// StatusName is the name of Status. Events of type execution_ended have it, and Folder, Project and Package.
	StatusName string `json:"status_name,omitempty"`
	Folder     string `json:"folder_name,omitempty"`
	Project    string `json:"project_name,omitempty"`
	Package    string `json:"package_name,omitempty"`
	Worker     string `json:"worker,omitempty"` // AgentId
	Node       string `json:"node,omitempty"`   // a master's id
	Name       string `json:"name,omitempty"`   // folder/project/package, or the name of a worker or master
	Owner      string `json:"owner,omitempty"`  // the user who created the execution
	Term       int64  `json:"term,omitempty"`
	Level      int64  `json:"level,omitempty"`
	Version    int64  `json:"version,omitempty"`
	Ms         int64  `json:"ms,omitempty"`
	ExitCode   int64  `json:"exit_code,omitempty"`
	Voter      bool   `json:"voter,omitempty"` // of member_joined: as a voter already
	Detail     string `json:"detail,omitempty"`
}
