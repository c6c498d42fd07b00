package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"scaleout/cluster"
	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node and its state. What is proposed is applied at once.
type fakeNode struct {
	t *testing.T

	mu      sync.Mutex
	state   *catalog.State
	reader  *catalog.Reader
	term    uint64
	roster  []cluster.RosterMember
	members []cluster.Member
	fail    error
	written []*command.Announce
}

func newNode(t *testing.T, level int) *fakeNode {
	f := &fakeNode{t: t, state: catalog.NewState(), term: 3, roster: []cluster.RosterMember{
		{ID: "a", Name: "m1", Address: "h1:1", Voter: true}, {ID: "b", Name: "m2", Address: "h2:1", Voter: true},
	}}
	f.apply(&command.InitCluster{ClusterID: "c1", Level: level})
	return f
}

func (f *fakeNode) apply(cmd command.Command) command.Result {
	env, err := command.Wrap(cmd)
	if err != nil {
		f.t.Error(err)
	}
	index := f.state.Index() + 1
	env.Time = command.Time(index)
	result, err := f.state.Apply(index, env)
	if err != nil {
		f.t.Error(err)
	}
	f.state.Commit(index)
	f.reader = f.state.Reader()
	return result
}

func (f *fakeNode) ID() string { return "a" }
func (f *fakeNode) Reader() *catalog.Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reader
}
func (f *fakeNode) IsLeader() (uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.term, f.term != 0
}
func (f *fakeNode) Roster() []cluster.RosterMember {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.roster)
}
func (f *fakeNode) Members(context.Context) []cluster.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.members)
}
func (f *fakeNode) Propose(_ context.Context, env command.Envelope) (command.Result, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cmd, err := env.Command()
	if err != nil || f.fail != nil {
		return command.Result{}, 0, errors.Join(err, f.fail)
	}
	if env.Caller.Kind != "master" || env.Caller.Name != "m1" {
		f.t.Errorf("announced by %+v", env.Caller)
	}
	result := f.apply(cmd)
	if result.Rejection == nil {
		f.written = append(f.written, cmd.(*command.Announce))
	}
	return result, f.state.Index(), nil
}

// set changes what the node says.
func (f *fakeNode) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// take returns what was written since it was called last, after a moment.
func (f *fakeNode) take() []*command.Announce {
	time.Sleep(2 * compareInterval)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.written
	f.written = nil
	return list
}

func (f *fakeNode) announcer(log *slog.Logger) *Announcer {
	return New(Config{Node: f, State: f, Master: "m1", DiskInterval: time.Second, Logger: log})
}

// lead runs a leader routine until the returned function is called.
func lead(t *testing.T, routine func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- routine(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

func TestLeaderAndMembersAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, command.Level)
		defer lead(t, f.announcer(quiet).Run)()
		list := f.take()
		if len(list) != 1 || list[0].Leader != "a" || list[0].Term != 3 || len(list[0].Members) != 2 {
			t.Fatalf("announced %+v", list)
		}
		if list := f.take(); len(list) != 0 {
			t.Errorf("announced again: %+v", list)
		}
		f.set(func() { f.roster[1].Address = "h2:2" })
		if list := f.take(); len(list) != 1 || list[0].Members[1].Address != "h2:2" {
			t.Errorf("a member moved: %+v", list)
		}
		f.set(func() { f.term = 4 })
		if list := f.take(); len(list) != 1 || list[0].Term != 4 {
			t.Errorf("a new term: %+v", list)
		}
		f.set(func() { f.term = 0; f.roster = f.roster[:1] })
		if list := f.take(); len(list) != 0 {
			t.Errorf("announced without leading: %+v", list)
		}
	})
}

func TestNothingIsAnnouncedBelowItsLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, command.LevelOf(&command.Announce{})-1)
		defer lead(t, f.announcer(quiet).Run)()
		if list := f.take(); len(list) != 0 {
			t.Errorf("announced %+v", list)
		}
	})
}

func TestNoticesAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, command.Level)
		a := f.announcer(quiet)
		a.SlowCommit(1500*time.Millisecond, true)
		end := lead(t, a.Run)
		want := command.Notice{Type: catalog.EventSlowCommit, Node: "a", Number: 1500, Detail: catalog.SlowOwnDisk}
		if list := f.take(); len(list) != 1 || !slices.Equal(list[0].Notices, []command.Notice{want}) {
			t.Fatalf("announced %+v", list)
		}
		f.set(func() { f.fail = command.ErrBusy })
		a.Orphan("w1", command.AttemptRef{TaskID: 7, Attempt: 2})
		f.take()
		end() // the notice is kept for the next leadership
		f.set(func() { f.fail = nil; f.term = 5 })
		defer lead(t, a.Run)()
		list := f.take()
		want = command.Notice{Type: catalog.EventReportFenced, Node: "a", Execution: 7, Attempt: 2, Worker: "w1"}
		if len(list) != 1 || !slices.Equal(list[0].Notices, []command.Notice{want}) {
			t.Errorf("announced %+v", list)
		}
		if list := f.take(); len(list) != 0 {
			t.Errorf("announced again: %+v", list)
		}
	})
}

// However many notices come while nothing can be written, the announcement is one that the state accepts.
func TestNoticesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, command.Level)
		f.fail = command.ErrBusy
		a := f.announcer(quiet)
		defer lead(t, a.Run)()
		for i := range 5 * maxNotices {
			a.SlowCommit(time.Duration(i), false)
			if i%maxNotices == 0 {
				f.take()
			}
		}
		f.set(func() { f.fail = nil })
		written := 0
		for _, c := range f.take() {
			written += len(c.Notices)
		}
		if written != 2*maxNotices {
			t.Errorf("%d notices were written, want those that were taken and those that waited: %d", written, 2*maxNotices)
		}
	})
}

func TestFullDisksAreNotedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, command.Level)
		disk := func(reason, silence string) {
			f.set(func() { f.members = []cluster.Member{{ID: "b", Name: "m2", Disk: reason, FreeBytes: 5, Err: silence}} })
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		a := f.announcer(quiet)
		defer lead(t, a.WatchDisks)()
		for _, c := range []struct {
			name, disk, silence string
			want                int
		}{
			{"healthy", "", "", 0},
			{"full", "no space", "", 1},
			{"still full", "no space", "", 0},
			{"silent", "", "no answer in time", 0},
			{"still full after a silence", "no space", "", 0},
			{"healthy again", "", "", 0},
			{"full again", "no space", "", 1},
		} {
			disk(c.disk, c.silence)
			list := a.takeNotices(maxNotices)
			if len(list) != c.want {
				t.Errorf("%s: noted %+v, want %d", c.name, list, c.want)
			}
			for _, n := range list {
				if n != (command.Notice{Type: catalog.EventDiskFull, Node: "b", Number: 5, Detail: catalog.DiskNoRoom}) {
					t.Errorf("%s: noted %+v", c.name, n)
				}
			}
		}
	})
}

func TestEventsAreLoggedByTheLeader(t *testing.T) {
	f := newNode(t, command.Level)
	var out bytes.Buffer
	a := f.announcer(slog.New(slog.NewTextHandler(&out, nil)))
	for _, c := range []struct {
		event catalog.Event
		want  string // "": no line
	}{
		{catalog.Event{Type: catalog.EventReportFenced, Execution: 7, Worker: "w"}, "report fenced"},
		{catalog.Event{Type: catalog.EventReportFenced, Node: "a", Execution: 7, Worker: "w"}, ""},
		{catalog.Event{Type: catalog.EventMemberJoined, Name: "m3"}, "membership changed"},
		{catalog.Event{Type: catalog.EventMemberPromoted, Name: "m3"}, "membership changed"},
		{catalog.Event{Type: catalog.EventMemberMoved, Name: "m3"}, "membership changed"},
		{catalog.Event{Type: catalog.EventMemberRemoved, Name: "m3"}, "membership changed"},
		{catalog.Event{Type: catalog.EventDiskFull, Name: "m3"}, ""}, // WatchDisks logs it
		{catalog.Event{Type: catalog.EventLeaderElected, Name: "m3"}, "leadership changed"},
		{catalog.Event{Type: catalog.EventSlowCommit}, ""},
	} {
		t.Run(fmt.Sprint(c.event.Type, " ", c.event.Node), func(t *testing.T) {
			for _, term := range []uint64{3, 0} {
				out.Reset()
				f.set(func() { f.term = term })
				a.LogEvents([]catalog.Event{c.event})
				want := term != 0 && c.want != ""
				if got := out.String(); want != strings.Contains(got, "msg=") || want && !strings.Contains(got, c.want) {
					t.Errorf("in term %d it logs %q, want %q", term, got, c.want)
				}
			}
		})
	}
}
