package view

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

var (
	alice   = command.Caller{Kind: "user", Name: "alice", Roles: []string{command.RoleAdmin}}
	someone = command.Caller{Kind: "user", Name: "someone"}
)

func rejected(t *testing.T, err error, code string) *command.Rejection {
	t.Helper()
	var r *command.Rejection
	ok := errors.As(err, &r)
	if !ok || r.Code != code {
		t.Fatalf("got %v, want the code %s", err, code)
	}
	return r
}

// shelf is a view over rows in memory, in the order of its key, for questions about queries alone. If it walks, it can
// begin anywhere, and has indexes on id and size.
func shelf(rows *[]registry.Row, walks bool) *View {
	get := func(i int) func(registry.Row) any { return func(r registry.Row) any { return r[i] } }
	find := func(q *Query, column int, value any) iter.Seq[registry.Row] {
		return walked(q, func(yield func(registry.Row) bool) {
			for _, r := range *rows {
				if (value == nil || r[column] == value) && !yield(r) {
					return
				}
			}
		})
	}
	id := func(r registry.Row) int64 { return r[0].(int64) }
	all := path[registry.Row]{On: "id", From: func(q *Query, _ any) iter.Seq[registry.Row] { return find(q, 0, nil) }}
	var indexes []path[registry.Row]
	if walks {
		all = path[registry.Row]{On: "id", Cost: oneRow, Ordered: true,
			In: func(q *Query, ids []any) iter.Seq[registry.Row] {
				return found(q, ids, func(n int64) (registry.Row, bool) {
					for r := range find(q, 0, n) {
						return r, true
					}
					return nil, false
				})
			},
			From: func(q *Query, at any) iter.Seq[registry.Row] {
				return func(yield func(registry.Row) bool) {
					for r := range find(q, 0, nil) {
						if at != nil && (q.Descending && id(r) > at.(int64) || !q.Descending && id(r) < at.(int64)) {
							continue
						}
						if !yield(r) {
							return
						}
					}
				}
			}}
		indexes = []path[registry.Row]{{On: "size", Cost: liveRows, Ordered: true,
			In: func(q *Query, sizes []any) iter.Seq[registry.Row] {
				return merged(q, sizes, id, func(n int64) iter.Seq[registry.Row] { return find(q, 3, n) })
			}}}
	}
	return declare(declaration[registry.Row]{
		Permission: command.MayConnect, Name: "shelf", Doc: "a shelf", Key: []string{"id"}, Rising: []string{"born"},
		Columns: []column[registry.Row]{
			{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: get(0)},
			{Name: "born", Type: sqltype.BigInt, Doc: "born", Get: get(1)},
			{Name: "Name", Type: sqltype.NVarChar(20), Nullable: true, Doc: "name", Get: get(2)},
			{Name: "size", Type: sqltype.Int, Nullable: true, Doc: "size", Get: get(3)},
			{Name: "text", Type: sqltype.NVarCharMax, Nullable: true, Doc: "text", Get: get(4)},
		},
		Paths: append(indexes, all),
	})
}

func drawRows(t *rapid.T) []registry.Row {
	n := rapid.IntRange(0, 30).Draw(t, "n")
	rows := make([]registry.Row, n)
	for i := range rows {
		rows[i] = registry.Row{int64(i * 2), int64(i / 3), rapid.StringN(0, 3, -1).Draw(t, "name"), nil, nil}
		if rapid.Bool().Draw(t, "sized") {
			rows[i][3] = rapid.Int64Range(0, 3).Draw(t, "size")
		}
	}
	return rows
}

