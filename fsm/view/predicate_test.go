package view

import (
	"context"
	"iter"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

func TestLike(t *testing.T) {
	for _, c := range []struct {
		name, pattern, text string
		want                bool
	}{
		{"the same text", "load", "load", true},
		{"without case", "LOAD", "load", true},
		{"beyond ASCII", "ÄRGER%", "ärgerlich", true},
		{"a part is not enough", "load", "load.dtsx", false},
		{"any text at the end", "load%", "load.dtsx", true},
		{"any text is none", "load%", "load", true},
		{"any text in the middle", "l%.dtsx", "load.dtsx", true},
		{"it goes back", "%ab%abc", "ab ab abc", true},
		{"it goes back in vain", "%ab%abc", "ab ab ab", false},
		{"one character", "l__d", "load", true},
		{"one character is not none", "load_", "load", false},
		{"one of a range", "file[0-9]", "file7", true},
		{"one of a set", "file[a7]", "fileA", true},
		{"none of a set", "file[^0-9]", "filex", true},
		{"one of what is excluded", "file[^0-9]", "file7", false},
		{"the character itself", "100[%]", "100%", true},
		{"not any text", "100[%]", "100 percent", false},
		{"a bracket itself", "[[]x]", "[x]", true},
		{"a hyphen at the end", "a[b-]", "a-", true},
		{"an empty set", "a[]", "a", false},
		{"nothing", "", "", true},
		{"blanks at the end count", "a_", "a ", true},
		{"blanks of the pattern count", "a ", "a", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parsePattern("name", c.pattern)
			if err != nil || p.matches(c.text) != c.want {
				t.Errorf("%q like %q is %v, %v", c.text, c.pattern, p.matches(c.text), err)
			}
		})
	}
	long := strings.Repeat("a%", maxPattern/2) + "b"
	if _, err := parsePattern("name", long); err == nil {
		t.Error("a pattern of any length is taken")
	}
}

func TestPredicatesThatAreRefused(t *testing.T) {
	view := shelf(new([]registry.Row), true)
	for _, c := range []struct {
		name string
		p    Predicate
		code string
	}{
		{"unknown operator", Predicate{"size", "gte", []string{"1"}}, command.CodeFilterOperator},
		{"unknown column", Predicate{"sise", Less, []string{"1"}}, command.CodeUnknownColumn},
		{"no value", Predicate{"size", Equal, nil}, command.CodeColumnTwice},
		{"two bounds", Predicate{"size", Less, []string{"1", "2"}}, command.CodeColumnTwice},
		{"a bound that is NULL", Predicate{"size", Less, []string{"null"}}, command.CodeColumnValue},
		{"a value of another type", Predicate{"size", NotEqual, []string{"x"}}, command.CodeColumnValue},
		{"a pattern for numbers", Predicate{"size", Like, []string{"1%"}}, command.CodeFilterType},
		{"a set without an end", Predicate{"name", Like, []string{"[a"}}, command.CodeColumnValue},
		{"too many values", Predicate{"size", Equal, make([]string, MaxValues+1)}, command.CodeFilterValues},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Select(context.Background(), view, Request{Caller: alice, Where: []Predicate{c.p}})
			rejected(t, err, c.code)
		})
	}
}

