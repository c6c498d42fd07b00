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

	"scaleout/fsm/catalog"
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

// shelf is a view over rows in memory, in the order of its key, for questions about queries alone.
func shelf(rows *[]registry.Row, walks bool) *View {
	v := &View{
		Name: "shelf", Key: []string{"id"}, Rising: []string{"born"},
		Columns: []registry.Column{
			{Name: "id", Type: sqltype.BigInt}, {Name: "born", Type: sqltype.BigInt}, {Name: "Name", Type: sqltype.NVarChar(20),
				Nullable: true},
			{Name: "size", Type: sqltype.Int, Nullable: true}, {Name: "text", Type: sqltype.NVarCharMax, Nullable: true},
		},
		Rows: func(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
			return func(yield func(registry.Row, error) bool) {
				list := slices.Clone(*rows)
				if q.Descending {
					slices.Reverse(list)
				}
				for _, r := range list {
					if q.After != nil && walks && (q.Descending && r[0].(int64) > q.After[0].(int64) ||
						!q.Descending && r[0].(int64) < q.After[0].(int64)) {
						continue
					}
					if !yield(r, nil) {
						return
					}
				}
			}
		},
	}
	if walks {
		v.Walks = always
	}
	return v
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

// Whatever the order, the filter and the page size, the pages together are the rows that match, sorted.
func TestPagesTogetherAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		view := shelf(&rows, rapid.Bool().Draw(t, "walks"))
		r := Request{Caller: alice, PageSize: rapid.IntRange(1, 7).Draw(t, "page"), Filter: map[string]string{}}
		var by []string
		for _, c := range rapid.Permutation([]string{"id", "born", "name", "SIZE"}).Draw(t, "columns")[:rapid.IntRange(0,
			4).Draw(t, "orders")] {
			by = append(by, rapid.SampledFrom([]string{"", "-"}).Draw(t, "direction")+c)
		}
		r.Order = strings.Join(by, ",")
		if rapid.Bool().Draw(t, "filter") {
			r.Filter["Size"] = rapid.SampledFrom([]string{"0", "1", "null"}).Draw(t, "size")
		}
		if rapid.IntRange(0, 5).Draw(t, "by key") == 0 {
			r.Filter["id"] = rapid.SampledFrom([]string{"0", "4", "5"}).Draw(t, "id")
		}
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
			t.Fatalf("%d rows, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i][0] != want[i][0] {
				t.Fatalf("row %d is %v, want %v (order %q)", i, got[i], want[i], r.Order)
			}
		}
	})
}