// drawWhere draws up to four predicates.
func drawWhere(t *rapid.T) []Predicate {
	values := map[string][]string{
		"id": {"0", "3", "4", "11", "20", "58"}, "BORN": {"0", "2", "5", "9"}, "size": {"0", "1", "2", "3"},
		"name": {"a", "B", "", "zz"},
	}
	filter := map[string][]string{}
	for range rapid.IntRange(0, 4).Draw(t, "predicates") {
		column := rapid.SampledFrom([]string{"id", "BORN", "size", "name"}).Draw(t, "column")
		operator := rapid.SampledFrom([]string{"", "", ".ne", ".lt", ".le", ".gt", ".ge"}).Draw(t, "operator")
		n, from := 1, values[column]
		if operator == "" || operator == ".ne" {
			n, from = rapid.IntRange(1, 3).Draw(t, "values"), append(slices.Clone(from), "null")
		}
		filter[column+operator] = rapid.SliceOfN(rapid.SampledFrom(from), n, n).Draw(t, "of")
	}
	return Where(filter)
}

// Whatever the order, the predicates, the columns and the page size, the pages together are the rows that match,
// sorted.
func TestPagesTogetherAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		view := shelf(&rows, rapid.Bool().Draw(t, "walks"))
		r := Request{Caller: alice, PageSize: rapid.IntRange(1, 7).Draw(t, "page"), Where: drawWhere(t)}
		var by []string
		for _, c := range rapid.Permutation([]string{"id", "born", "name", "SIZE"}).Draw(t, "columns")[:rapid.IntRange(0,
			4).Draw(t, "orders")] {
			by = append(by, rapid.SampledFrom([]string{"", "-"}).Draw(t, "direction")+c)
		}
		r.Order = strings.Join(by, ",")
		r.Columns = rapid.SampledFrom([]string{"", "id", "size,ID"}).Draw(t, "shown")
		place := strings.Count(r.Columns, ",") // of id
		var got []registry.Row
		for {
			page, err := Select(context.Background(), view, r)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Rows) > r.PageSize {
				t.Fatalf("%d rows on a page of %d", len(page.Rows), r.PageSize)
			}
			got = append(got, page.Rows...)
			if page.NextPageToken == "" {
				break
			}
			if len(page.Rows) == 0 {
				t.Fatal("an empty page in a small view has a next one")
			}
			r.PageToken = page.NextPageToken
		}
		want := plainSelect(view, rows, r)
		if len(got) != len(want) {
			t.Fatalf("%d rows, want %d (where %v, order %q)", len(got), len(want), r.Where, r.Order)
		}
		for i := range got {
			if got[i][place] != want[i][0] {
				t.Fatalf("row %d is %v, want %v (where %v, order %q)", i, got[i], want[i], r.Where, r.Order)
			}
		}
	})
}

// plainMatch says in the simplest way what a predicate means.
func plainMatch(view *View, row registry.Row, p Predicate) bool {
	i, _ := view.Column(p.Column)
	equal := func(text string) bool {
		if text == "null" {
			return row[i] == nil
		}
		return row[i] != nil && sqltype.EqualText(sqltype.Text(view.Columns[i].Type, row[i]), text)
	}
	if p.Operator == Equal {
		return slices.ContainsFunc(p.Values, equal)
	}
	if row[i] == nil {
		return false
	}
	if p.Operator == NotEqual {
		return !slices.ContainsFunc(p.Values, equal)
	}
	value, _ := sqltype.ParseText(view.Columns[i].Type, p.Values[0])
	order := sqltype.Compare(row[i], value)
	return map[Operator]bool{Less: order < 0, AtMost: order <= 0, Greater: order > 0, AtLeast: order >= 0}[p.Operator]
}

// plainSelect says in the simplest way what a query means.
func plainSelect(view *View, rows []registry.Row, r Request) []registry.Row {
	var want []registry.Row
	constant := map[int]bool{}
	for _, p := range r.Where {
		distinct := slices.Compact(slices.Sorted(slices.Values(p.Values)))
		if i, _ := view.Column(p.Column); p.Operator == Equal && len(distinct) == 1 {
			constant[i] = true
		}
	}
	for _, row := range rows {
		if !slices.ContainsFunc(r.Where, func(p Predicate) bool { return !plainMatch(view, row, p) }) {
			want = append(want, row)
		}
	}
	slices.SortStableFunc(want, func(a, b registry.Row) int {
		sign := 1
		for _, part := range strings.Split(r.Order, ",") {
			if part == "" {
				break
			}
			name, down := strings.CutPrefix(part, "-")
			i, _ := view.Column(name)
			if constant[i] {
				continue
			}
			sign = 1
			if down {
				sign = -1
			}
			if c := sqltype.Compare(a[i], b[i]); c != 0 {
				return c * sign
			}
		}
		return sqltype.Compare(a[0], b[0]) * sign
	})
	return want
}

