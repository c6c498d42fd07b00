package fsm_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
)

// everything is a log that touches every table, with events and request keys, from the first entry on. It is only for
// making the fixture: what counts later is the file.
func everything(t testing.TB) []*raft.Log {
	t.Helper()
	logs := story(t)
	const w = "11111111-1111-1111-1111-111111111111"
	other := strings.Repeat("b", 64)
	more := [][]command.Command{
		{&command.RaiseLevel{Level: 2}},
		{&command.Announce{Leader: "n1", Term: 3,
			Members: []command.AnnouncedMember{{ID: "n1", Name: "m1", Address: "h:1", Voter: true}},
			Notices: []command.Notice{{Type: "slow_commit", Node: "n1", Number: 2100, Detail: "d"}}}},
		{&command.CreateFolder{Name: "G"}, &command.EnableScaleout{}, &command.SetWorkerProperty{ID: w, Name: "Tags",
			Value: "x"}},
		{&command.SetExecutionParameter{ExecutionID: 5, ObjectType: 50, Name: "QUEUE_TIMEOUT",
			Value: command.Value{Type: "Int32", Text: "30"}},
			&command.StartExecution{ExecutionID: 5, RetryCount: 2, RetryDelayMs: 1000}},
		{&command.Exchange{Worker: w, Incarnation: "i", Grants: []command.GrantOrder{
			{AttemptRef: command.AttemptRef{TaskID: 5, Attempt: 1}, GiveUpAfterMs: 1000}}}},
		{&command.AppendMessages{Segment: other, Size: 7,
			Parts: []command.MessagePart{{TaskID: 5, Attempt: 1, Worker: w, FirstSeq: 1, Count: 2, Bytes: 5}}}},
		{&command.Expire{Items: []command.Expiry{{AttemptRef: command.AttemptRef{TaskID: 5, Attempt: 1}, Worker: w,
			Incarnation: "i"}}}},
		{&command.DeployProject{Folder: "G", Project: "Q", Blob: other, Size: 6, Manifest: packed(t)},
			&command.DeleteProject{Folder: "G", Project: "Q"}, &command.DeleteFolder{Name: "G"}},
		{&command.MergeSegments{Segment: strings.Repeat("c", 64), Size: 16, Sources: []string{digest, other},
			Moves: []command.SegmentMove{{Source: 0}, {Source: 1}}}},
		{&command.Cleanup{EndedTasks: 1, Operations: 1, MaxVersions: 1, Limit: 10}, &command.Noop{}},
	}
	for i, cmds := range more {
		logs = append(logs, entry(t, uint64(100+i), cmds...))
	}
	for i, l := range logs {
		l.Index = uint64(i + 1)
	}
	return logs
}

// What format 1 wrote is read for ever, and leads to the same state: the whole log, a snapshot, and a snapshot with the
// rest of the log.
func TestFormat1IsRead(t *testing.T) {
	folder := filepath.Join("testdata", "format-1")
	logs := fsmtest.ParseLog(t, fsmtest.Fixture(t, filepath.Join(folder, "log"), *update, func() []byte {
		return fsmtest.FormatLog(everything(t))
	}))
	half := len(logs) / 2
	machine := func() *fsm.FSM { return fsm.New(fsm.Config{Logger: quiet()}) }
	applied := replay(machine(), logs...)
	if err := applied.Err(); err != nil {
		t.Fatal(err)
	}
	for table, n := range applied.Reader().Counts() {
		if n == 0 && table != "properties" { // no command sets one yet
			t.Errorf("the fixture has nothing in %s", table)
		}
	}
	middle := fsmtest.Fixture(t, filepath.Join(folder, "snapshot-middle"), *update, func() []byte {
		return saved(t, replay(machine(), logs[:half]...))
	})
	end := fsmtest.Fixture(t, filepath.Join(folder, "snapshot"), *update, func() []byte { return saved(t, applied) })
	want := strings.TrimSpace(string(fsmtest.Fixture(t, filepath.Join(folder, "hash"), *update, func() []byte {
		return []byte(hash(t, applied) + "\n")
	})))
	restored := func(b []byte) *fsm.FSM {
		f := machine()
		if err := restore(f, b); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, f := range map[string]*fsm.FSM{
		"log": applied, "snapshot": restored(end), "snapshot and log": replay(restored(middle), logs[half:]...),
	} {
		if got := hash(t, f); got != want {
			t.Errorf("%s: the state has the hash %s; it had %s when the fixture was made", name, got, want)
		}
	}
	if !bytes.Equal(saved(t, applied), end) {
		t.Error("a snapshot of the same log has other bytes than before")
	}
	last := uint64(len(logs))
	h, err := fsm.ReadHeader(bytes.NewReader(end))
	if err != nil || h != (fsm.Header{Format: 1, Level: 2, ClusterID: "c1", Index: last, Applied: last}) {
		t.Errorf("header %+v, %v", h, err)
	}
}
