package catalog

import (
	"slices"
	"strings"

	"scaleout/fsm/command"
)

// roster is who leads and who belongs to the cluster, as a leader announced it last. It is never changed in place.
type roster struct {
	Leader  string                    `cbor:"1,keyasint"`
	Term    uint64                    `cbor:"2,keyasint"`
	Members []command.AnnouncedMember `cbor:"3,keyasint"`
}

// mostMembers and mostNotices bound what one command announces.
const (
	mostMembers = 64
	mostNotices = 64
)

// announce takes a leader's word on what lies outside the state. The events are the difference to what was announced
// before: whoever repeats it, as the next leader does, causes none twice.
func announce(r *Reader, e *edit, c *command.Announce) command.Result {
	if len(c.Members) > mostMembers || len(c.Notices) > mostNotices {
		return reject(command.CodeAnnouncement, len(c.Members), len(c.Notices), mostMembers, mostNotices)
	}
	for _, n := range c.Notices {
		if n.Type == "" || !isCode(n.Type) || !isCode(n.Detail) || len(n.Worker) > mostCode {
			return reject(command.CodeNotice, n.Type, n.Detail, mostCode)
		}
	}
	old := r.meta.Roster
	if old == nil {
		old = &roster{}
	}
	if len(c.Members) > 0 && c.Term >= old.Term {
		e.Roster = &roster{Leader: c.Leader, Term: c.Term, Members: slices.Clone(c.Members)}
		e.rosterEvents(old, e.Roster)
	}
	for _, n := range c.Notices {
		ev := Event{Type: n.Type, Node: n.Node, Name: e.Roster.name(n.Node), Number: n.Number, Detail: n.Detail,
			Execution: n.Execution, Attempt: n.Attempt, Worker: n.Worker}
		if x, ok := r.Execution(n.Execution); ok {
			ev.Status, ev.Owner, ev.Name = x.Status, x.Caller, x.Folder+"/"+x.Project+"/"+x.Package
		}
		e.say(ev)
	}
	return command.Result{}
}

// isCode reports whether a text is "" or a code: nothing that a person may want to reword.
func isCode(s string) bool {
	return len(s) <= mostCode && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

func (r *roster) find(id string) (command.AnnouncedMember, bool) {
	if r != nil {
		for _, m := range r.Members {
			if m.ID == id {
				return m, true
			}
		}
	}
	return command.AnnouncedMember{}, false
}

func (r *roster) name(id string) string {
	m, _ := r.find(id)
	return m.Name
}

func (e *edit) rosterEvents(old, now *roster) {
	for _, m := range now.Members {
		was, known := old.find(m.ID)
		voter := int64(0)
		if m.Voter {
			voter = 1
		}
		switch {
		case !known:
			e.say(Event{Type: EventMemberJoined, Node: m.ID, Name: m.Name, Number: voter, Detail: m.Address})
			continue
		case m.Voter && !was.Voter:
			e.say(Event{Type: EventMemberPromoted, Node: m.ID, Name: m.Name})
		}
		if m.Address != was.Address {
			e.say(Event{Type: EventMemberMoved, Node: m.ID, Name: m.Name, Detail: m.Address})
		}
	}
	for _, m := range old.Members {
		if _, stays := now.find(m.ID); !stays {
			e.say(Event{Type: EventMemberRemoved, Node: m.ID, Name: m.Name})
		}
	}
	if now.Leader != "" && (now.Leader != old.Leader || now.Term != old.Term) {
		e.say(Event{Type: EventLeaderElected, Node: now.Leader, Name: now.name(now.Leader), Number: int64(now.Term)})
	}
}

// Announced is the roster that the state holds: who leads, in which term, and who belongs to the cluster.
func (r *Reader) Announced() (leader string, term uint64, members []command.AnnouncedMember) {
	if r.meta.Roster == nil {
		return "", 0, nil
	}
	return r.meta.Roster.Leader, r.meta.Roster.Term, r.meta.Roster.Members
}

// say keeps an event until the edit is written.
func (e *edit) say(ev Event) {
	ev.Time = e.Time
	e.events = append(e.events, ev)
}
