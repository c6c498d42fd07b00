package sqltype

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"scaleout/fsm/command"
)

// VariantValue is a value of a sql_variant with the type that it has in there: any but sql_variant itself and those of
// unlimited length. JSON shows the value alone, so that it reads back without its base type: VariantOf says which one a
// bare value has.
type VariantValue struct {
	Base  Type
	Value any // the Go value of Base
	// Shown is what JSON and text have instead of Value, as a text or a json.Number, where Base writes it otherwise; nil
	// elsewhere. Comparisons ignore it.
	Shown any
}

// bare is the value as JSON and text have it, with its type.
func (v VariantValue) bare() (Type, any) {
	if v.Shown != nil {
		return Variant, v.Shown
	}
	return v.Base, v.Value
}

// fitsVariant reports whether t can be the base type of a sql_variant.
func (t Type) fitsVariant() bool {
	unlimited := (t.IsText() || t.IsBinary()) && t.Length() == 0
	return t.kind() != 0 && t.kind() != kindVariant && !unlimited
}

// VariantOf gives a value that a sql_variant holds without its base type the one that SQL Server gives such a constant:
// 1 is an int, 1.50 a decimal(3,2), 1e3 a float, a text an nvarchar of its length.
func VariantOf(v any) VariantValue {
	switch v := v.(type) {
	case VariantValue:
		return v
	case bool:
		return VariantValue{Base: Bit, Value: v}
	case int64:
		return VariantValue{Base: BigInt, Value: v}
	case json.Number:
		return variantOfNumber(string(v))
	case DecimalValue:
		return variantOfDecimal(string(v))
	case float64:
		return VariantValue{Base: Float, Value: v}
	case CivilTime:
		return VariantValue{Base: DateTime2, Value: v}
	case TimeOfDay:
		return VariantValue{Base: Time, Value: v}
	case command.Time:
		return VariantValue{Base: DateTimeOffset, Value: v}
	case string:
		return VariantValue{Base: NVarChar(min(max(Characters(v), 1), MaxVariant)), Value: v}
	case []byte:
		return VariantValue{Base: VarBinary(min(max(len(v), 1), 8000)), Value: v}
	}
	return VariantValue{}
}

func variantOfNumber(text string) VariantValue {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return VariantValue{Base: Int, Value: n}
	}
	if !strings.ContainsAny(text, "eE") {
		if v := variantOfDecimal(text); v.Base != 0 {
			return v
		}
	}
	f, _ := strconv.ParseFloat(text, 64)
	return VariantValue{Base: Float, Value: max(min(f, math.MaxFloat64), -math.MaxFloat64) + 0}
}

// variantOfDecimal has the least decimal that holds the number; none if it has too many digits.
func variantOfDecimal(text string) VariantValue {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	precision := max(len(strings.TrimLeft(whole, "0"))+len(fraction), 1)
	if precision > maxPrecision {
		return VariantValue{}
	}
	v, ok := splitDecimal(text, len(fraction))
	if !ok {
		return VariantValue{}
	}
	return VariantValue{Base: Decimal(precision, len(fraction)), Value: v}
}

// family is the place of a base type's family in SQL Server's order of sql_variant values: values of two families are
// ordered by it alone, those of one by their value. The zero type's is that of NULL.
func family(t Type) int {
	switch t.kind() {
	case 0, kindVariant:
		return 0
	case kindGUID:
		return 1
	case kindBinary, kindVarBinary:
		return 2
	case kindNVarChar, kindNChar, kindVarChar, kindChar, kindSysname:
		return 3
	case kindBit, kindTinyInt, kindSmallInt, kindInt, kindBigInt, kindSmallMoney, kindMoney, kindDecimal:
		return 4
	case kindReal, kindFloat:
		return 5
	}
	return 6 // dates and times
}

func compareVariants(a, b VariantValue) int {
	if c := cmp.Compare(family(a.Base), family(b.Base)); c != 0 {
		return c
	}
	switch x := a.Value.(type) {
	case string:
		y, _ := b.Value.(string)
		return CompareText(x, y)
	case []byte:
		y, _ := b.Value.([]byte)
		return bytes.Compare(x, y)
	case float64:
		y, _ := b.Value.(float64)
		return cmp.Compare(x, y)
	case bool, int64, DecimalValue:
		return compareDecimals(exact(x), exact(b.Value))
	case CivilTime, TimeOfDay, command.Time:
		return cmp.Compare(ticks(x), ticks(b.Value))
	}
	return 0
}

// exact is the digits of an exact number.
func exact(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	case int64:
		return strconv.FormatInt(v, 10)
	case DecimalValue:
		return string(v)
	}
	return "0"
}

// ticks puts dates, times of day (of 1900-01-01, as in SQL Server) and instants (in UTC) on one line.
func ticks(v any) CivilTime {
	switch v := v.(type) {
	case CivilTime:
		return v
	case TimeOfDay:
		return date(1900, 1, 1) + CivilTime(v)
	case command.Time:
		return civil(instant(v))
	}
	return 0
}
