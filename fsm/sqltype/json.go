package sqltype

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"scaleout/fsm/command"
)

// AppendJSON appends v, a Go value of type t, as JSON: the inverse of Coerce. It fails only on a Go value that is not
// of type t, which is a mistake in a view, not in data.
func AppendJSON(dst []byte, t Type, v any) ([]byte, error) {
	if v == nil {
		return append(dst, "null"...), nil
	}
	switch v := v.(type) {
	case int64:
		if _, _, ok := t.Range(); ok {
			return strconv.AppendInt(dst, v, 10), nil
		}
	case bool:
		if t.kind() == kindBit || t.kind() == kindVariant {
			return strconv.AppendBool(dst, v), nil
		}
	case string:
		if t.IsText() || t.kind() == kindGUID || t.kind() == kindVariant {
			return AppendString(dst, v), nil
		}
	case DecimalValue:
		if k := t.kind(); k == kindDecimal || k == kindMoney || k == kindSmallMoney {
			return append(dst, v...), nil
		}
	case float64:
		if (t.kind() == kindFloat || t.kind() == kindReal) && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return appendFloat(dst, v, floatBits(t)), nil
		}
	case CivilTime, TimeOfDay, command.Time:
		if layoutFits(t, v) {
			dst = append(dst, '"')
			dst = appendTime(dst, t, v)
			return append(dst, '"'), nil
		}
	case json.Number:
		if t.kind() == kindVariant {
			return append(dst, v...), nil
		}
	case VariantValue:
		if t.kind() == kindVariant && v.Base.fitsVariant() {
			base, value := v.bare()
			return AppendJSON(dst, base, value)
		}
	case []byte:
		if t.IsBinary() {
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, v)
			return append(dst, '"'), nil
		}
	case Blob:
		if t == VarBinaryMax {
			dst = append(dst, `{"blob":`...)
			return append(AppendString(dst, string(v)), '}'), nil
		}
	}
	return dst, fmt.Errorf("a %T is no value of type %s", v, t)
}

// layoutFits reports whether values of the type are of v's Go type.
func layoutFits(t Type, v any) bool {
	k := t.kind()
	switch v.(type) {
	case CivilTime:
		return k == kindDate || k == kindSmallDateTime || k == kindDateTime || k == kindDateTime2
	case TimeOfDay:
		return k == kindTime
	}
	return k == kindDateTimeOffset
}

// appendTime appends a CivilTime, a TimeOfDay or a command.Time as its type writes it.
func appendTime(dst []byte, t Type, v any) []byte {
	switch v := v.(type) {
	case CivilTime:
		return v.Time().AppendFormat(dst, layout(t))
	case TimeOfDay:
		return CivilTime(v).Time().AppendFormat(dst, layout(t))
	case command.Time:
		return instant(v).AppendFormat(dst, layout(t))
	}
	return dst
}

// appendFloat writes the shortest number that reads back the same, with an exponent where encoding/json has one.
func appendFloat(dst []byte, v float64, bits int) []byte {
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, bits)
}

// Encode is AppendJSON into a new slice.
func Encode(t Type, v any) (json.RawMessage, error) { return AppendJSON(nil, t, v) }

// Text is v, a Go value of type t, as ParseText takes it; "NULL" for nil.
func Text(t Type, v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return v
	case DecimalValue:
		return string(v)
	case float64:
		return string(appendFloat(nil, v, floatBits(t)))
	case CivilTime, TimeOfDay, command.Time:
		return string(appendTime(nil, t, v))
	case json.Number:
		return v.String()
	case VariantValue:
		return Text(v.bare())
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case Blob:
		return string(v)
	}
	return fmt.Sprint(v)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. It exists because encoding/json cannot append and escapes for HTML.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' && c != 0x7F {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size != 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, `\ufffd`...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