// A query reads along the cheapest path, begins where its predicates and its page do, and ends where they end.
func TestQueriesReadWhatTheyNeed(t *testing.T) {
	const n = 1000
	var read int
	view := func() *View {
		counted := func(q *Query, from, to int64) iter.Seq[int64] {
			return func(yield func(int64) bool) {
				for i := from; i <= to; i++ {
					read++
					if v := i; q.Descending && !yield(from+to-v) || !q.Descending && !yield(v) {
						return
					}
				}
			}
		}
		return declare(declaration[int64]{
			Permission: command.MayConnect, Name: "counted", Doc: "counted", Key: []string{"id"}, Rising: []string{"tens"},
			Columns: []column[int64]{
				{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: func(i int64) any { return i }},
				{Name: "tens", Type: sqltype.BigInt, Doc: "tens", Get: func(i int64) any { return i / 10 }},
				{Name: "last", Type: sqltype.BigInt, Doc: "last digit", Get: func(i int64) any { return i % 10 }},
			},
			Paths: []path[int64]{
				{On: "tens", Cost: historyRows, Ordered: true, Takes: integer, In: func(q *Query, tens []any) iter.Seq[int64] {
					return merged(q, tens, func(i int64) int64 { return i },
						func(ten int64) iter.Seq[int64] { return counted(q, ten*10, ten*10+9) })
				}},
				{On: "id", Cost: oneRow, Ordered: true,
					In: func(q *Query, ids []any) iter.Seq[int64] {
						return found(q, ids, func(i int64) (int64, bool) { read++; return i, 0 <= i && i < n })
					},
					From: func(q *Query, at any) iter.Seq[int64] {
						i, ok := at.(int64)
						switch {
						case q.Descending && ok:
							return counted(q, 0, i)
						case q.Descending:
							return counted(q, 0, n-1)
						}
						return counted(q, i, n-1)
					}},
			},
		})
	}()
	for _, c := range []struct {
		name, order string
		where       map[string][]string
		most        int // elements read for a page of 5
		want        []int64
	}{
		{"the first page", "", nil, 6, []int64{0, 1, 2, 3, 4}},
		{"the last rows", "-id", nil, 6, []int64{999, 998, 997, 996, 995}},
		{"some keys", "-id", map[string][]string{"id": {"7", "900", "5000"}}, 3, []int64{900, 7}},
		{"a range of keys", "", map[string][]string{"id.gt": {"500"}, "id.le": {"502"}}, 4, []int64{501, 502}},
		{"the same backwards", "-id", map[string][]string{"id.gt": {"500"}, "id.le": {"502"}}, 3, []int64{502, 501}},
		{"a range of what rises", "-id", map[string][]string{"tens.ge": {"99"}, "last.lt": {"2"}}, 11, []int64{991, 990}},
		{"lists of two values", "", map[string][]string{"tens": {"50", "3"}, "last": {"0"}}, 20, []int64{30, 500}},
		{"keys are cheaper than lists", "", map[string][]string{"tens": {"50"}, "id": {"501"}}, 1, []int64{501}},
		{"a range is cheaper than many lists", "", map[string][]string{"tens": {"0", "1", "2", "3", "4", "5", "6", "7", "8",
			"9", "10", "11"}, "id.lt": {"2"}}, 3, []int64{0, 1}},
		{"NULL is looked for nowhere", "", map[string][]string{"tens": {"0", "null"}, "id.lt": {"2"}}, 3, []int64{0, 1}},
		{"another order sorts a range", "-last", map[string][]string{"id.lt": {"12"}}, 13, []int64{9, 8, 7, 6, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			read = 0
			page, err := Select(context.Background(), view, Request{Caller: alice, Order: c.order, PageSize: 5,
				Where: Where(c.where), Columns: "id"})
			if err != nil || len(page.Rows) != len(c.want) || read > c.most {
				t.Fatalf("%v, %v; read %d, at most %d were expected", page.Rows, err, read, c.most)
			}
			for i, row := range page.Rows {
				if row[0] != c.want[i] {
					t.Fatalf("got %v, want %v", page.Rows, c.want)
				}
			}
		})
	}
	r := Request{Caller: alice, Order: "-id", PageSize: 5, Columns: "last"}
	first, err := Select(context.Background(), view, r)
	if err != nil {
		t.Fatal(err)
	}
	r.PageToken, read = first.NextPageToken, 0
	if page, err := Select(context.Background(), view, r); err != nil || page.Rows[0][0] != int64(4) || read > 7 {
		t.Errorf("the second page: %v, %v; read %d", page.Rows, err, read)
	}
}

