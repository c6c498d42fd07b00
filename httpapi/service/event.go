package service

import (
	"context"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

const (
	eventBatch = 256
	// eventWait is how long a node that is behind may take to reach the place from which a reader goes on.
	eventWait = 5 * time.Second
)

// Event is an event of the state as callers see it. A field that does not belong to the event's type is empty.
type Event struct {
	ID         string // "index.number", equal on every master
	Time       time.Time
	Type       string
	Execution  int64
	Attempt    int
	Status     int64 // of the execution, after the event
	StatusName string
	Folder     string
	Project    string
	Package    string
	Worker     string // AgentId
	Node       string // a master's id
	Name       string // for people
	Owner      string
	Term       int64
	Level      int64
	Version    int64
	Ms         int64
	ExitCode   int64
	Voter      bool
	Detail     string
}

// Events is one caller's way through the events of the state: of this node's, whoever leads. Every node has the same
// ones under the same ids, so a reader that loses one node goes on at another. It is for one goroutine.
type Events struct {
	service *Service
	caller  command.Caller
	at      catalog.EventID // the last one that the reader has
	batch   []Event
}

// Events begins behind the event with the id after, and without one behind the newest event. The error is about the
// id's form.
func (s *Service) Events(caller command.Caller, after string) (*Events, error) {
	e := &Events{service: s, caller: caller}
	if after == "" {
		e.at = s.cfg.State.Reader().LastEvent()
		return e, nil
	}
	var err error
	e.at, err = catalog.ParseEventID(after)
	return e, err
}

// Place is the id of the last event that Next went past, whether or not the caller may see it.
func (e *Events) Place() string { return e.at.String() }

// Reach waits, within a bound, until this node's state has come to the place, and reports whether it has. If it has
// not, the place is of a state before a restore, or of another cluster, and Restart goes on from where this node is.
// It also returns true once ctx ends.
func (e *Events) Reach(ctx context.Context) bool {
	limit := time.NewTimer(eventWait)
	defer limit.Stop()
	for {
		now := e.service.Index()
		if now >= e.at.Index {
			return true
		}
		select {
		case <-e.service.cfg.State.Changed(now):
		case <-limit.C:
			return false
		case <-ctx.Done():
			return true
		}
	}
}

// Restart goes to the newest event.
func (e *Events) Restart() { e.at = e.service.cfg.State.Reader().LastEvent() }

// Batch is what Next found.
type Batch struct {
	// Events are those that the caller may see. They are valid until the next call.
	Events []Event
	// Gone: the events up to the place are not kept any more. The reader has missed some and should read the state anew.
	Gone bool
	// Changed is closed once there may be more events; nil: there may be now.
	Changed <-chan struct{}
}

// Next goes past the events behind the place, at most a batch of them.
func (e *Events) Next() Batch {
	r := e.service.cfg.State.Reader()
	changed := e.service.cfg.State.Changed(r.Index())
	events, from, gone := r.Events(e.at, eventBatch)
	if gone {
		e.at = from
		return Batch{Gone: true}
	}
	e.batch = e.batch[:0]
	for i := range events {
		e.at = events[i].ID
		if events[i].VisibleTo(r, e.caller) {
			e.batch = append(e.batch, shown(&events[i]))
		}
	}
	out := Batch{Events: e.batch}
	if len(events) < eventBatch {
		out.Changed = changed
	}
	return out
}

// shown is an event for callers.
func shown(e *catalog.Event) Event {
	out := Event{
		ID: e.ID.String(), Time: e.Time.Time(), Type: e.Type,
		Execution: e.Execution, Attempt: e.Attempt, Status: int64(e.Status),
		Worker: e.Worker, Node: e.Node, Name: e.Name, Owner: e.Owner, Detail: e.Detail,
		Folder: e.Folder, Project: e.Project, Package: e.Package,
	}
	if e.Type == catalog.EventExecutionEnded {
		out.StatusName = e.Status.String()
	}
	switch e.Kind().Number {
	case "term":
		out.Term = e.Number
	case "level":
		out.Level = e.Number
	case "version":
		out.Version = e.Number
	case "ms":
		out.Ms = e.Number
	case "exit_code":
		out.ExitCode = e.Number
	case "voter":
		out.Voter = e.Number == 1
	}
	return out
}
