package catalog

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

// draws of someCommand, so that each is as likely.
var draws = func() (list []int) {
	for i := range 29 {
		list = append(list, i)
	}
	return list
}()

// someCommand draws a command that has a fair chance to be accepted, on few names and ids, so that commands meet.
func someCommand(rt *rapid.T, r *Reader, manifest []byte, now command.Time) command.Command {
	name := func() string { return rapid.SampledFrom([]string{"F", "f", "G"}).Draw(rt, "name") }
	project := func() string { return rapid.SampledFrom([]string{"P", "p", "Q"}).Draw(rt, "project") }
	worker := func() string {
		return rapid.SampledFrom([]string{worker1, worker1, worker1, worker2, "nobody"}).Draw(rt, "worker")
	}
	incarnation := func() string { return rapid.SampledFrom([]string{"i1", "i1", "i1", "i2"}).Draw(rt, "incarnation") }
	all := idsOf(r.Executions(false))
	id := func() int64 { // an execution, mostly
		if len(all) == 0 {
			return 1
		}
		return all[rapid.IntRange(0, len(all)-1).Draw(rt, "execution")] + int64(rapid.IntRange(0, 20).Draw(rt, "miss")/20)
	}
	attemptRef := func() command.AttemptRef {
		ref := command.AttemptRef{TaskID: id(), Attempt: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "attempt")}
		if e, ok := r.Execution(ref.TaskID); ok && ref.Attempt == 0 {
			ref.Attempt = len(e.Attempts)
			if e.Status == Pending {
				ref.Attempt++
			}
		}
		return ref
	}
	reports := func() (list []command.Report) {
		for range rapid.IntRange(0, 3).Draw(rt, "reports") {
			outcome := rapid.SampledFrom([]command.Outcome{command.Succeeded, command.Failed, command.Canceled,
				command.Returned}).Draw(rt, "outcome")
			list = append(list, command.Report{AttemptRef: attemptRef(), Outcome: outcome, Message: "m"})
		}
		return list
	}
	before := func() command.Time {
		return now - command.Time(rapid.IntRange(0, 30).Draw(rt, "age"))*command.Time(time.Second)
	}
	switch rapid.SampledFrom(draws).Draw(rt, "kind") {
	case 0:
		return &command.CreateFolder{Name: name()}
	case 1:
		if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
			return &command.EnableScaleout{}
		}
		return &command.DeleteFolder{Name: name()}
	case 2:
		return &command.DeployProject{Folder: name(), Project: project(), Blob: blobA, Size: 1, Manifest: manifest,
			Warnings: []command.Warning{{Code: command.NoteDeploy + "no_part", Args: []string{"careful"}}}}
	case 3:
		switch rapid.IntRange(0, 4).Draw(rt, "rarely") {
		case 0, 1, 2:
			return &command.Noop{}
		case 3:
			return &command.Announce{Leader: "n1", Term: rapid.Uint64Range(0, 3).Draw(rt, "term"),
				Members: []command.AnnouncedMember{
					{ID: "n1", Name: "m1", Voter: rapid.Bool().Draw(rt, "voter")}},
				Notices: []command.Notice{{Type: "slow_commit", Node: "n1"}}}
		}
		return &command.DeleteProject{Folder: name(), Project: project()}
	case 4, 5, 6:
		return &command.CreateExecution{
			Folder: name(), Project: project(), Package: "Load.dtsx",
			AnyWorker: rapid.IntRange(0, 4).Draw(rt, "any") > 0, ServerMode: rapid.IntRange(0, 9).Draw(rt, "mode") == 0,
		}
	case 7:
		return &command.SetExecutionParameter{ExecutionID: id(), ObjectType: rapid.SampledFrom([]int{20, 30, 50}).Draw(rt,
			"type"),
			Name:  rapid.SampledFrom([]string{"Year", "Must", "QUEUE_TIMEOUT"}).Draw(rt, "parameter"),
			Value: command.Value{Type: "Int32", Text: "1"}}
	case 8:
		return &command.AddExecutionWorker{ExecutionID: id(), Worker: worker()}
	case 9, 10, 11:
		return &command.StartExecution{ExecutionID: id(), RetryCount: rapid.IntRange(0, 2).Draw(rt, "retries"),
			RetryDelayMs: 1000}
	case 12:
		return &command.StopOperation{OperationID: id()}
	case 13, 14:
		w := registration(worker(), incarnation())
		w.MachineID = rapid.SampledFrom([]string{"m", "m", "m2"}).Draw(rt, "machine")
		w.TakeOver = rapid.SampledFrom([]string{"", "m"}).Draw(rt, "over")
		w.Ended = reports()
		w.Running = []command.AttemptRef{attemptRef()}
		return w
	case 15:
		return &command.EnableWorker{ID: worker(), Enabled: rapid.IntRange(0, 4).Draw(rt, "enabled") > 0}
	case 16:
		return &command.DeleteWorker{ID: worker()}
	case 17, 18, 19:
		x := &command.Exchange{Worker: worker(), Incarnation: incarnation(), Ended: reports()}
		for range rapid.IntRange(0, 3).Draw(rt, "grants") {
			x.Grants = append(x.Grants, command.GrantOrder{AttemptRef: attemptRef(), GiveUpAfterMs: 1000})
		}
		return x
	case 20:
		if rapid.Bool().Draw(rt, "queue") {
			c := &command.FailQueued{Items: []command.Overdue{{AttemptRef: attemptRef(), Reason: "no_worker_online"}}}
			if x, ok := r.Execution(c.Items[0].TaskID); ok {
				c.Items[0].Until = x.QueueUntil
			}
			return c
		}
		return &command.Expire{Items: []command.Expiry{{AttemptRef: attemptRef(), Worker: worker(),
			Incarnation: incarnation()}}}
	case 21, 22:
		m := &command.AppendMessages{Segment: fmt.Sprintf("%064x", rapid.IntRange(0, 9).Draw(rt, "segment")), Size: 1}
		for i := range rapid.IntRange(1, 4).Draw(rt, "parts") {
			r := attemptRef()
			m.Parts = append(m.Parts, command.MessagePart{TaskID: r.TaskID, Attempt: r.Attempt, Worker: worker(),
				FirstSeq: int64(rapid.IntRange(1, 4).Draw(rt, "first")), Count: rapid.IntRange(0, 4).Draw(rt, "count"), Part: i})
		}
		return m
	case 23:
		m := &command.MergeSegments{Segment: fmt.Sprintf("%064x", rapid.IntRange(100, 109).Draw(rt, "merged")), Size: 2}
		for seg := range r.Segments() {
			for place := range 4 {
				m.Moves = append(m.Moves, command.SegmentMove{Source: len(m.Sources), Part: place})
			}
			if m.Sources = append(m.Sources, seg.Digest); len(m.Sources) == 3 {
				break
			}
		}
		return m
	case 24:
		return &command.RenameFolder{Old: name(), New: name()}
	case 25:
		return &command.SetFolderDescription{Folder: name(), Description: "d"}
	case 26:
		return &command.SetWorkerProperty{ID: worker(), Name: rapid.SampledFrom([]string{"Tags", "MaxTaskCount"}).Draw(rt,
			"property"), Value: rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "value")}
	case 27:
		return &command.Beat{
			Masters: []command.MasterBeat{{ID: "n1", Name: "m1", Leader: rapid.Bool().Draw(rt, "leader"), LastOnline: now}},
			Workers: []command.WorkerBeat{{ID: worker(), LastOnline: before()}},
			Gone:    []string{rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "gone")},
		}
	default:
		return &command.Cleanup{EndedTasks: before(), Operations: before(), MaxVersions: rapid.IntRange(0, 2).Draw(rt,
			"versions"), Limit: rapid.IntRange(1, 5).Draw(rt, "limit")}
	}
}

