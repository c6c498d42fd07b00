package view_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/segment"
	"scaleout/fsm/view"
)

// TestIndexesFindWhatAFullReadFinds asks each view by each value of each of its columns, forwards and backwards, and
// compares with the rows of a full read.
func TestIndexesFindWhatAFullReadFinds(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Deploy(fsmtest.Project("weekly"))
	w.Register(fsmtest.WorkerOne, "m1")
	w.Register(fsmtest.WorkerTwo, "m2")
	w.Create(fsmtest.Carol, "")
	for _, outcome := range []command.Outcome{command.Failed, command.Succeeded, command.Canceled} {
		id := w.Started(fsmtest.Bob)
		w.Grant(id, 1, fsmtest.WorkerOne, "m1")
		w.Output(fsmtest.WorkerOne, segment.Part{TaskID: id, Attempt: 1, FirstSeq: 1,
			Messages: []segment.Message{{Text: "a", Type: 70}, {Text: "b", Type: 120}}})
		w.Report(id, 1, fsmtest.WorkerOne, "m1", outcome, 3)
	}
	running := w.Started(fsmtest.Bob)
	w.Started(fsmtest.Bob)
	w.Grant(running, 1, fsmtest.WorkerTwo, "m2")
	for _, v := range view.All() {
		t.Run(v.Name, func(t *testing.T) {
			for _, caller := range []command.Caller{fsmtest.Alice, fsmtest.Bob} {
				if v.Authorize(w.State.Reader(), caller) != nil {
					continue
				}
				for _, down := range []string{"", "-"} {
					order := down + strings.Join(v.Key, ","+down)
					compareWithAFullRead(t, w, v, caller, order)
				}
			}
		})
	}
}

func compareWithAFullRead(t *testing.T, w *fsmtest.World, v *view.View, caller command.Caller, order string) {
	all := w.Query(caller, v.Name, view.Request{Order: order})
	text := func(row map[string]any, column string) string {
		if row[column] == nil {
			return "null"
		}
		return fmt.Sprint(row[column])
	}
	compare := func(filter []string, match func(value string) bool, column string) {
		got := w.Query(caller, v.Name, view.Request{Order: order, PageSize: 3, Where: fsmtest.Where(filter...)})
		var want []map[string]any
		for _, row := range all {
			if match(text(row, column)) {
				want = append(want, row)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("by %s where %v: %d rows, %d were expected:\n%v\n%v", order, filter, len(got), len(want), got, want)
		}
	}
	for _, c := range v.Columns {
		var values []string
		for _, row := range all {
			if value := text(row, c.Name); !slices.Contains(values, value) && len(values) < 6 {
				values = append(values, value)
			}
		}
		for i, value := range values {
			compare([]string{c.Name, value}, func(x string) bool { return strings.EqualFold(x, value) }, c.Name)
			other := values[(i+1)%len(values)]
			either := func(x string) bool { return strings.EqualFold(x, value) || strings.EqualFold(x, other) }
			compare([]string{c.Name, value, c.Name, other}, either, c.Name)
		}
		compare([]string{c.Name + ".ne", "null"}, func(x string) bool { return x != "null" }, c.Name)
	}
}
