package fsm_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"scaleout/fsm"
	"scaleout/fsm/command"
)

// journal is a log with one command in each entry, a minute apart, that is applied while it is written.
type journal struct {
	testing.TB
	f    *fsm.FSM
	logs []*raft.Log
	last command.Result
	// idle are the kinds that were applied and did not do more than a noop would have done.
	idle, effective []command.Kind
}

func journalTime(index int) command.Time {
	return command.Time(1_800_000_000_000_000_000 + int64(index)*int64(time.Minute))
}

func (j *journal) entry(index int, cmd command.Command) *raft.Log {
	j.Helper()
	env, err := command.Wrap(cmd)
	if err != nil {
		j.Fatal(err)
	}
	env.Time = journalTime(index)
	env.Caller = command.Caller{Kind: "user", Name: "ada", Roles: []string{command.RoleAdmin}}
	b, err := command.Encode(command.Entry{Proposer: 7, First: uint64(index), Commands: []command.Envelope{env}})
	if err != nil {
		j.Fatal(err)
	}
	return &raft.Log{Index: uint64(index), Term: 3, Type: raft.LogCommand, Data: b}
}

// do applies a command that must be accepted, and returns the id that it made and when it was applied.
func (j *journal) do(cmd command.Command) (id int64, at command.Time) {
	j.Helper()
	index := len(j.logs) + 1
	idle := fsm.New(fsm.Config{Logger: quiet()})
	if index > 1 {
		if err := restore(idle, saved(j, j.f)); err != nil {
			j.Fatal(err)
		}
	}
	replay(idle, j.entry(index, &command.Noop{}))
	l := j.entry(index, cmd)
	j.logs = append(j.logs, l)
	replay(j.f, l)
	if j.last.Rejection != nil || j.f.Err() != nil {
		j.Fatal(command.KindOf(cmd), j.last.Rejection, j.f.Err())
	}
	if kind := command.KindOf(cmd); hash(j, j.f) == hash(j, idle) {
		j.idle = append(j.idle, kind)
	} else {
		j.effective = append(j.effective, kind)
	}
	return j.last.Value, journalTime(index)
}

