package service

import (
	"errors"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
)

func TestCallsAndProofs(t *testing.T) {
	create := func(key, name string) *Call {
		p, _ := procedure.Named("create_folder")
		return &Call{Procedure: p, Raw: fsmtest.Raw(t, `{"folder_name":"`+name+`"}`), Caller: fsmtest.Alice, Key: key}
	}
	remove := func(name string) *Call {
		p, _ := procedure.Named("delete_folder")
		return &Call{Procedure: p, Raw: fsmtest.Raw(t, `{"folder_name":"`+name+`"}`), Caller: fsmtest.Alice}
	}
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
		{"a refusal of a state that lags is none", true, true, remove("F"), "", nil, 1, 1},
		{"who does not lead refuses nothing", false, false, create("", "F"), "", command.ErrNotLeader, 1, 0},
		{"who does not lead commits nothing", false, false, create("", "G"), "", command.ErrNotLeader, 0, 0},
		{"a kept answer needs a proof", false, true, create("k", "F"), "", nil, 1, 0},
		{"who does not lead gives no kept answer", false, false, create("k", "F"), "", command.ErrNotLeader, 1, 0},
		{"a key with another request", false, true, create("k", "H"), command.CodeKeyReused, nil, 1, 0},
		{"a kept answer behind the proof wins", true, true, create("k", "F"), "", nil, 1, 0},
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
			if c.stale && c.call.Key != "" { // the state that lags has the folder's name free: the command would be applied
				c.does = 1
				c.proofs = 0
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
