package sqltype

import (
	"bytes"
	"cmp"
	"encoding/json"

	"scaleout/fsm/command"
)

// Equal reports whether two values of one column are equal for a filter. Text is compared by the collation; nil equals
// only nil. A filter's text is all that is known of the value of a sql_variant: it is compared with the row's text.
func Equal(row, filter any) bool {
	if s, ok := filter.(string); ok {
		switch row := row.(type) {
		case string:
			return EqualText(row, s)
		case bool, json.Number, VariantValue:
			return EqualText(Text(Variant, row), s)
		}
		return false
	}
	return Compare(row, filter) == 0
}

// Compare orders two values of one column: NULL first, text by the collation. It is 0 exactly where the two are equal
// (Equal, a filter's text apart): what needs a total order adds a key whose values differ. The values of a sql_variant
// are ordered by the families of their base types, as in SQL Server: GUIDs, bytes, texts, exact numbers, floating-point
// numbers, dates and times.
func Compare(a, b any) int {
	switch a := a.(type) {
	case nil:
		if b == nil {
			return 0
		}
		return -1
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case string:
		if b, ok := b.(string); ok {
			return CompareText(a, b)
		}
	case command.Time:
		if b, ok := b.(command.Time); ok {
			return cmp.Compare(a, b)
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return bytes.Compare(a, b)
		}
	case Blob:
		if b, ok := b.(Blob); ok {
			return cmp.Compare(a, b)
		}
	}
	if b == nil {
		return 1
	}
	return compareVariants(VariantOf(a), VariantOf(b))
}
