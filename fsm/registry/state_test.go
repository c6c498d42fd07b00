package registry_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/registry"
	"scaleout/fsm/segment"
)

// sentence is what a text of ours has and the names, values and texts of the story below do not.
var sentence = regexp.MustCompile(`[a-z]{2,}[,;:]? [a-z]{2,}`)

// codesOfTheStory are some that the state holds after the story, so that it is one of refusals, notes and events.
var codesOfTheStory = []string{
	command.CodeFolderExists, command.CodeInvalidManifest, command.NoteStopAsked, command.NoteDeployed,
	command.NoteDeploy + "no_password", command.NoteDeploy + "parameter_twice", command.NotePasswordUnset,
	command.NoteOverdueReason, command.NoteHandedBack, command.NoteHandedTooOft, command.NoteRunTimeout,
	command.NoteAttemptEnded, command.NoteLostSilent, catalog.SlowOwnDisk, catalog.DiskNoRoom, command.CodeFencedEnded,
	command.CodeRetryDelay, command.CodeValueRequired, command.CodeParameterNotFound, command.CodeOptionNotFound,
	command.CodeOptionSeconds, command.CodeAnyWorker, command.CodeProjectInUse, command.CodeWorkerBusy,
}

// story does what leaves refusals, notes, events and warnings in the state. No text in it has two words.
func story(t *testing.T) *catalog.State {
	t.Helper()
	w := fsmtest.NewWorld(t)
	master, worker := command.Caller{Kind: "master", Name: "m1"}, command.Caller{Kind: "worker", Name: "w1"}
	w.Must(master, &command.Beat{Masters: []command.MasterBeat{{ID: "n1", Name: "m1", Address: "h:1", LastOnline: w.Now}}})
	w.Must(master, &command.Announce{Leader: "n1", Term: 2,
		Members: []command.AnnouncedMember{{ID: "n1", Name: "m1", Address: "h:1", Voter: true}},
		Notices: []command.Notice{{Type: catalog.EventSlowCommit, Node: "n1", Number: 9, Detail: catalog.SlowOwnDisk},
			{Type: catalog.EventDiskFull, Node: "n1", Detail: catalog.DiskNoRoom}}})
	w.Deploy(fsmtest.Project("nightly"))
	file := base64.StdEncoding.EncodeToString(fsmtest.Pack(t, fsmtest.Project("nightly")))
	deployed := w.Ok(fsmtest.Alice, "deploy_project",
		`{"folder_name":"ETL","project_name":"nightly","project_password":"hush","project_stream":%q}`, file)
	again := *deployed.Command.(*command.DeployProject)
	again.Password = nil
	for _, warning := range []string{"no_password", "user_key", "unknown_type", "password_unverified", "no_part",
		"no_metadata", "unlisted", "parameter_twice"} {
		again.Warnings = append(again.Warnings,
			command.Warning{Code: command.NoteDeploy + warning, Args: []string{"$Project::Day"}})
	}
	w.Must(fsmtest.Alice, &again)
	w.Register(fsmtest.WorkerOne, "w1")
	w.Register(fsmtest.WorkerTwo, "w2")
	w.Must(fsmtest.Alice, &command.SetWorkerProperty{ID: fsmtest.WorkerTwo, Name: "Tags", Value: "x"})
	w.Must(fsmtest.Alice, &command.EnableWorker{ID: fsmtest.WorkerTwo})
	report := func(id int64, attempt int, outcome command.Outcome, code string) {
		t.Helper()
		w.Grant(id, attempt, fsmtest.WorkerOne, "w1")
		w.Must(worker, &command.Exchange{Worker: fsmtest.WorkerOne, Incarnation: "w1-1", Ended: []command.Report{
			{AttemptRef: command.AttemptRef{TaskID: id, Attempt: attempt}, Outcome: outcome, ExitCode: 3, Message: "bye",
				Code: code}}})
		w.Now = w.Now.Add(time.Hour)
	}
	report(w.Started(fsmtest.Bob), 1, command.Failed, "")
	report(w.Started(fsmtest.Bob), 1, command.Failed, catalog.RunTimeout)
	report(w.Started(fsmtest.Bob), 1, command.Succeeded, "")
	back := w.Started(fsmtest.Bob)
	for n := 1; n <= catalog.MostReturned; n++ {
		report(back, n, command.Returned, "")
	}
	lost := w.Started(fsmtest.Bob)
	w.Grant(lost, 1, fsmtest.WorkerOne, "w1")
	w.Output(fsmtest.WorkerOne, segment.Part{TaskID: lost, Attempt: 1, FirstSeq: 1,
		Messages: []segment.Message{{Text: "hello"}}})
	ref := command.AttemptRef{TaskID: lost, Attempt: 1}
	w.Must(master, &command.Expire{Items: []command.Expiry{{AttemptRef: ref, Worker: fsmtest.WorkerOne,
		Incarnation: "w1-1", SilentSince: w.Now}}})
	stopped := w.Started(fsmtest.Bob)
	w.Grant(stopped, 1, fsmtest.WorkerOne, "w1")
	w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, stopped)
	overdue := w.Create(fsmtest.Bob, `,"runinscaleout":0`)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":50,"parameter_name":"QUEUE_TIMEOUT","parameter_value":1}`, overdue)
	w.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Batch","parameter_value":1}`, overdue)
	w.Ok(fsmtest.Bob, "start_execution", `{"execution_id":%d}`, overdue)
	x, _ := w.State.Reader().Execution(overdue)
	w.Now = x.QueueUntil
	w.Must(master, &command.FailQueued{Items: []command.Overdue{{Until: x.QueueUntil, Reason: "no_worker_online",
		AttemptRef: command.AttemptRef{TaskID: overdue, Attempt: 1}}}})

	created := w.Create(fsmtest.Bob, "")
	// What is refused is kept for its request key.
	for i, cmd := range []command.Command{
		&command.CreateFolder{Name: "ETL"}, &command.DeleteFolder{Name: "ETL"}, &command.CreateFolder{Name: "a/b"},
		&command.DeployProject{Folder: "ETL", Project: "P", Blob: again.Blob, Size: 1, Manifest: []byte{1}},
		&command.StartExecution{ExecutionID: stopped}, &command.StopOperation{OperationID: 999},
		&command.AddExecutionWorker{ExecutionID: stopped, Worker: "none"},
		&command.StartExecution{ExecutionID: created, RetryDelayMs: -1}, &command.StartExecution{ExecutionID: created},
		&command.SetExecutionParameter{ExecutionID: created, ObjectType: 20, Name: "x"},
		&command.SetExecutionParameter{ExecutionID: created, ObjectType: 50, Name: "x"},
		&command.SetExecutionParameter{ExecutionID: created, ObjectType: 50, Name: "RUN_TIMEOUT",
			Value: command.Value{Type: "Int32", Text: "x"}},
		&command.AddExecutionWorker{ExecutionID: created, Worker: fsmtest.WorkerOne},
		&command.DeleteProject{Folder: "ETL", Project: "nightly"}, &command.DeleteWorker{ID: fsmtest.WorkerOne},
		&command.CreateExecution{Folder: "ETL", Project: "nightly", Package: "x"},
		&command.SetWorkerProperty{ID: fsmtest.WorkerOne, Name: "Colour", Value: "x"},
		&command.AppendMessages{Segment: again.Blob, Size: 1, Parts: []command.MessagePart{
			{TaskID: lost, Attempt: 1, Worker: fsmtest.WorkerTwo, FirstSeq: 1, Count: 1}}},
		&command.Exchange{Worker: fsmtest.WorkerOne, Incarnation: "w1-1",
			Ended: []command.Report{{AttemptRef: ref, Outcome: command.Succeeded}}},
	} {
		env, err := command.Wrap(cmd)
		if err != nil {
			t.Fatal(err)
		}
		env.Time, env.Caller = w.Now, fsmtest.Alice
		env.Key = command.Key{Text: fmt.Sprint("k", i), Chosen: true, Request: []byte{1}}
		index := w.State.Index() + 1
		if _, err := w.State.Apply(index, env); err != nil {
			t.Fatal(err)
		}
		w.State.Commit(index)
	}
	return w.State
}

