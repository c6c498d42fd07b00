package sqltype

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math/big"
	"strings"

	"scaleout/fsm/command"
)

// Equal reports whether two values of one column are equal for a filter. Text is compared by the collation; nil equals
// only nil.
func Equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	// A filter's text is all that is known of a sql_variant.
	if s, ok := b.(string); ok {
		switch a := a.(type) {
		case string:
			return EqualText(a, s)
		case bool, json.Number:
			return EqualText(Text(Variant, a), s)
		}
		return false
	}
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	return a == b
}

// Compare orders two values of one column: NULL first, text by the collation. It is 0 exactly where Equal says so: what
// needs a total order adds a key whose values differ. The kinds of a sql_variant follow each other: bool, number, text.
func Compare(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case command.Time:
		return cmp.Compare(a, b.(command.Time))
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		}
		return -1
	case string:
		return CompareText(a, b.(string))
	case json.Number:
		return compareNumbers(a, b.(json.Number))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	}
	return 0
}

func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case int64:
		return 2
	case json.Number:
		return 3
	case command.Time:
		return 4
	case string:
		return 5
	case []byte:
		return 6
	}
	return 7
}

func compareNumbers(a, b json.Number) int {
	// Exact for every integer and Decimal; an exponent that would cost memory falls back to floating point.
	if len(a) < 64 && len(b) < 64 && !strings.ContainsAny(string(a)+string(b), "eE") {
		x, okA := new(big.Rat).SetString(string(a))
		y, okB := new(big.Rat).SetString(string(b))
		if okA && okB {
			if c := x.Cmp(y); c != 0 {
				return c
			}
			return strings.Compare(string(a), string(b))
		}
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	if c := cmp.Compare(x, y); c != 0 {
		return c
	}
	return strings.Compare(string(a), string(b))
}