// Replaying the log, applying it twice, and a snapshot in the middle with the rest of the log all end in the same
// state, byte for byte, with the same results.
func TestReplayIsSnapshotAndTail(t *testing.T) {
	manifest := packedManifest(t, "Load.dtsx", "Strict.dtsx")
	tried, accepted := map[command.Kind]int{}, map[command.Kind]int{}
	rapid.Check(t, func(rt *rapid.T) {
		now := command.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		n := rapid.IntRange(30, 250).Draw(rt, "n")
		one, two := NewState(), NewState()
		cut := rapid.IntRange(0, n).Draw(rt, "cut")
		var third *State
		for i := range n + 6 {
			var cmd command.Command
			switch i { // a stage on which the rest has something to do
			case 0:
				cmd = &command.InitCluster{ClusterID: "c", Level: 1}
			case 1:
				cmd = &command.RaiseLevel{Level: command.Level}
			case 2:
				cmd = &command.CreateFolder{Name: "F"}
			case 3:
				cmd = &command.DeployProject{Folder: "F", Project: "P", Blob: blobA, Size: 1, Manifest: manifest}
			case 4:
				cmd = registration(worker1, "i1")
			case 5:
				cmd = &command.EnableWorker{ID: worker1, Enabled: true}
			default:
				cmd = someCommand(rt, one.Reader(), manifest, now)
			}
			env, err := command.Wrap(cmd)
			if err != nil {
				rt.Fatal(err)
			}
			now += command.Time(rapid.IntRange(-2, 5).Draw(rt, "seconds")) * command.Time(time.Second)
			env.Time, env.Caller = now, rapid.SampledFrom([]command.Caller{ada, eve}).Draw(rt, "caller")
			if key := rapid.IntRange(0, 6).Draw(rt, "key"); key > 0 {
				env.Key = command.Key{Text: fmt.Sprint(key, "/", i%40), Chosen: key%2 == 0, Request: []byte{byte(env.Kind)}}
			}
			if i == cut {
				third = rebuilt(rt, one)
			}
			r1, err := one.Apply(uint64(i+1), env)
			if err != nil {
				rt.Fatal(err)
			}
			one.Commit(uint64(i + 1))
			r2, _ := two.Apply(uint64(i+1), env)
			two.Commit(uint64(i + 1))
			if !reflect.DeepEqual(r1, r2) {
				rt.Fatalf("%s: one state answers %+v, the other %+v", env.Kind, r1, r2)
			}
			if third != nil {
				r3, _ := third.Apply(uint64(i+1), env)
				third.Commit(uint64(i + 1))
				if !reflect.DeepEqual(r1, r3) {
					rt.Fatalf("%s: the restored state answers %+v, not %+v", env.Kind, r3, r1)
				}
			}
			if r1.Value != 0 && kinds[env.Kind].Returns == "" {
				rt.Fatalf("%s returns %d, and its line in the table says nothing of it", env.Kind, r1.Value)
			}
			tried[env.Kind]++
			if r1.Rejection == nil {
				accepted[env.Kind]++
			}
		}
		h := hashOf(rt, one)
		if got := hashOf(rt, two); got != h {
			rt.Fatalf("the same log leads to %s and %s", h, got)
		}
		if got := hashOf(rt, third); got != h {
			rt.Fatalf("snapshot and tail lead to %s, the log to %s", got, h)
		}
		if got := hashOf(rt, rebuilt(rt, third)); got != h {
			rt.Fatalf("a second restore leads to %s, the log to %s", got, h)
		}
		soundness(rt, one)
		soundness(rt, third)
	})
	t.Log(accepted)
	if t.Failed() {
		return
	}
	for _, k := range kinds[1:] {
		if tried[k.Kind] == 0 {
			t.Errorf("someCommand never draws a %s", k.Name)
		}
	}
}