func TestNoSentenceIsInTheState(t *testing.T) {
	var all []byte
	for r, err := range story(t).Snapshot().Records() {
		if err != nil {
			t.Fatal(err)
		}
		if found := sentence.Find(r.Data); found != nil {
			t.Errorf("a record of type %d has the words %q", r.Type, found)
		}
		all = append(all, r.Data...)
	}
	for _, code := range codesOfTheStory {
		if !bytes.Contains(all, []byte(code)) {
			t.Errorf("the state does not hold %s: the story proves less than it should", code)
		}
	}
}

func TestOtherSentencesMakeNoOtherState(t *testing.T) {
	hash := func() string {
		h, err := story(t).Snapshot().Hash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash()
	refusal := command.Refuse(command.CodeAlreadyInitialized, "c1")
	said := registry.Detail(registry.HTTP, refusal)
	defer registry.Reword(func(text string) string { return "in other words: " + text })()
	if now := registry.Detail(registry.HTTP, refusal); now == said {
		t.Fatalf("the sentences are as before: %s", now)
	}
	if after := hash(); after != before {
		t.Errorf("the state has the hash %s, with other sentences %s", before, after)
	}
}

// What a refusal or a note takes with it into the state is a value, never words of ours: where one is made, no argument
// is a text with a blank in it.
func TestRefusalsAreMadeOfValues(t *testing.T) {
	makers := []string{"Refuse", "reject", "note", "Arguments", "checkShown"}
	n := 0
	for _, room := range []string{"../catalog", "../command"} {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok {
					return true
				}
				name := ""
				switch f := call.Fun.(type) {
				case *ast.Ident:
					name = f.Name
				case *ast.SelectorExpr:
					name = f.Sel.Name
				}
				if !slices.Contains(makers, name) {
					return true
				}
				n++
				for _, arg := range call.Args {
					if text, ok := arg.(*ast.BasicLit); ok && text.Kind == token.STRING && strings.Contains(text.Value, " ") {
						t.Errorf("%s: %s takes the words %s", set.Position(text.Pos()), name, text.Value)
					}
				}
				return true
			})
		}
	}
	if n < 50 {
		t.Errorf("%d refusals and notes were looked at: this test does not find them any more", n)
	}
}
