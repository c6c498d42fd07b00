package catalog

import (
	"context"
	"testing"
)

// A page of the newest executions, as a list command reads it, from a history of 5,000.
func BenchmarkNewestExecutions(b *testing.B) {
	w := newWorld(b)
	w.deploy(project("nightly"))
	for range 5000 {
		id := w.create(bob, "")
		w.ok(bob, "stop_operation", `{"operation_id":%d}`, id)
	}
	view, _ := ViewNamed("executions")
	r := Request{Reader: w.state.Reader(), Caller: alice, Order: "-execution_id"}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		page, err := Select(context.Background(), view, r)
		if err != nil || len(page.Rows) != DefaultPageSize {
			b.Fatal(err)
		}
		if out, err = page.AppendRows(out[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
