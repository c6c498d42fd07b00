package view_test

import (
	"context"
	"testing"

	"scaleout/fsm/fsmtest"
	"scaleout/fsm/view"
)

// A page of the newest executions, as a list command reads it, from a history of 5,000.
func BenchmarkNewestExecutions(b *testing.B) {
	w := fsmtest.NewWorld(b)
	w.Deploy(fsmtest.Project("nightly"))
	for range 5000 {
		id := w.Create(fsmtest.Bob, "")
		w.Ok(fsmtest.Bob, "stop_operation", `{"operation_id":%d}`, id)
	}
	newest, _ := view.Named("executions")
	r := view.Request{Reader: w.State.Reader(), Caller: fsmtest.Alice, Order: "-execution_id"}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		page, err := view.Select(context.Background(), newest, r)
		if err != nil || len(page.Rows) != view.DefaultPageSize {
			b.Fatal(err)
		}
		if out, err = page.AppendJSON(out[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
