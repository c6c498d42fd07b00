package ispac

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"scaleout/fsm/sqltype"
)

// DataType is the type of a parameter. The numbers are .NET type codes, as the
// manifest and Project.params have them.
type DataType int

// The types that a parameter can have.
const (
	Boolean  DataType = 3
	SByte    DataType = 5
	Byte     DataType = 6
	Int16    DataType = 7
	Int32    DataType = 9
	UInt32   DataType = 10
	Int64    DataType = 11
	UInt64   DataType = 12
	Single   DataType = 13
	Double   DataType = 14
	Decimal  DataType = 15
	DateTime DataType = 16
	String   DataType = 18
)

var dataTypeNames = map[DataType]string{
	Boolean: "Boolean", SByte: "SByte", Byte: "Byte", Int16: "Int16", Int32: "Int32", UInt32: "UInt32",
	Int64: "Int64", UInt64: "UInt64", Single: "Single", Double: "Double", Decimal: "Decimal",
	DateTime: "DateTime", String: "String",
}

// bits of the integer and floating-point types.
var dataTypeBits = map[DataType]int{
	SByte: 8, Byte: 8, Int16: 16, Int32: 32, UInt32: 32, Int64: 64, UInt64: 64, Single: 32, Double: 64,
}

// DataTypes returns the types that a parameter can have, by rising number.
func DataTypes() []DataType {
	return []DataType{Boolean, SByte, Byte, Int16, Int32, UInt32, Int64, UInt64, Single, Double, Decimal, DateTime, String}
}

// String returns the catalog's name of the type ("Int32", "DateTime", …), or
// DataType(n) for a number that is no type.
func (t DataType) String() string {
	if name, ok := dataTypeNames[t]; ok {
		return name
	}
	return "DataType(" + strconv.Itoa(int(t)) + ")"
}

// Valid reports whether t is a type that a parameter can have.
func (t DataType) Valid() bool { return dataTypeNames[t] != "" }

// ParseDataType returns the type with the given catalog name, in any case.
func ParseDataType(name string) (DataType, error) {
	names := make([]string, 0, len(dataTypeNames))
	for _, t := range DataTypes() {
		if sqltype.EqualText(dataTypeNames[t], name) {
			return t, nil
		}
		names = append(names, dataTypeNames[t])
	}
	return 0, fmt.Errorf("%s is no data type: use one of %s", clip(name), strings.Join(names, ", "))
}

// ParseValue reads text as a value of type t, in the invariant culture and
// without surrounding blanks. It returns
//
//   - bool for Boolean: true, false (any case), 1, 0
//   - int64 for SByte, Int16, Int32, Int64 and uint64 for Byte, UInt32, UInt64
//   - float64 for Single (rounded to single precision) and Double; neither
//     infinite nor NaN, which a catalog cannot hold
//   - string for Decimal, in canonical form: at most 96 bits and 28 decimal
//     places, no exponent, no needless zeros
//   - time.Time in UTC for DateTime: 2006-01-02, or with a time of day after
//     'T' or a blank, at most 7 decimals, and perhaps Z or an offset, which is
//     converted to UTC; years 1 to 9999
//   - string for String: the text itself, which must be valid UTF-8
//
// The error quotes the text, so callers with sensitive values must not show it.
func ParseValue(t DataType, text string) (any, error) {
	v, err := parseValue(t, text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid %s value: %w", clip(text), t, err)
	}
	return v, nil
}

func parseValue(t DataType, text string) (any, error) {
	switch t {
	case Boolean:
		switch {
		case text == "1", sqltype.EqualText(text, "true"):
			return true, nil
		case text == "0", sqltype.EqualText(text, "false"):
			return false, nil
		}
		return nil, errors.New("use true or false")
	case SByte, Int16, Int32, Int64:
		n, err := strconv.ParseInt(text, 10, dataTypeBits[t])
		if err != nil {
			most := uint64(1)<<(dataTypeBits[t]-1) - 1
			return nil, fmt.Errorf("use a whole number from %d to %d", -int64(most)-1, most)
		}
		return n, nil
	case Byte, UInt32, UInt64:
		n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, dataTypeBits[t])
		if err != nil {
			return nil, fmt.Errorf("use a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-dataTypeBits[t]))
		}
		return n, nil
	case Single, Double:
		return parseFloat(text, dataTypeBits[t])
	case Decimal:
		return parseDecimal(text)
	case DateTime:
		return parseDateTime(text)
	case String:
		if !utf8.ValidString(text) {
			return nil, errors.New("the text is not valid UTF-8")
		}
		return text, nil
	}
	return nil, errors.New("parameters have no such type")
}