// plainSelect says in the simplest way what a query means.
func plainSelect(view *View, rows []registry.Row, r Request) []registry.Row {
	var want []registry.Row
	for _, row := range rows {
		ok := true
		for name, text := range r.Filter {
			i, _ := view.Column(name)
			ok = ok &&
				(text == "null" && row[i] == nil ||
					row[i] != nil && sqltype.EqualText(sqltype.Text(view.Columns[i].Type, row[i]), text))
		}
		if ok {
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
			_, constant := r.Filter["id"]
			if constant && name == "id" {
				continue
			}
			if _, constant := r.Filter["Size"]; constant && name == "SIZE" {
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
		{"unknown filter", Request{Filter: map[string]string{"nme": "x"}}, command.CodeUnknownColumn, "did you mean Name?"},
		{"filter twice", Request{Filter: map[string]string{"name": "x", "NAME": "y"}}, command.CodeColumnTwice, "twice"},
		{"filter type", Request{Filter: map[string]string{"size": "big"}}, command.CodeColumnValue,
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
	query := Request{Caller: alice, PageSize: 1, Filter: map[string]string{"born": "1"}}
	first, err := Select(context.Background(), view, query)
	if err != nil || first.NextPageToken == "" {
		t.Fatal(first, err)
	}
	token := first.NextPageToken
	for name, change := range map[string]func(r *Request){
		"another order":        func(r *Request) { r.Order = "-id" },
		"another filter":       func(r *Request) { r.Filter = map[string]string{"id": "1"} },
		"another filter value": func(r *Request) { r.Filter = map[string]string{"born": "2"} },
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
	query.PageToken, query.Filter = token, map[string]string{"BORN": "1"}
	if page, err := Select(context.Background(), view, query); err != nil || page.Rows[0][0] != int64(2) {
		t.Fatalf("the same query in another spelling: %v, %v", page, err)
	}
}

func TestQueryNeedsThePermission(t *testing.T) {
	rows := []registry.Row{}
	view := shelf(&rows, true)
	view.Permission = catalog.Permission{Roles: []string{command.RoleExecutor}}
	_, err := Select(context.Background(), view, Request{Caller: someone})
	if r := rejected(t, err, command.CodePermissionRole); !strings.Contains(registry.Detail(registry.HTTP, r),
		"ssis_cluster_executor") ||
		!strings.Contains(registry.Detail(registry.HTTP, r), `"someone" has no role`) {
		t.Fatal(registry.Detail(registry.HTTP, r))
	}
	_, err = Select(context.Background(), view,
		Request{Caller: command.Caller{Kind: "worker", Name: "w1", Roles: []string{command.RoleAdmin}}})
	rejected(t, err, command.CodePermissionKind)
}

// A walk that reads too much answers with what it has and goes on; sorting that much is refused.
func TestScansAreBounded(t *testing.T) {
	const n = MaxScan + 10
	view := &View{
		Name: "long", Key: []string{"id"}, Walks: always,
		Columns: []registry.Column{{Name: "id", Type: sqltype.BigInt}, {Name: "rare", Type: sqltype.Bit}},
		Rows: func(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
			return func(yield func(registry.Row, error) bool) {
				from := int64(0)
				if q.After != nil {
					from = q.After[0].(int64)
				}
				for i := from; i < n; i++ {
					if !yield(registry.Row{i, i == n-1}, nil) {
						return
					}
				}
			}
		},
	}
	r := Request{Caller: alice, Filter: map[string]string{"rare": "1"}}
	page, err := Select(context.Background(), view, r)
	if err != nil || len(page.Rows) != 0 || page.NextPageToken == "" {
		t.Fatalf("got %d rows, %q, %v; want none and a token", len(page.Rows), page.NextPageToken, err)
	}
	r.PageToken = page.NextPageToken
	page, err = Select(context.Background(), view, r)
	if err != nil || len(page.Rows) != 1 || page.NextPageToken != "" {
		t.Fatalf("got %d rows, %q, %v; want the rare one", len(page.Rows), page.NextPageToken, err)
	}
	_, err = Select(context.Background(), view, Request{Caller: alice, Order: "rare"})
	rejected(t, err, command.CodeQueryTooBroad)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Select(gone, view, Request{Caller: alice, Order: "rare"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v after the caller had gone", err)
	}
}

// What a caller may not see costs as much as what it sees, so it counts; and it is not shown.
func TestHiddenRowsCount(t *testing.T) {
	const n = MaxScan + 10
	view := &View{
		Name: "guarded", Key: []string{"id"}, Walks: always,
		Columns: []registry.Column{{Name: "id", Type: sqltype.BigInt}, {Name: "text", Type: sqltype.NVarChar(10)}},
		Rows: func(_ context.Context, q *Query) iter.Seq2[registry.Row, error] {
			return func(yield func(registry.Row, error) bool) {
				from := int64(0)
				if q.After != nil {
					from = q.After[0].(int64)
				}
				for i := from; i < n; i++ {
					row, err := registry.Row{i, "seen"}, error(nil)
					if i != 3 && i != n-1 {
						row, err = registry.Row{i}, errHidden
					}
					if !yield(row, err) {
						return
					}
				}
			}
		},
	}
	r := Request{Caller: alice}
	for _, want := range []int64{3, n - 1} {
		page, err := Select(context.Background(), view, r)
		if err != nil || len(page.Rows) != 1 || page.Rows[0][0] != want || (page.NextPageToken == "") != (want != 3) {
			t.Fatalf("got %v, %q, %v; want row %d", page.Rows, page.NextPageToken, err, want)
		}
		r.PageToken = page.NextPageToken
	}
	_, err := Select(context.Background(), view, Request{Caller: alice, Order: "text"})
	rejected(t, err, command.CodeQueryTooBroad)
}

func TestResultSetJSON(t *testing.T) {
	set := registry.ResultSet{Columns: []registry.Column{{Name: "a", Type: sqltype.BigInt},
		{Name: `b"`, Type: sqltype.Variant, Nullable: true}},
		Rows: []registry.Row{{int64(math.MaxInt64), nil}, {int64(0), json.Number("1.5")}}}
	got, err := json.Marshal(set)
	want := `{"columns":[{"name":"a","type":"bigint"},{"name":"b\"","type":"sql_variant"}],"rows":[{"a":9223372036854775807,"b\"":null},{"a":0,"b\"":1.5}]}`
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