// everyKind is a log in which a command of every kind does what it is for. A new kind gets its command here.
func everyKind(t testing.TB) *journal {
	t.Helper()
	j := &journal{TB: t}
	j.f = fsm.New(fsm.Config{Logger: quiet(), Applied: func(a fsm.Applied) { j.last = a.Results[0] }})
	const w, gone = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	first, second, merged := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	attempt := func(id int64) command.AttemptRef { return command.AttemptRef{TaskID: id, Attempt: 1} }
	register := func(id, incarnation string) *command.RegisterWorker {
		return &command.RegisterWorker{ID: id, CertName: "w", Incarnation: incarnation, MachineID: "m" + id,
			MachineName: "H", MaxTaskCount: 9, LeaseMs: 60_000, ToleranceMs: 600_000, Extensions: []string{".sh"},
			Bitness: []int{64}}
	}
	create := func(any bool) int64 {
		id, _ := j.do(&command.CreateExecution{Folder: "F", Project: "P", Package: "a.sh", AnyWorker: any})
		return id
	}

	j.do(&command.InitCluster{ClusterID: "c1", Level: 1})
	j.do(&command.RaiseLevel{Level: command.Level})
	j.do(&command.Noop{})
	j.do(&command.EnableScaleout{})
	j.do(&command.Announce{Leader: "n1", Term: 3,
		Members: []command.AnnouncedMember{{ID: "n1", Name: "m1", Address: "h:1", Voter: true}}})
	j.do(&command.Beat{Masters: []command.MasterBeat{{ID: "n1", Name: "m1", Leader: true, LastOnline: 5}}})

	j.do(&command.CreateFolder{Name: "F"})
	j.do(&command.CreateFolder{Name: "G"})
	j.do(&command.SetFolderDescription{Folder: "G", Description: "another"})
	j.do(&command.RenameFolder{Old: "G", New: "H"})
	j.do(&command.DeployProject{Folder: "F", Project: "P", Blob: digest, Size: 5, Manifest: packed(t)})
	j.do(&command.DeployProject{Folder: "H", Project: "Q", Blob: digest, Size: 5, Manifest: packed(t)})
	j.do(&command.DeleteProject{Folder: "H", Project: "Q"})
	j.do(&command.DeleteFolder{Name: "H"})

	j.do(register(w, "i"))
	j.do(register(gone, "g"))
	j.do(&command.EnableWorker{ID: w, Enabled: true})
	j.do(&command.SetWorkerProperty{ID: w, Name: "Tags", Value: "x"})
	j.do(&command.DeleteWorker{ID: gone})

	overdue := create(true)
	j.do(&command.SetExecutionParameter{ExecutionID: overdue, ObjectType: 50, Name: "QUEUE_TIMEOUT",
		Value: command.Value{Type: "Int32", Text: "30"}})
	_, started := j.do(&command.StartExecution{ExecutionID: overdue})
	j.do(&command.FailQueued{Items: []command.Overdue{{AttemptRef: attempt(overdue), Reason: "no_worker_online",
		Until: started + command.Time(30*time.Second)}}})

	lost := create(false)
	j.do(&command.AddExecutionWorker{ExecutionID: lost, Worker: w})
	j.do(&command.StartExecution{ExecutionID: lost})
	j.do(&command.Exchange{Worker: w, Incarnation: "i",
		Grants: []command.GrantOrder{{AttemptRef: attempt(lost), GiveUpAfterMs: 60_000}}})
	j.do(&command.AppendMessages{Segment: first, Size: 9,
		Parts: []command.MessagePart{{TaskID: lost, Attempt: 1, Worker: w, FirstSeq: 1, Count: 4, Bytes: 8}}})
	j.do(&command.AppendMessages{Segment: second, Size: 7,
		Parts: []command.MessagePart{{TaskID: lost, Attempt: 1, Worker: w, FirstSeq: 5, Count: 2, Bytes: 5}}})
	j.do(&command.MergeSegments{Segment: merged, Size: 16, Sources: []string{first, second},
		Moves: []command.SegmentMove{{Source: 0}, {Source: 1}}})
	j.do(&command.Expire{Items: []command.Expiry{{AttemptRef: attempt(lost), Worker: w, Incarnation: "i"}}})

	j.do(&command.StopOperation{OperationID: create(true)})
	running := create(true)
	_, now := j.do(&command.StartExecution{ExecutionID: running})
	j.do(&command.Cleanup{EndedTasks: now, Operations: now, MaxVersions: 1, Limit: 2})
	j.do(&command.Exchange{Worker: w, Incarnation: "i",
		Grants: []command.GrantOrder{{AttemptRef: attempt(running), GiveUpAfterMs: 60_000}}})
	return j
}

// The log of everyKind has them all: the table of kinds is asked. A command that was accepted and did nothing tests
// nothing.
func TestEveryKindDoesSomething(t *testing.T) {
	j := everyKind(t)
	withoutEffect := map[string]string{
		"noop":            "it is what the others are compared with",
		"enable_scaleout": "scale out cannot be disabled; it is accepted for old scripts",
	}
	for _, kind := range command.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			reason, idle := withoutEffect[kind.Name]
			switch {
			case idle && !slices.Contains(j.idle, kind.Kind):
				t.Errorf("no command of it is in everyKind, or it had an effect, although %s", reason)
			case !idle && slices.Contains(j.idle, kind.Kind) && !slices.Contains(j.effective, kind.Kind):
				t.Error("its commands in everyKind have no effect")
			case !idle && !slices.Contains(j.effective, kind.Kind):
				t.Error("no command of it is in everyKind; add one")
			}
		})
	}
}

// A snapshot between any two commands, and the rest of the log, lead to the same state and the same next snapshot,
// whatever the kinds of the commands before and after it.
func TestSnapshotBetweenCommandsOfEveryKind(t *testing.T) {
	j := everyKind(t)
	wantHash, wantBytes := hash(t, j.f), saved(t, j.f)
	machine := func() *fsm.FSM { return fsm.New(fsm.Config{Logger: quiet()}) }
	for cut := 1; cut <= len(j.logs); cut++ {
		f := machine()
		if err := restore(f, saved(t, replay(machine(), j.logs[:cut]...))); err != nil {
			t.Fatal(err)
		}
		replay(f, j.logs[cut:]...)
		if hash(t, f) != wantHash || !bytes.Equal(saved(t, f), wantBytes) {
			t.Errorf("a snapshot after %d of %d entries and the rest: another state", cut, len(j.logs))
		}
	}
}
