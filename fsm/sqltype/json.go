package sqltype

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"scaleout/fsm/command"
)

// instantLayout is RFC 3339 with the seven decimals of datetimeoffset(7).
const instantLayout = "2006-01-02T15:04:05.0000000Z07:00"

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
		if t.Kind() == kindBit || t.Kind() == kindVariant {
			return strconv.AppendBool(dst, v), nil
		}
	case string:
		if t.IsText() || t.Kind() == kindGUID || t.Kind() == kindVariant {
			return AppendString(dst, v), nil
		}
	case command.Time:
		if t.Kind() == kindDateTimeOffset {
			dst = append(dst, '"')
			dst = v.Time().AppendFormat(dst, instantLayout)
			return append(dst, '"'), nil
		}
	case json.Number:
		if t.Kind() == kindVariant {
			return append(dst, v...), nil
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
	case command.Time:
		return v.Time().Format(instantLayout)
	case json.Number:
		return v.String()
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case Blob:
		return string(v)
	}
	return fmt.Sprint(v)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. It exists because encoding/json cannot append and escapes for HTML.
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
