package catalog

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"scaleout/fsm/command"
)

// eventsFrom is the feature level from which on the state keeps events. Below it there may be masters that cannot read
// a snapshot with events in it.
const eventsFrom = 2

// EventID orders events: the index of the log entry that caused it and the event's number within the entry. It is the
// same on every master.
type EventID struct {
	Index uint64 `cbor:"1,keyasint"`
	Seq   int    `cbor:"2,keyasint,omitempty"`
}

func (id EventID) String() string {
	return strconv.FormatUint(id.Index, 10) + "." + strconv.Itoa(id.Seq)
}

// Compare is negative when id comes before other.
func (id EventID) Compare(other EventID) int {
	return cmp.Or(cmp.Compare(id.Index, other.Index), cmp.Compare(id.Seq, other.Seq))
}

// ParseEventID reads what String wrote; a bare index means the whole entry's beginning.
func ParseEventID(s string) (EventID, error) {
	index, seq, both := strings.Cut(s, ".")
	i, err := strconv.ParseUint(index, 10, 64)
	if err != nil {
		return EventID{}, fmt.Errorf("%.64q is no id of an event: \"index.number\" was expected, as in 1042.0", s)
	}
	n := 0
	if both {
		if n, err = strconv.Atoi(seq); err != nil || n < 0 {
			return EventID{}, fmt.Errorf("%.64q is no id of an event: \"index.number\" was expected, as in 1042.0", s)
		}
	}
	return EventID{i, n}, nil
}

// Event is something that happened, as the log tells it.
type Event struct {
	ID        EventID      `cbor:"1,keyasint"`
	Time      command.Time `cbor:"2,keyasint"`
	Type      string       `cbor:"3,keyasint"` // one of EventTypes, or a leader's notice of a newer version
	Execution int64        `cbor:"4,keyasint,omitempty"`
	Attempt   int          `cbor:"5,keyasint,omitempty"`
	Status    Status       `cbor:"6,keyasint,omitempty"` // of the execution, after the event
	Worker    string       `cbor:"7,keyasint,omitempty"` // AgentId
	Node      string       `cbor:"8,keyasint,omitempty"` // a master's node id
	Name      string       `cbor:"9,keyasint,omitempty"` // of what the event is about, for people
	Owner     string       `cbor:"10,keyasint,omitempty"`
	Number    int64        `cbor:"11,keyasint,omitempty"` // EventType.Number says what it means
	Detail    string       `cbor:"12,keyasint,omitempty"`
	// The package of an execution's end. Name holds the three too, for people; a name may have a slash in it.
	Folder  string `cbor:"13,keyasint,omitempty"`
	Project string `cbor:"14,keyasint,omitempty"`
	Package string `cbor:"15,keyasint,omitempty"`
}

// EventType describes a type of events.
type EventType struct {
	Name   string
	Number string // the meaning of Event.Number; "" when it has none
	Detail string // the meaning of Event.Detail; "" when it has none. It is a plain value, never a sentence of ours
	Doc    string
	group  eventGroup
}

type eventGroup uint8

const (
	ofCluster   eventGroup = iota // any user sees it
	ofCatalog                     // those who may run packages, read logs or monitor
	ofExecution                   // who created the execution, and those who read logs or monitor
)

// The types of events.
const (
	EventExecutionCreated  = "execution_created"
	EventExecutionStarted  = "execution_started"
	EventExecutionGranted  = "execution_granted"
	EventExecutionAdopted  = "execution_adopted"
	EventExecutionStopping = "execution_stopping"
	EventExecutionEnded    = "execution_ended"
	EventAttemptLost       = "attempt_lost"
	EventAttemptFailed     = "attempt_failed"
	EventAttemptReturned   = "attempt_returned"
	EventReportFenced      = "report_fenced"
	EventWorkerRegistered  = "worker_registered"
	EventWorkerEnabled     = "worker_enabled"
	EventWorkerDisabled    = "worker_disabled"
	EventWorkerDeleted     = "worker_deleted"
	EventFolderCreated     = "folder_created"
	EventFolderDeleted     = "folder_deleted"
	EventProjectDeployed   = "project_deployed"
	EventProjectDeleted    = "project_deleted"
	EventLeaderElected     = "leader_elected"
	EventMemberJoined      = "member_joined"
	EventMemberPromoted    = "member_promoted"
	EventMemberMoved       = "member_moved"
	EventMemberRemoved     = "member_removed"
	EventLevelRaised       = "level_raised"
	EventSlowCommit        = "slow_commit"
	EventDiskFull          = "disk_full"
	EventStateRestored     = "state_restored"
)