// splitNumber takes [+-]digits[.digits][rest] apart. It exists because the
// standard library also accepts hexadecimal, underscores and words.
func splitNumber(text string) (negative bool, whole, fraction, rest string, ok bool) {
	if text != "" && (text[0] == '+' || text[0] == '-') {
		negative = text[0] == '-'
		text = text[1:]
	}
	whole, text = digits(text)
	if strings.HasPrefix(text, ".") {
		fraction, text = digits(text[1:])
	}
	return negative, whole, fraction, text, whole != "" || fraction != ""
}

func digits(s string) (head, tail string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

func parseFloat(text string, bits int) (any, error) {
	const advice = "use a number such as 1.5, -2 or 1E+20"
	_, _, _, rest, ok := splitNumber(text)
	if ok && rest != "" {
		ok = rest[0] == 'e' || rest[0] == 'E'
		exponent := strings.TrimPrefix(rest[1:], "-")
		if exponent == rest[1:] {
			exponent = strings.TrimPrefix(exponent, "+")
		}
		if head, tail := digits(exponent); head == "" || tail != "" {
			ok = false
		}
	}
	if !ok {
		return nil, errors.New(advice)
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return nil, fmt.Errorf("it is out of range for %d bits", bits)
	}
	if f == 0 {
		return 0.0, nil // -0 and 0 are one value to a catalog
	}
	return f, nil
}

var decimalLimit = new(big.Int).Lsh(big.NewInt(1), 96)

func parseDecimal(text string) (any, error) {
	const places = 28
	negative, whole, fraction, rest, ok := splitNumber(text)
	if !ok || rest != "" {
		return nil, errors.New("use a number such as 1.5 or -2, without an exponent")
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > places {
		return nil, fmt.Errorf("it has more than %d decimal places", places)
	}
	// 2^96 has 29 digits; a longer coefficient need not be computed to be refused.
	coefficient, _ := new(big.Int).SetString("0"+clipDigits(whole)+fraction, 10)
	if len(whole) > 29 || coefficient.Cmp(decimalLimit) >= 0 {
		return nil, errors.New("it needs more than 96 bits; the largest is 79228162514264337593543950335 without " +
			"decimal places")
	}
	if whole == "" {
		whole = "0"
	}
	out := whole
	if fraction != "" {
		out += "." + fraction
	}
	if negative && coefficient.Sign() != 0 {
		out = "-" + out
	}
	return out, nil
}

func clipDigits(s string) string { return s[:min(len(s), 30)] }

func parseDateTime(text string) (any, error) {
	advice := errors.New("use a date such as 2017-05-30T08:14:00, from year 1 to 9999, with at most 7 decimals")
	if len(text) > len("2006-01-02T15:04:05.1234567+00:00") {
		return nil, advice
	}
	s := text
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02"} {
		at, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		at = at.UTC()
		if at.Year() < 1 || at.Year() > 9999 || at.Nanosecond()%100 != 0 || strings.Contains(s, ",") {
			return nil, advice
		}
		return at, nil
	}
	return nil, advice
}

// FormatValue is the inverse of ParseValue: the one text that stands for v in a
// project file. v must have the Go type that ParseValue returns for t and lie
// within t's range; times are written in UTC, without a zone.
func FormatValue(t DataType, v any) (string, error) {
	text, err := formatValue(t, v)
	if err != nil {
		return "", fmt.Errorf("a %T is not a %s value: %w", v, t, err)
	}
	// What cannot be read back was out of range: one rule for both directions.
	back, err := ParseValue(t, text)
	if err != nil {
		return "", err
	}
	if s, ok := back.(string); ok {
		return s, nil
	}
	return text, nil
}

func formatValue(t DataType, v any) (string, error) {
	switch v := v.(type) {
	case bool:
		if t == Boolean {
			return strconv.FormatBool(v), nil
		}
	case int64:
		switch t {
		case SByte, Int16, Int32, Int64:
			return strconv.FormatInt(v, 10), nil
		}
	case uint64:
		switch t {
		case Byte, UInt32, UInt64:
			return strconv.FormatUint(v, 10), nil
		}
	case float64:
		if t == Single || t == Double {
			return formatFloat(v, dataTypeBits[t]), nil
		}
	case string:
		if t == Decimal || t == String {
			return v, nil
		}
	case time.Time:
		if t == DateTime {
			return v.UTC().Format("2006-01-02T15:04:05.999999999"), nil
		}
	}
	return "", errors.New("it has another Go type")
}

func formatFloat(f float64, bits int) string {
	if f == 0 {
		return "0"
	}
	if a := math.Abs(f); a >= 1e-5 && a < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, bits)
	}
	return strconv.FormatFloat(f, 'E', -1, bits)
}