// Only the asked columns are computed, and those that a predicate or the order needs.
func TestOnlyAskedColumnsAreComputed(t *testing.T) {
	computed := map[string]bool{}
	get := func(name string) func(int64) any {
		return func(i int64) any { computed[name] = true; return i }
	}
	view := declare(declaration[int64]{
		Permission: command.MayConnect, Name: "some", Doc: "some", Key: []string{"id"},
		Columns: []column[int64]{
			{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: get("id")},
			{Name: "a", Type: sqltype.BigInt, Doc: "a", Get: get("a")},
			{Name: "b", Type: sqltype.BigInt, Doc: "b", Get: get("b")},
			{Name: "c", Type: sqltype.BigInt, Doc: "c", Get: get("c")},
		},
		Paths: []path[int64]{{On: "id", Ordered: true, From: func(*Query, any) iter.Seq[int64] {
			return func(yield func(int64) bool) { yield(1) }
		}}},
	})
	page, err := Select(context.Background(), view, Request{Caller: alice, Columns: "B", Where: Where(map[string][]string{
		"a.gt": {"0"}})})
	if err != nil || len(page.Rows) != 1 || len(page.Columns) != 1 || page.Columns[0].Name != "b" || computed["c"] {
		t.Errorf("%v, %v; computed %v", page, err, computed)
	}
}

func TestMistakesInDeclarations(t *testing.T) {
	for _, c := range []struct {
		name    string
		mistake func(d *declaration[int64])
		says    string
	}{
		{"none", func(*declaration[int64]) {}, ""},
		{"no description", func(d *declaration[int64]) { d.Doc = "" }, "no name, description or key"},
		{"no permission", func(d *declaration[int64]) { d.Permission = nil }, "does not say who may read"},
		{"no getter", func(d *declaration[int64]) { d.Columns[0].Get = nil }, "exactly one of Get, Derive and Null"},
		{"a getter for what is NULL", func(d *declaration[int64]) { d.Columns[0].Null = "why" }, "exactly one of"},
		{"no words", func(d *declaration[int64]) { d.Columns[0].Doc = "" }, "column id: it needs a description"},
		{"no type", func(d *declaration[int64]) { d.Columns[0].Type = 0 }, "column id has no type"},
		{"live and not derived", func(d *declaration[int64]) { d.Columns[0].Live = true }, "column id: what is live"},
		{"no such key", func(d *declaration[int64]) { d.Key = []string{"ID"} }, "column ID does not exist"},
		{"no such rising column", func(d *declaration[int64]) { d.Rising = []string{"x"} }, "column x does not exist"},
		{"a lookup without a cost", func(d *declaration[int64]) {
			d.Paths[0].In = func(*Query, []any) iter.Seq[int64] { return empty[int64] }
		}, "its cost is not known"},
		{"no way to all rows", func(d *declaration[int64]) { d.Paths = nil }, "no path leads to all rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := declaration[int64]{
				Permission: command.MayConnect, Name: "v", Doc: "v", Key: []string{"id"},
				Columns: []column[int64]{{Name: "id", Type: sqltype.BigInt, Doc: "id", Get: func(i int64) any { return i }}},
				Paths:   []path[int64]{{On: "id", From: func(*Query, any) iter.Seq[int64] { return empty[int64] }}},
			}
			c.mistake(&d)
			got := ""
			if err := d.check(); err != nil {
				got = err.Error()
			}
			if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
				t.Errorf("%q, want %q", got, c.says)
			}
		})
	}
}

// A predicate on a sql_variant has no base type: it can only be equal, or not.
func TestVariantsAreNotOrderedByPredicates(t *testing.T) {
	columns := 0
	for _, view := range All() {
		for _, column := range view.Columns {
			if column.Type != sqltype.Variant {
				continue
			}
			columns++
			for operator, says := range map[Operator]string{Equal: "", NotEqual: "", Less: "lt does not", AtMost: "le does not",
				Greater: "gt does not", AtLeast: "ge does not", Like: "like does not"} {
				t.Run(view.Name+"."+column.Name+"."+string(operator), func(t *testing.T) {
					_, err := parseConditions(view, []Predicate{{column.Name, operator, []string{"1"}}})
					if says == "" {
						if err != nil {
							t.Error(err)
						}
						return
					}
					want := column.Name + ": " + says + " compare a sql_variant column; =, ne do"
					if got := registry.Detail(registry.HTTP, rejected(t, err, command.CodeFilterType)); got != want {
						t.Errorf("says %q, want %q", got, want)
					}
				})
			}
		}
	}
	if columns == 0 {
		t.Error("no view has a sql_variant")
	}
}