// Rows that come and go between two pages neither repeat nor hide the others.
func TestPagesAreStableUnderInserts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		view := shelf(&rows, rapid.Bool().Draw(t, "walks"))
		r := Request{Caller: alice, PageSize: rapid.IntRange(1, 5).Draw(t, "page"),
			Order: rapid.SampledFrom([]string{"", "-id", "name", "-size,name", "-born", "born,-id"}).Draw(t, "order")}
		old := map[int64]bool{}
		for _, row := range rows {
			old[row[0].(int64)] = true
		}
		seen := map[int64]int{}
		for {
			page, err := Select(context.Background(), view, r)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.Rows {
				seen[row[0].(int64)]++
			}
			if page.NextPageToken == "" {
				break
			}
			r.PageToken = page.NextPageToken
			id := rapid.Int64Range(0, 29).Draw(t, "new")*2 + 1
			if i, found := slices.BinarySearchFunc(rows, id, func(r registry.Row, id int64) int {
				return sqltype.Compare(r[0], id)
			}); !found {
				rows = slices.Insert(slices.Clone(rows), i, registry.Row{id, (id - 1) / 6, rapid.StringN(0, 3, -1).Draw(t, "name"),
					int64(1), nil})
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Fatalf("row %d came %d times", id, n)
			}
		}
		for id := range old {
			if seen[id] != 1 {
				t.Fatalf("row %d did not come", id)
			}
		}
	})
}

func TestBadQueries(t *testing.T) {
	rows := []registry.Row{{int64(1), int64(1), "a", nil, nil}, {int64(2), int64(1), "b", nil, nil},
		{int64(3), int64(1), "c", nil, nil}}
	view := shelf(&rows, true)
	for _, c := range []struct {
		name string
		r    Request
		code string
		says string
	}{
		{"page size", Request{PageSize: 1001}, command.CodePageSize, "page_size: 1001 is outside 1–1000"},
		{"negative page size", Request{PageSize: -1}, command.CodePageSize, "-1"},
		{"unknown filter", Request{Where: Where(map[string][]string{"nme": {"x"}})}, command.CodeUnknownColumn,
			"did you mean Name?"},
		{"filter twice", Request{Where: Where(map[string][]string{"name": {"x"}, "NAME": {"y"}})}, command.CodeColumnTwice,
			"twice"},
		{"filter type", Request{Where: Where(map[string][]string{"size": {"big"}})}, command.CodeColumnValue,
			`size: "big" is not a valid int`},
		{"unknown order", Request{Order: "id,-elsewhere"}, command.CodeUnknownColumn, "there are id, born"},
		{"empty order", Request{Order: "id,"}, command.CodeOrderEmpty, "place 2"},
		{"order twice", Request{Order: "id,-ID"}, command.CodeOrderTwice, "twice"},
		{"order by text", Request{Order: "text"}, command.CodeOrderType, "nvarchar(max)"},
		{"token", Request{PageToken: "x"}, command.CodePageToken, "page_token"},
		{"token of nothing", Request{PageToken: base64.RawURLEncoding.EncodeToString([]byte("12345678[1]"))},
			command.CodePageToken, "page_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Caller = alice
			_, err := Select(context.Background(), view, c.r)
			if says := registry.Detail(registry.HTTP, rejected(t, err, c.code)); !strings.Contains(says, c.says) {
				t.Fatalf("%q does not say %q", says, c.says)
			}
		})
	}
}

