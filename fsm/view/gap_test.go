package view

import (
	"context"
	"iter"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
)

// Whatever a path yields, Visible alone hides a row from a caller, and a gap is a row for nobody.
func TestVisibleAndGap(t *testing.T) {
	e := &catalog.Execution{ID: 7, Caller: "bob"}
	bob := command.Caller{Kind: "user", Name: "bob", Roles: []string{command.RoleExecutor}}
	for name, matches := range map[string]func(q *Query) (row, gap bool){
		"tasks": func(q *Query) (row, gap bool) {
			d := elementsOf[task](t, "tasks", q)
			return d.matches(task{execution: e, number: 1}), d.matches(task{execution: e, gap: true})
		},
		"execution_parameter_values": func(q *Query) (row, gap bool) {
			d := elementsOf[value](t, "execution_parameter_values", q)
			return d.matches(value{execution: e, name: "P"}), d.matches(value{execution: e})
		},
		"operation_messages": func(q *Query) (row, gap bool) {
			d, o := elementsOf[message](t, "operation_messages", q), operation{execution: e}
			return d.matches(message{operation: o, text: &segment.Message{}}), d.matches(message{operation: o})
		},
	} {
		for _, c := range []struct {
			caller command.Caller
			sees   bool
		}{{bob, true}, {alice, true}, {someone, false}} {
			t.Run(name+"/"+c.caller.Name, func(t *testing.T) {
				row, gap := matches(&Query{Reader: catalog.NewState().Reader(), Caller: c.caller})
				if row != c.sees || gap {
					t.Errorf("a row is shown: %t, want %t; a gap is shown: %t, want false", row, c.sees, gap)
				}
			})
		}
	}
}

func elementsOf[T any](t *testing.T, name string, q *Query) *elements[T] {
	t.Helper()
	v, ok := Named(name)
	if !ok {
		t.Fatalf("no view is named %s", name)
	}
	return v.open(q).(*elements[T])
}

// A gap is no row, and a walk that reads nothing else goes on behind it.
func TestAWalkOverGaps(t *testing.T) {
	const n = MaxScan + 10
	view := declare(declaration[int64]{
		Permission: command.MayConnect, Name: "numbers", Doc: "numbers", Key: []string{"id"},
		Gap: func(i int64) bool { return i < n-1 },
		Columns: []column[int64]{
			{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: func(i int64) any { return i }},
		},
		Paths: []path[int64]{{On: "id", Ordered: true, From: func(_ *Query, at any) iter.Seq[int64] {
			return func(yield func(int64) bool) {
				from, _ := at.(int64)
				for i := from; i < n && yield(i); i++ {
				}
			}
		}}},
	})
	page, err := Select(context.Background(), view, Request{Caller: alice})
	if err != nil || len(page.Rows) != 0 || page.NextPageToken == "" {
		t.Fatalf("got %d rows, %q, %v; want none and a token", len(page.Rows), page.NextPageToken, err)
	}
	page, err = Select(context.Background(), view, Request{Caller: alice, PageToken: page.NextPageToken})
	if err != nil || len(page.Rows) != 1 || page.Rows[0][0] != int64(n-1) {
		t.Fatalf("got %v, %v; want the last number", page.Rows, err)
	}
}