// Details of events that a leader notices.
const (
	SlowOwnDisk      = "own_disk"      // EventSlowCommit
	SlowOtherMasters = "other_masters" // EventSlowCommit
	DiskNoRoom       = "no_room"       // EventDiskFull
	DiskWriteFailed  = "write_failed"  // EventDiskFull
)

var eventTypes = []EventType{
	{EventExecutionCreated, "", "who created it", "an execution was created", ofExecution},
	{EventExecutionStarted, "", "", "an execution was started: it waits for a worker", ofExecution},
	{EventExecutionGranted, "", "the worker's machine", "a worker was given an attempt", ofExecution},
	{EventExecutionAdopted, "", "the worker's machine", "a worker's new process took a running attempt over", ofExecution},
	{EventExecutionStopping, "", "who asked", "somebody asked for a stop of a running execution", ofExecution},
	{EventExecutionEnded, "exit_code", "", "an execution has ended", ofExecution},
	{EventAttemptLost, "", "the worker's machine", "an attempt was lost: its worker was silent for too long", ofExecution},
	{EventAttemptFailed, "exit_code", "the outcome", "an attempt did not succeed", ofExecution},
	{EventAttemptReturned, "", "what the worker said", "a worker handed an attempt back unused", ofExecution},
	{EventReportFenced, "", "the code of the refusal; none for an attempt that still ran",
		"a worker reported an attempt that is not its own any more; it was told to end it", ofExecution},
	{EventWorkerRegistered, "", "the worker's machine", "a worker process registered", ofCatalog},
	{EventWorkerEnabled, "", "", "a worker was enabled", ofCatalog},
	{EventWorkerDisabled, "", "", "a worker was disabled", ofCatalog},
	{EventWorkerDeleted, "", "", "a worker was deleted", ofCatalog},
	{EventFolderCreated, "", "", "a folder was created", ofCatalog},
	{EventFolderDeleted, "", "", "a folder was deleted", ofCatalog},
	{EventProjectDeployed, "version", "who deployed it", "a project was deployed", ofCatalog},
	{EventProjectDeleted, "", "", "a project was deleted", ofCatalog},
	{EventLeaderElected, "term", "", "a master leads", ofCluster},
	{EventMemberJoined, "voter", "its address", "a master became a member, as a voter or on its way to be one", ofCluster},
	{EventMemberPromoted, "", "", "a member became a voter", ofCluster},
	{EventMemberMoved, "", "its address", "a member has another address", ofCluster},
	{EventMemberRemoved, "", "", "a master is not a member any more", ofCluster},
	{EventLevelRaised, "level", "", "the cluster's feature level rose", ofCluster},
	{EventSlowCommit, "ms", "`own_disk` or `other_masters`: what it waited for",
		"an entry waited long for the leader's disk or for other masters", ofCluster},
	{EventDiskFull, "bytes_free", "`no_room` or `write_failed`",
		"the disk of a master is full or refuses writes; it will not lead", ofCluster},
	{EventStateRestored, "", "", "the state was restored from a backup", ofCluster},
}

// EventTypes lists the types of events.
func EventTypes() []EventType { return append([]EventType(nil), eventTypes...) }

// Kind describes the event's type; one that this version does not know has an empty Number.
func (e *Event) Kind() EventType {
	for i := range eventTypes {
		if eventTypes[i].Name == e.Type {
			return eventTypes[i]
		}
	}
	return EventType{Name: e.Type}
}

// VisibleTo reports whether the caller may see the event, by the rules of the views that show the same.
func (e *Event) VisibleTo(r *Reader, c command.Caller) bool {
	switch e.Kind().group {
	case ofExecution:
		return Can(r, c, command.RightRead, command.OperationObject(e.Execution, e.Owner))
	case ofCatalog:
		return Can(r, c, command.RightRead, command.Object{Type: command.OnFolder})
	}
	return c.Kind == "user"
}

// observe tells what a row change means. It is called before the row is changed.
func (s *State) observe(c change) {
	switch row := c.row.(type) {
	case *Execution:
		if c.table == tableLive {
			s.observeExecution(c.op, row)
		}
	case *Worker:
		s.observeWorker(c.op, row)
	case *Folder:
		switch c.op {
		case added:
			s.events.say(Event{Time: s.now.Time, Type: EventFolderCreated, Name: row.Name})
		case removed:
			s.events.say(Event{Time: s.now.Time, Type: EventFolderDeleted, Name: row.Name})
		}
	case *Project:
		s.observeProject(c.op, row)
	}
}