func TestTokenBelongsToItsQuery(t *testing.T) {
	rows := []registry.Row{{int64(1), int64(1), "a", nil, nil}, {int64(2), int64(1), "b", nil, nil},
		{int64(3), int64(1), "c", nil, nil}}
	view := shelf(&rows, true)
	query := Request{Caller: alice, PageSize: 1, Where: Where(map[string][]string{"born": {"1"}})}
	first, err := Select(context.Background(), view, query)
	if err != nil || first.NextPageToken == "" {
		t.Fatal(first, err)
	}
	token := first.NextPageToken
	for name, change := range map[string]func(r *Request){
		"another order":        func(r *Request) { r.Order = "-id" },
		"another filter":       func(r *Request) { r.Where = Where(map[string][]string{"id": {"1"}}) },
		"another filter value": func(r *Request) { r.Where = Where(map[string][]string{"born": {"2"}}) },
		"changed":              func(r *Request) { r.PageToken = token[:len(token)-2] + "AA" },
		"cut":                  func(r *Request) { r.PageToken = token[:4] },
	} {
		t.Run(name, func(t *testing.T) {
			r := query
			r.PageToken = token
			change(&r)
			_, err := Select(context.Background(), view, r)
			rejected(t, err, command.CodePageToken)
		})
	}
	query.PageToken, query.Where = token, Where(map[string][]string{"BORN": {"1"}})
	if page, err := Select(context.Background(), view, query); err != nil || page.Rows[0][0] != int64(2) {
		t.Fatalf("the same query in another spelling: %v, %v", page, err)
	}
}

func TestQueryNeedsThePermission(t *testing.T) {
	rows := []registry.Row{}
	view := shelf(&rows, true)
	view.Permission = command.MayRun
	_, err := Select(context.Background(), view, Request{Caller: someone})
	if r := rejected(t, err, command.CodePermissionNoRole); !strings.Contains(registry.Detail(registry.HTTP, r),
		"ssis_cluster_executor") ||
		!strings.Contains(registry.Detail(registry.HTTP, r), `"someone" has none`) {
		t.Fatal(registry.Detail(registry.HTTP, r))
	}
	_, err = Select(context.Background(), view,
		Request{Caller: command.Caller{Kind: "worker", Name: "w1", Roles: []string{command.RoleAdmin}}})
	rejected(t, err, command.CodePermissionKind)
}

// numbers is a view over the numbers up to n, each with a value.
func numbers(n int64, value func(int64) any, typ sqltype.Type, visible func(*Query, int64) bool) *View {
	return declare(declaration[int64]{
		Permission: command.MayConnect, Name: "numbers", Doc: "numbers", Key: []string{"id"}, Visible: visible,
		Columns: []column[int64]{
			{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: func(i int64) any { return i }},
			{Name: "value", Type: typ, Doc: "value", Get: value},
		},
		Paths: []path[int64]{{On: "id", Ordered: true, From: func(q *Query, at any) iter.Seq[int64] {
			return func(yield func(int64) bool) {
				from, _ := at.(int64)
				for i := from; i < n; i++ {
					if !yield(i) {
						return
					}
				}
			}
		}}},
	})
}

