package master

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

// announceEvery is how often a leader compares what it would announce with what the state holds. It takes no call.
const announceEvery = 200 * time.Millisecond

// mostNoted bounds the notices that wait for a log that does not move.
const mostNoted = 64

// mostDetail is how many bytes of detail the state takes.
const mostDetail = 1024

// notices are what happened to this master and is not in the state yet.
type notices struct {
	mu   sync.Mutex
	list []command.Notice
}

func (n *notices) add(notice command.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) < mostNoted {
		n.list = append(n.list, notice)
	}
}

func (n *notices) take() []command.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// announce is a leader routine: it tells the state who leads and who belongs to the cluster whenever that has changed, so that
// the log has it for events. A leader that dies before it could leaves it to the next.
func (m *Master) announce(ctx context.Context) error {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	var noted []command.Notice
	for {
		if view := m.fsm.View(); view.Level() >= command.Specs[command.KindAnnounce].Level {
			noted = append(noted, m.noted.take()...)
			if c, due := m.announcement(view, noted); due {
				if err := m.propose(ctx, c); err != nil {
					if ctx.Err() == nil {
						m.log.Debug("announcement not written yet", "err", err)
					}
				} else {
					noted = nil
				}
			}
		}
		select {
		case <-ctx.Done():
			for _, n := range noted {
				m.noted.add(n) // for the next time that this master leads
			}
			return nil
		case <-tick.C:
		}
	}
}

func (m *Master) propose(ctx context.Context, cmd command.Command) error {
	env, err := command.Wrap(cmd)
	if err != nil {
		return err
	}
	env.Caller = command.Caller{Kind: "master", Name: m.cfg.Name}
	result, _, err := m.node.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	return err
}

// announcement is what the state does not hold yet.
func (m *Master) announcement(view *catalog.Reader, noted []command.Notice) (*command.Announce, bool) {
	leader, term, known := view.Announced()
	c := &command.Announce{Leader: m.ID(), Notices: noted}
	if c.Term, _ = m.node.IsLeader(); c.Term == 0 {
		return nil, false
	}
	for _, x := range m.node.Roster() {
		c.Members = append(c.Members, command.AnnouncedMember{ID: x.ID, Name: x.Name, Address: x.Address, Voter: x.Voter})
	}
	same := leader == c.Leader && term == c.Term && slices.Equal(known, c.Members)
	return c, len(c.Members) > 0 && !same || len(noted) > 0
}

// slowCommit is told by the node when an entry is long in being committed.
func (m *Master) slowCommit(waited time.Duration, why string) {
	m.noted.add(command.Notice{Type: catalog.EventSlowCommit, Node: m.ID(), Number: waited.Milliseconds(), Detail: why})
}

// orphan notes an attempt that a worker runs although it is not its own any more. The dispatcher has logged it.
func (m *Master) orphan(worker string, ref command.AttemptRef) {
	m.noted.add(command.Notice{Type: catalog.EventReportFenced, Node: m.ID(),
		Detail: fmt.Sprintf("worker %s still ran attempt %d of task %d; it was told to end it", worker, ref.Attempt, ref.TaskID)})
}

// watchDisks is a leader routine: it notes each master whose disk is no longer fit to lead with, once until it is.
func (m *Master) watchDisks(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Heartbeat)
	defer tick.Stop()
	full := map[string]bool{}
	for {
		for _, x := range m.node.Members(ctx) {
			if x.Disk != "" && !full[x.ID] {
				m.noted.add(command.Notice{Type: catalog.EventDiskFull, Node: x.ID, Number: x.FreeBytes,
					Detail: strings.ToValidUTF8(x.Disk[:min(len(x.Disk), mostDetail)], "")})
			}
			if x.Err == "" { // its silence says nothing about its disk
				full[x.ID] = x.Disk != ""
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tell writes the log lines of events that have no line of their own where they happen. The leader alone writes them:
// they are the same everywhere, and a master that starts sees old ones again.
func (m *Master) tell(events []catalog.Event) {
	if len(events) == 0 {
		return
	}
	if _, ready := m.node.IsLeader(); !ready {
		return
	}
	for i := range events {
		e := &events[i]
		switch e.Type {
		case catalog.EventReportFenced:
			if e.Execution == 0 {
				continue // an orphan
			}
			m.log.Warn("report fenced: the attempt is not that worker's any more", "event", e.ID.String(), "task", e.Execution,
				"attempt", e.Attempt, "worker", e.Worker, "detail", e.Detail)
		case catalog.EventMemberJoined, catalog.EventMemberPromoted, catalog.EventMemberMoved, catalog.EventMemberRemoved:
			m.log.Info("membership changed", "event", e.ID.String(), "change", e.Type, "name", e.Name, "id", e.Node, "detail", e.Detail)
		case catalog.EventDiskFull:
			m.log.Warn("the disk of a master is full or refuses writes", "event", e.ID.String(), "name", e.Name, "id", e.Node, "detail", e.Detail)
		case catalog.EventLeaderElected:
			m.log.Info("leadership changed", "event", e.ID.String(), "leader", e.Name, "id", e.Node, "term", e.Number)
		}
	}
}
