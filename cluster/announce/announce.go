package announce

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"scaleout/cluster"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/logkey"
)

const (
	// compareInterval is how often a leader compares what it would announce with the state. A comparison takes no call.
	compareInterval = 200 * time.Millisecond
	// maxNotices bounds the notices that wait to be written, and those of one announcement: the state accepts no more.
	maxNotices = 64
)

// Node is this master's node of the cluster.
type Node interface {
	ID() string
	IsLeader() (term uint64, ready bool)
	Roster() []cluster.RosterMember
	Members(ctx context.Context) []cluster.Member
	Propose(ctx context.Context, env command.Envelope) (command.Result, uint64, error)
}

// State is the replicated state.
type State interface {
	Reader() *catalog.Reader
}

// Config is what an Announcer needs.
type Config struct {
	Node         Node
	State        State
	Master       string        // name of this master
	DiskInterval time.Duration // how often the disks of all masters are looked at
	Logger       *slog.Logger
}

// Announcer announces for one master.
type Announcer struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	notices []command.Notice // not yet in the state
}

// New makes an Announcer.
func New(cfg Config) *Announcer { return &Announcer{cfg: cfg, log: cfg.Logger} }

func (a *Announcer) note(list ...command.Notice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notices = append(a.notices, list[:min(len(list), maxNotices-len(a.notices))]...)
}

// takeNotices takes at most limit notices out of the list.
func (a *Announcer) takeNotices(limit int) []command.Notice {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(limit, len(a.notices))
	list := slices.Clone(a.notices[:n])
	a.notices = slices.Delete(a.notices, 0, n)
	return list
}

// Run is a leader routine: it writes leader, members and notices whenever the state does not hold them.
func (a *Announcer) Run(ctx context.Context) error {
	tick := time.NewTicker(compareInterval)
	defer tick.Stop()
	var taken []command.Notice
	for {
		if reader := a.cfg.State.Reader(); reader.Level() >= command.LevelOf(&command.Announce{}) {
			taken = append(taken, a.takeNotices(maxNotices-len(taken))...)
			if c, due := a.announcement(reader, taken); due {
				if err := a.propose(ctx, c); err == nil {
					taken = nil
				} else if ctx.Err() == nil {
					a.log.LogAttrs(ctx, slog.LevelDebug, "announcement not written yet", slog.Any(logkey.Err, err))
				}
			}
		}
		select {
		case <-ctx.Done():
			a.note(taken...) // for the next time that this master leads
			return nil
		case <-tick.C:
		}
	}
}

// announcement returns what the state does not hold yet, and false if it holds everything.
func (a *Announcer) announcement(reader *catalog.Reader, notices []command.Notice) (*command.Announce, bool) {
	leader, term, known := reader.Announced()
	c := &command.Announce{Leader: a.cfg.Node.ID(), Notices: notices}
	if c.Term, _ = a.cfg.Node.IsLeader(); c.Term == 0 {
		return nil, false
	}
	for _, x := range a.cfg.Node.Roster() {
		c.Members = append(c.Members, command.AnnouncedMember{ID: x.ID, Name: x.Name, Address: x.Address, Voter: x.Voter})
	}
	same := leader == c.Leader && term == c.Term && slices.Equal(known, c.Members)
	return c, len(c.Members) > 0 && !same || len(notices) > 0
}

func (a *Announcer) propose(ctx context.Context, cmd command.Command) error {
	env, err := command.Wrap(cmd)
	if err != nil {
		return err
	}
	env.Caller = command.Caller{Kind: "master", Name: a.cfg.Master}
	result, _, err := a.cfg.Node.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	return err
}

// SlowCommit notes an entry that took long to be committed.
func (a *Announcer) SlowCommit(waited time.Duration, ownDisk bool) {
	n := command.Notice{Type: catalog.EventSlowCommit, Node: a.cfg.Node.ID(), Number: waited.Milliseconds(),
		Detail: catalog.SlowOtherMasters}
	if ownDisk {
		n.Detail = catalog.SlowOwnDisk
	}
	a.note(n)
}

// Orphan notes an attempt that a worker runs although it is not its own any more. The dispatcher has logged it.
func (a *Announcer) Orphan(worker string, ref command.AttemptRef) {
	a.note(command.Notice{Type: catalog.EventReportFenced, Node: a.cfg.Node.ID(), Execution: ref.TaskID,
		Attempt: ref.Attempt, Worker: worker})
}

// WatchDisks is a leader routine: it notes each master whose disk is no longer fit to lead with, once until the disk is
// healthy again.
func (a *Announcer) WatchDisks(ctx context.Context) error {
	tick := time.NewTicker(a.cfg.DiskInterval)
	defer tick.Stop()
	full := map[string]bool{}
	for {
		for _, x := range a.cfg.Node.Members(ctx) {
			if x.Disk != "" && !full[x.ID] {
				a.log.LogAttrs(ctx, slog.LevelWarn, "the disk of a master is full or refuses writes",
					slog.String(logkey.Master, x.Name), slog.String(logkey.MasterID, x.ID), slog.String(logkey.Disk, x.Disk))
				n := command.Notice{Type: catalog.EventDiskFull, Node: x.ID, Number: x.FreeBytes,
					Detail: catalog.DiskWriteFailed}
				if x.FreeBytes >= 0 && x.FreeBytes < cluster.RoomToLead {
					n.Detail = catalog.DiskNoRoom
				}
				a.note(n)
			}
			if x.Err == "" { // the silence of a master says nothing about its disk
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

// LogEvents logs those events of an applied entry that no other room logs. Only the leader logs them: they are the same
// on every master, and a master that starts sees old ones again.
func (a *Announcer) LogEvents(events []catalog.Event) {
	if len(events) == 0 {
		return
	}
	if _, ready := a.cfg.Node.IsLeader(); !ready {
		return
	}
	for i := range events {
		e := &events[i]
		switch e.Type {
		case catalog.EventReportFenced:
			if e.Node != "" {
				continue // an orphan, which the dispatcher logs
			}
			a.log.LogAttrs(context.Background(), slog.LevelWarn, "report fenced: the attempt is not that worker's any more",
				slog.String(logkey.Event, e.ID.String()), slog.Int64(logkey.TaskID, e.Execution),
				slog.Int(logkey.Attempt, e.Attempt), slog.String(logkey.Worker, e.Worker), slog.String(logkey.Detail, e.Detail))
		case catalog.EventMemberJoined, catalog.EventMemberPromoted, catalog.EventMemberMoved, catalog.EventMemberRemoved:
			a.log.LogAttrs(context.Background(), slog.LevelInfo, "membership changed", slog.String(logkey.Event, e.ID.String()),
				slog.String(logkey.Change, e.Type), slog.String(logkey.Master, e.Name), slog.String(logkey.MasterID, e.Node),
				slog.String(logkey.Detail, e.Detail))
		case catalog.EventLeaderElected:
			a.log.LogAttrs(context.Background(), slog.LevelInfo, "leadership changed", slog.String(logkey.Event, e.ID.String()),
				slog.String(logkey.Leader, e.Name), slog.String(logkey.MasterID, e.Node), slog.Int64(logkey.Term, e.Number))
		}
	}
}
