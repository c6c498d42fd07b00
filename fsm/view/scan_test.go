package view

import (
	"context"
	"iter"
	"slices"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// An index that has more than can be sorted, rows that the caller may not see among them, does not refuse a query in
// the order of the key: the walk along the key answers it.
func TestAnIndexThatHasTooMuch(t *testing.T) {
	const n = MaxScan + 10
	all := func(q *Query, at any) iter.Seq[int64] {
		return func(yield func(int64) bool) {
			for i := int64(0); i < n; i++ {
				v := i
				if q.Descending {
					v = n - 1 - i
				}
				if from, ok := at.(int64); ok && (v < from) != q.Descending && v != from {
					continue
				}
				if !yield(v) {
					return
				}
			}
		}
	}
	view := declare(declaration[int64]{
		Permission: command.MayConnect, Name: "numbers", Doc: "numbers", Key: []string{"id"},
		Visible: func(_ *Query, i int64) bool { return i == 3 || i == n-1 },
		Columns: []column[int64]{
			{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: func(i int64) any { return i }},
			{Name: "value", Type: sqltype.Int, Doc: "value", Get: func(int64) any { return int64(4) }},
		},
		Paths: []path[int64]{
			{On: "value", Cost: historyRows, In: func(q *Query, _ []any) iter.Seq[int64] { return all(q, nil) }},
			{On: "id", Ordered: true, From: all},
		},
	})
	for order, want := range map[string][]int64{"": {3, n - 1}, "-id": {n - 1, 3}} {
		t.Run("order "+order, func(t *testing.T) {
			r := Request{Caller: alice, Order: order, Where: Where(map[string][]string{"value": {"4"}})}
			var got []int64
			for pages := 0; pages < 5; pages++ {
				page, err := Select(context.Background(), view, r)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range page.Rows {
					got = append(got, row[0].(int64))
				}
				if r.PageToken = page.NextPageToken; r.PageToken == "" {
					break
				}
			}
			if !slices.Equal(got, want) || r.PageToken != "" {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	_, err := Select(context.Background(), view,
		Request{Caller: alice, Order: "value,-id", Where: Where(map[string][]string{"value.gt": {"1"}})})
	rejected(t, err, command.CodeQueryTooBroad)
}
