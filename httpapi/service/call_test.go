package service

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
)

// call is a call of Alice's.
func call(t *testing.T, name, object, key string) *Call {
	t.Helper()
	p, ok := procedure.Named(name)
	if !ok {
		t.Fatal(name)
	}
	return &Call{Procedure: Procedure{p}, Raw: fsmtest.Raw(t, object), Caller: fsmtest.Alice, Key: key}
}

func TestCallsAndProofs(t *testing.T) {
	create := func(key, name string) *Call { return call(t, "create_folder", `{"folder_name":"`+name+`"}`, key) }
	remove := func(key, name string) *Call { return call(t, "delete_folder", `{"folder_name":"`+name+`"}`, key) }
	for _, c := range []struct {
		name   string
		stale  bool // the node has not seen the folder F
		leads  bool
		call   *Call
		code   string // of the refusal
		err    error
		proofs int
		does   int // commands that are proposed
	}{
		{"a command needs no proof", false, true, create("", "G"), "", nil, 0, 1},
		{"a refusal needs one", false, true, create("", "F"), command.CodeFolderExists, nil, 1, 0},
		{"a refusal of a state that lags is none", true, true, remove("", "F"), "", nil, 1, 1},
		{"who does not lead refuses nothing", false, false, create("", "F"), "", command.ErrNotLeader, 1, 0},
		{"who does not lead commits nothing", false, false, create("", "G"), "", command.ErrNotLeader, 0, 0},
		{"a kept answer needs a proof", false, true, create("k", "F"), "", nil, 1, 0},
		{"who does not lead gives no kept answer", false, false, create("k", "F"), "", command.ErrNotLeader, 1, 0},
		{"a key with another request", false, true, create("k", "H"), command.CodeKeyReused, nil, 1, 0},
		{"a state that lags keeps no answer: the log gives it", true, true, create("k", "F"), "", nil, 0, 1},
		{"behind the proof of a refusal the key counts", true, true, remove("k", "F"), command.CodeKeyReused, nil, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			n := &node{world: w, leads: true}
			s := n.service(t)
			before := w.State.Reader()
			if _, err := s.Call(t.Context(), create("k", "F")); err != nil {
				t.Fatal(err)
			}
			if c.stale {
				n.reader = before
			}
			n.proofs, n.did, n.leads = 0, nil, c.leads
			_, err := s.Call(t.Context(), c.call)
			var no *command.Rejection
			switch {
			case c.code != "" && (!errors.As(err, &no) || no.Code != c.code), c.code == "" && !errors.Is(err, c.err):
				t.Errorf("answered %v", err)
			case n.proofs != c.proofs || len(n.did) != c.does:
				t.Errorf("%d proofs and %v proposed, want %d and %d", n.proofs, n.did, c.proofs, c.does)
			}
		})
	}
}

// TestFirstTryAppliedMeanwhile: the lookup of the key misses; then the first try is applied, and the second one either
// proposes its command or is refused by its plan. Both get the first answer.
func TestFirstTryAppliedMeanwhile(t *testing.T) {
	deploy := `{"folder_name":"F","project_name":"P","project_stream":{"blob":"` + strings.Repeat("c", 64) + `"}}`
	gone := fmt.Errorf("%w: two of three masters are gone", command.ErrNoMajority)
	for _, c := range []struct {
		name              string
		procedure, object string
		opening           error           // of the blob
		first             command.Command // applied meanwhile; nil: nothing is
		id                int64
		err               error
	}{
		{"then its command is proposed", "create_folder", `{"folder_name":"G"}`, nil, &command.CreateFolder{Name: "G"}, 2, nil},
		// Whatever the first try did: its id is the answer.
		{"then its plan fails", "deploy_project", deploy, gone, &command.CreateFolder{Name: "G"}, 2, nil},
		{"its plan fails, and nothing is applied", "deploy_project", deploy, gone, nil, 0, command.ErrNoMajority},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &node{world: fsmtest.NewWorld(t), leads: true}
			n.world.Must(fsmtest.Alice, &command.CreateFolder{Name: "F"})
			s := n.service(t)
			again := call(t, c.procedure, c.object, "k")
			meanwhile := sync.OnceFunc(func() {
				if c.first == nil {
					return
				}
				mac, err := requestMAC(n.Reader().KeySecret(), again.Procedure.procedure, again.Raw)
				if err != nil {
					t.Error(err)
				}
				env, err := command.Wrap(c.first)
				if err != nil {
					t.Error(err)
				}
				env.Caller, env.Key = fsmtest.Alice, command.Key{Text: "k", Chosen: true, Request: mac}
				n.world.Apply(env)
			})
			n.planning = meanwhile // asked for after the lookup, before the plan
			opened := 0
			if c.opening != nil {
				n.planning, n.opening = nil, func() error { opened++; meanwhile(); return c.opening }
			}
			answer, err := s.Call(t.Context(), again)
			var id any
			for _, v := range answer.Outputs {
				id = v
			}
			if !errors.Is(err, c.err) || err == nil && id != c.id {
				t.Errorf("answered %v %v, want %d %v", id, err, c.id, c.err)
			}
			if opened > 1 {
				t.Errorf("a plan that failed was made %d times", opened)
			}
		})
	}
}

func TestFindAndAuthorize(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t)}
	s := n.service(t)
	procedure := func(c command.Caller, name string) (bool, error) {
		p, err := s.Procedure(c, name)
		return p != Procedure{}, err
	}
	view := func(c command.Caller, name string) (bool, error) {
		v, err := s.View(c, name)
		return v != View{}, err
	}
	for _, c := range []struct {
		name   string
		find   func(command.Caller, string) (bool, error)
		caller command.Caller
		what   string
		code   string
	}{
		{"a procedure", procedure, fsmtest.Alice, "create_folder", ""},
		{"a procedure in capitals", procedure, fsmtest.Alice, "CREATE_FOLDER", ""},
		{"no procedure", procedure, fsmtest.Alice, "create_foldr", command.CodeProcedureNotFound},
		{"no procedure, for somebody without roles", procedure, fsmtest.Someone, "create_foldr",
			command.CodeProcedureNotFound},
		{"a procedure of others", procedure, fsmtest.Bob, "create_folder", command.FamilyPermissionDenied},
		{"a view", view, fsmtest.Alice, "folders", ""},
		{"a view in capitals", view, fsmtest.Rita, "Folders", ""},
		{"no view", view, fsmtest.Alice, "folder", command.CodeViewNotFound},
		{"a view, for a worker", view, command.Caller{Kind: "worker", Name: "w"}, "folders", command.FamilyPermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := c.find(c.caller, c.what)
			var no *command.Rejection
			if c.code == "" && err != nil || c.code != "" && (!errors.As(err, &no) || command.Family(no.Code) != c.code) {
				t.Errorf("answered %v, want %q", err, c.code)
			}
			if found != (err == nil) {
				t.Errorf("found: %t, with %v", found, err)
			}
		})
	}
	if (Procedure{}).CarriesFile() {
		t.Error("no procedure carries a file")
	}
}

// TestPermissionBeforeArguments: what a caller may not call does not say what is wrong with its arguments.
func TestPermissionBeforeArguments(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t), leads: true}
	c := call(t, "create_folder", `{"no_such":1}`, "")
	c.Caller = fsmtest.Bob
	_, err := n.service(t).Call(t.Context(), c)
	var no *command.Rejection
	if !errors.As(err, &no) || command.Family(no.Code) != command.FamilyPermissionDenied || n.proofs != 0 {
		t.Errorf("answered %v after %d proofs", err, n.proofs)
	}
}