func (s *State) observeProject(op changeOp, p *Project) {
	ev := Event{Time: s.now.Time, Name: p.Name}
	if f, ok := s.working().FolderByID(p.FolderID); ok {
		ev.Name = f.Name + "/" + p.Name
	}
	switch op {
	case removed:
		ev.Type = EventProjectDeleted
	default:
		if old, ok := s.working().ProjectByID(p.ID); ok && old.Version == p.Version {
			return
		}
		ev.Type, ev.Number, ev.Detail = EventProjectDeployed, p.Version, p.DeployedBy
	}
	s.events.say(ev)
}

func (s *State) observeWorker(op changeOp, w *Worker) {
	ev := Event{Time: s.now.Time, Worker: w.ID, Name: cmp.Or(w.DisplayName, w.CertName)}
	if op == removed {
		ev.Type = EventWorkerDeleted
		s.events.say(ev)
		return
	}
	old, known := s.working().Worker(w.ID)
	if !known || old.Incarnation != w.Incarnation {
		ev.Type, ev.Detail = EventWorkerRegistered, w.MachineName
		s.events.say(ev)
		ev.Detail = ""
	}
	if known && old.Enabled != w.Enabled {
		ev.Type = EventWorkerDisabled
		if w.Enabled {
			ev.Type = EventWorkerEnabled
		}
		s.events.say(ev)
	}
}

// observeExecution tells of attempts first, then of the execution.
func (s *State) observeExecution(op changeOp, x *Execution) {
	ev := Event{
		Time: s.now.Time, Execution: x.ID, Status: x.Status, Owner: x.Caller,
		Name: x.Folder + "/" + x.Project + "/" + x.Package,
	}
	if op == added {
		ev.Type, ev.Detail = EventExecutionCreated, x.Caller
		s.events.say(ev)
		return
	}
	old, ok := find[Execution](s.working(), tableLive, byID, key(x.ID))
	if !ok {
		return
	}
	before, now := old.current(), x.current()
	if now != nil {
		ev.Attempt, ev.Worker = now.Number, now.Worker
		switch {
		case before == nil || before.Number < now.Number:
			granted := ev
			granted.Type, granted.Detail = EventExecutionGranted, now.Machine
			s.events.say(granted)
		case before.Number == now.Number && before.Held() && now.Held() && before.Incarnation != now.Incarnation:
			adopted := ev
			adopted.Type, adopted.Detail = EventExecutionAdopted, now.Machine
			s.events.say(adopted)
		case before.Number == now.Number && before.Held() && !now.Held():
			s.observeAttempt(ev, now)
		}
	}
	switch {
	case old.Status == x.Status:
		return
	case x.Status == Pending && old.Status == Created:
		ev.Type = EventExecutionStarted
	case x.Status == Stopping:
		ev.Type, ev.Detail = EventExecutionStopping, x.StoppedBy
	case x.Status.HasEnded():
		ev.Type, ev.Folder, ev.Project, ev.Package = EventExecutionEnded, x.Folder, x.Project, x.Package
		if now != nil {
			ev.Number = int64(now.ExitCode)
		}
	default:
		return
	}
	s.events.say(ev)
}

func (s *State) observeAttempt(ev Event, a *Attempt) {
	switch a.Outcome {
	case Lost:
		ev.Type, ev.Detail = EventAttemptLost, a.Machine
	case command.Returned:
		ev.Type, ev.Detail = EventAttemptReturned, a.Message
	case command.Succeeded:
		return // the execution's end says it
	default:
		ev.Type, ev.Number, ev.Detail = EventAttemptFailed, int64(a.ExitCode), string(a.Outcome)
	}
	s.events.say(ev)
}

// fencedReports tells of the reports that were refused because the attempt is not the worker's any more. It never was,
// or does not exist: that is no event, or one worker could make more of them than are kept.
func (s *State) fencedReports(worker string, reports []command.Report, results []command.ItemResult) {
	if s.now.Level < eventsFrom {
		return
	}
	for i, res := range results {
		if i >= len(reports) || command.Family(res.Code) != command.FamilyFenced {
			continue
		}
		x, ok := s.working().Execution(reports[i].TaskID)
		if !ok || !x.WasGiven(reports[i].Attempt, worker) {
			continue
		}
		s.events.say(Event{Time: s.now.Time, Type: EventReportFenced, Execution: x.ID, Attempt: reports[i].Attempt,
			Worker: worker,
			Status: x.Status, Owner: x.Caller, Name: x.Folder + "/" + x.Project + "/" + x.Package, Detail: res.Code})
	}
}
