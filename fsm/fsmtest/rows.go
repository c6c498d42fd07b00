package fsmtest

import (
	"bytes"
	"testing"

	"scaleout/fsm/sqltype"
	"scaleout/fsm/view"
)

// Where returns the predicates of a filter: "column" or "column.operator", then its value, and so on. Values of the
// same name belong to one predicate.
func Where(pairs ...string) []view.Predicate {
	filter := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		filter[pairs[i]] = append(filter[pairs[i]], pairs[i+1])
	}
	return view.Where(filter)
}

// CheckRows requires that every value of a page is NULL only where its column may be, and of the column's type.
func CheckRows(t testing.TB, name string, page view.Page) {
	t.Helper()
	for _, row := range page.Rows {
		if len(row) != len(page.Columns) {
			t.Fatalf("%s: a row of %d values for %d columns", name, len(row), len(page.Columns))
		}
		for i, c := range page.Columns {
			v := row[i]
			if v == nil {
				if !c.Nullable {
					t.Fatalf("%s.%s is NULL in %v", name, c.Name, row)
				}
				continue
			}
			text, err := sqltype.Encode(c.Type, v)
			if err != nil {
				t.Fatalf("%s.%s: %v in %v", name, c.Name, err, row)
			}
			// What a row shows must be what an argument of the type may be, and come back as the same value.
			back, err := sqltype.Coerce(c.Type, text)
			same := sqltype.Compare(back, v) == 0
			if c.Type == sqltype.Variant { // its base type is not shown
				again, _ := sqltype.Encode(c.Type, back)
				_, same = v.(sqltype.VariantValue)
				same = same && bytes.Equal(again, text)
			}
			if err != nil || !same {
				t.Fatalf("%s.%s: %s is not a %s: it reads back as %v, %v", name, c.Name, text, c.Type, back, err)
			}
		}
	}
}