// A walk that reads too much answers with what it has and goes on; sorting that much is refused.
func TestScansAreBounded(t *testing.T) {
	const n = MaxScan + 10
	view := numbers(n, func(i int64) any { return i == n-1 }, sqltype.Bit, nil)
	r := Request{Caller: alice, Where: Where(map[string][]string{"value": {"1"}})}
	page, err := Select(context.Background(), view, r)
	if err != nil || len(page.Rows) != 0 || page.NextPageToken == "" {
		t.Fatalf("got %d rows, %q, %v; want none and a token", len(page.Rows), page.NextPageToken, err)
	}
	r.PageToken = page.NextPageToken
	page, err = Select(context.Background(), view, r)
	if err != nil || len(page.Rows) != 1 || page.NextPageToken != "" {
		t.Fatalf("got %d rows, %q, %v; want the rare one", len(page.Rows), page.NextPageToken, err)
	}
	_, err = Select(context.Background(), view, Request{Caller: alice, Order: "value"})
	rejected(t, err, command.CodeQueryTooBroad)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Select(gone, view, Request{Caller: alice, Order: "value"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v after the caller had gone", err)
	}
}

// Whoever has gone costs one more row, not a whole block of them.
func TestASlowQueryEndsWithItsCaller(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	read := 0
	view := numbers(1000, func(int64) any {
		if read++; read == 3 {
			cancel()
		}
		return "aaa"
	}, sqltype.NVarChar(10), nil)
	for _, order := range []string{"", "value"} {
		read = 0
		_, err := Select(gone, view, Request{Caller: alice, Order: order,
			Where: Where(map[string][]string{"value.like": {"%b%"}})})
		if !errors.Is(err, context.Canceled) || read > 4 {
			t.Errorf("order %q: %d values were computed, %v", order, read, err)
		}
	}
}

// What a caller may not see costs as much as what it sees, so it counts; and it is not shown.
func TestHiddenRowsCount(t *testing.T) {
	const n = MaxScan + 10
	view := numbers(n, func(int64) any { return "seen" }, sqltype.NVarChar(10),
		func(_ *Query, i int64) bool { return i == 3 || i == n-1 })
	r := Request{Caller: alice}
	for _, want := range []int64{3, n - 1} {
		page, err := Select(context.Background(), view, r)
		if err != nil || len(page.Rows) != 1 || page.Rows[0][0] != want || (page.NextPageToken == "") != (want != 3) {
			t.Fatalf("got %v, %q, %v; want row %d", page.Rows, page.NextPageToken, err, want)
		}
		r.PageToken = page.NextPageToken
	}
	_, err := Select(context.Background(), view, Request{Caller: alice, Order: "value"})
	rejected(t, err, command.CodeQueryTooBroad)
}

func TestResultSetJSON(t *testing.T) {
	set := registry.ResultSet{Columns: []registry.Column{{Name: "a", Type: sqltype.BigInt},
		{Name: `b"`, Type: sqltype.Variant, Nullable: true}},
		Rows: []registry.Row{{int64(math.MaxInt64), nil}, {int64(0), json.Number("1.5")}}}
	got, err := json.Marshal(set)
	want := `{"columns":[{"name":"a","type":"bigint"},{"name":"b\"","type":"sql_variant"}],` +
		`"rows":[{"a":9223372036854775807,"b\"":null},{"a":0,"b\"":1.5}]}`
	if err != nil || string(got) != want {
		t.Fatalf("got %s, %v", got, err)
	}
	if got, err = json.Marshal(registry.ResultSet{}); err != nil || string(got) != `{"columns":[],"rows":[]}` {
		t.Fatalf("got %s, %v", got, err)
	}
}

func FuzzPageToken(f *testing.F) {
	rows := []registry.Row{{int64(1), int64(1), "a", nil, nil}, {int64(2), int64(1), nil, int64(7), nil},
		{int64(3), int64(1), "c", nil, nil}}
	view := shelf(&rows, true)
	first, _ := Select(context.Background(), view, Request{Caller: alice, PageSize: 1, Order: "name"})
	f.Add(first.NextPageToken, "name")
	f.Add("", "-id,size")
	f.Fuzz(func(t *testing.T, token, order string) {
		page, err := Select(context.Background(), view, Request{Caller: alice, PageSize: 1, PageToken: token, Order: order})
		var r *command.Rejection
		if err != nil && !errors.As(err, &r) {
			t.Fatal(err)
		}
		if err == nil && len(page.Rows) > 1 {
			t.Fatal("too many rows")
		}
	})
}

// What the documents say of a query's bound is so.
func TestTheBoundOfAQueryInTheDocuments(t *testing.T) {
	raw, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("one query reads %d,%03d rows at most", MaxScan/1000, MaxScan%1000)
	if !strings.Contains(strings.ReplaceAll(string(raw), "\n", " "), want) {
		t.Errorf("docs/api.md does not have %q", want)
	}
}
