package service

import (
	"errors"
	"reflect"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
	"scaleout/fsm/view"
)

func TestReadsAndProofs(t *testing.T) {
	for _, c := range []struct {
		name   string
		lags   bool // the node has not seen the folder F
		leads  bool
		caller command.Caller
		query  Query
		proofs int
		rows   int
		index  uint64
		err    error
		code   string // of the refusal
	}{
		{name: "behind a proof", leads: true, caller: fsmtest.Alice, proofs: 1, rows: 1, index: 2},
		{name: "the proof brings what is missing", lags: true, leads: true, caller: fsmtest.Alice, proofs: 1, rows: 1,
			index: 2},
		{name: "who does not lead proves nothing", caller: fsmtest.Alice, proofs: 1, err: command.ErrNotLeader},
		{name: "stale, anywhere", caller: fsmtest.Alice, query: Query{Stale: true}, rows: 1, index: 2},
		{name: "stale, where the state lags", lags: true, caller: fsmtest.Alice, query: Query{Stale: true}, index: 1},
		{name: "predicates", leads: true, caller: fsmtest.Alice, query: Query{Where: map[string][]string{"name.ne": {"f"}}},
			proofs: 1, index: 2},
		{name: "no such column", leads: true, caller: fsmtest.Alice, query: Query{Columns: "nam"}, proofs: 1,
			code: command.CodeUnknownColumn},
		{name: "permission before the proof", leads: true, caller: command.Caller{Kind: "worker", Name: "w"},
			code: command.FamilyPermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &node{world: fsmtest.NewWorld(t), leads: c.leads}
			if c.lags {
				n.reader = n.world.State.Reader()
			}
			n.world.Must(fsmtest.Alice, &command.CreateFolder{Name: "F"})
			folders, _ := view.Named("folders")
			page, err := n.service(t).Read(t.Context(), View{folders}, c.caller, c.query)
			var no *command.Rejection
			switch {
			case c.code != "" && (!errors.As(err, &no) || command.Family(no.Code) != c.code), c.code == "" && !errors.Is(err,
				c.err):
				t.Errorf("answered %v", err)
			case n.proofs != c.proofs:
				t.Errorf("%d proofs, want %d", n.proofs, c.proofs)
			case err == nil && (len(page.Rows) != c.rows || page.Index != c.index):
				t.Errorf("%d rows at %d, want %d at %d", len(page.Rows), page.Index, c.rows, c.index)
			}
		})
	}
}

// TestListing: whatever is declared is listed, whole.
func TestListing(t *testing.T) {
	s := (&node{world: fsmtest.NewWorld(t)}).service(t)
	whole := func(name string, info any, mayLack ...string) {
		t.Helper()
		v := reflect.ValueOf(info)
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			optional := false
			for _, lack := range mayLack {
				optional = optional || lack == field
			}
			if v.Field(i).IsZero() && !optional {
				t.Errorf("%s has no %s", name, field)
			}
		}
	}
	procedures := s.Procedures()
	for i, p := range procedure.All() {
		if procedures[i].Name != p.Name || len(procedures[i].Parameters) != len(p.Parameters) {
			t.Errorf("%s is listed as %+v", p.Name, procedures[i])
		}
		whole(p.Name, procedures[i], "Aliases", "Parameters", "Roles", "Sets", "Codes")
	}
	views := s.Views()
	for i, v := range view.All() {
		if views[i].Name != v.Name || len(views[i].Columns) != len(v.Columns) {
			t.Errorf("%s is listed as %+v", v.Name, views[i])
		}
		whole(v.Name, views[i], "Roles")
	}
}

// online is the memory of a leader that hears every worker.
type online struct{ view.Live }

func (online) Worker(string) (view.WorkerNow, bool) { return view.WorkerNow{Online: true}, true }

// TestOnlyTheLeaderKnowsWhatIsLive: a stale page has no word of this node's memory, which may be that of a leadership
// long over.
func TestOnlyTheLeaderKnowsWhatIsLive(t *testing.T) {
	n := &node{world: fsmtest.NewWorld(t), leads: true}
	n.world.Live = online{}
	n.world.Register(fsmtest.WorkerOne, "w")
	s := n.service(t)
	agents, err := s.View(fsmtest.Alice, "worker_agents")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		stale bool
		want  any
	}{{"behind a proof", false, "online"}, {"stale", true, nil}} {
		t.Run(c.name, func(t *testing.T) {
			page, err := s.Read(t.Context(), agents, fsmtest.Alice, Query{Columns: "State", Stale: c.stale})
			if err != nil || len(page.Rows) != 1 || page.Rows[0][0] != c.want {
				t.Errorf("answered %v %v, want %v", page.Rows, err, c.want)
			}
		})
	}
}
