package procedure

import (
	"context"
	"reflect"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// A declaration says the columns of result sets once; a plan brings the rows.
func TestResultSetsAreDeclared(t *testing.T) {
	columns := []registry.Column{{Name: "n", Type: sqltype.Int, Doc: "a number"}}
	for _, c := range []struct {
		name string
		rows [][]registry.Row
		ok   bool
	}{
		{"as declared", [][]registry.Row{{{int64(1)}, {int64(2)}}}, true},
		{"no rows", [][]registry.Row{nil}, true},
		{"one too few", nil, false},
		{"one too many", [][]registry.Row{nil, nil}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Declare(Options[struct{}]{
				Name: "numbers", Doc: "Numbers.", Permission: command.MayConnect, Sets: [][]registry.Column{columns},
				Plan: func(context.Context, *Call, *struct{}) (Plan, error) { return Plan{Rows: c.rows}, nil },
			})
			plan, err := p.Plan(t.Context(), &Call{Caller: command.Caller{Kind: "user", Name: "x"}}, &struct{}{})
			if (err == nil) != c.ok {
				t.Fatal(err)
			}
			if !c.ok {
				return
			}
			want := []registry.ResultSet{{Columns: columns, Rows: c.rows[0]}}
			if got := p.ResultSets(plan.Rows); !reflect.DeepEqual(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}
