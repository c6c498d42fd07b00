package sqltype

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"scaleout/fsm/command"
)

// MaxBinary is the most bytes that a varbinary(max) value may carry inside a request; what is larger is uploaded as a
// blob and named by its digest.
const MaxBinary = 8 << 20

// MaxVariant is the most characters of a text in a sql_variant, as in SQL Server.
const MaxVariant = 4000

// Blob is a varbinary(max) argument that names an uploaded blob by its SHA-256 (lower-case hex) instead of carrying
// the bytes: {"blob":"…"}.
type Blob string

// ValueError says why a value does not fit a type. Its parts are separate so that a sensitive value can be left out.
type ValueError struct {
	Value string // as it was given
	Type  Type
	Want  string // what would be right
}

// Error names the value, the type and what would be right.
func (e *ValueError) Error() string {
	return fmt.Sprintf("%s is not a valid %s: %s", Quote(e.Value), e.Type, e.Want)
}

func misfit(t Type, value, want string) error {
	return &ValueError{Value: value, Type: t, Want: want}
}

// Quote quotes text for an error message: short, one line, nothing in it that a terminal would obey.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strconv.Quote(s)
}

// Coerce reads a JSON value as a value of type t: the Go value that the documentation of Type names, nil for null.
// Numbers may also be strings; bits also 0 and 1; GUIDs may have any case and braces; varbinary is base64,
// and varbinary(max) also {"blob":"<sha256>"}. Errors are *ValueError.
func Coerce(t Type, raw json.RawMessage) (any, error) {
	raw = bytes.TrimSpace(raw)
	if !utf8.Valid(raw) {
		return nil, misfit(t, string(raw), "the JSON must be valid UTF-8")
	}
	switch {
	case len(raw) > 0 && raw[0] == '"':
		if plain, ok := plainText(raw); ok && t.IsBinary() {
			return parseBase64(t, plain) // a project file: nothing is read or copied twice
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, misfit(t, string(raw), "it must be a JSON string")
		}
		if halfCharacter(raw) {
			return nil, misfit(t, string(raw), `an escape from \ud800 to \udfff is half a character: both halves must be there`)
		}
		return coerceString(t, s)
	case len(raw) == 0 || !json.Valid(raw):
		return nil, misfit(t, string(raw), "it must be a JSON value")
	case bytes.Equal(raw, []byte("null")):
		return nil, nil
	case raw[0] == '{' || raw[0] == '[':
		return coerceComposite(t, raw)
	case raw[0] == 't' || raw[0] == 'f':
		if t.kind() == kindBit || t.kind() == kindVariant {
			return raw[0] == 't', nil
		}
		return nil, misfit(t, string(raw), wanted(t))
	default:
		return coerceNumber(t, string(raw))
	}
}

// plainText is what stands between the quotes of a JSON string without escapes and line ends.
func plainText(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[len(raw)-1] != '"' {
		return nil, false
	}
	raw = raw[1 : len(raw)-1]
	for _, c := range []byte("\"\\\r\n") {
		if bytes.IndexByte(raw, c) >= 0 {
			return nil, false
		}
	}
	return raw, true
}

// halfCharacter reports whether a JSON string escapes one half of a UTF-16 pair alone. Package json would read U+FFFD:
// another name, or another password, than was sent.
func halfCharacter(raw []byte) bool {
	unit := func(at int) rune {
		if at+6 > len(raw) || raw[at] != '\\' || raw[at+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(raw[at+2:at+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 11
			continue
		}
		i++ // the escaped character
	}
	return false
}

func coerceNumber(t Type, text string) (any, error) {
	switch t.kind() {
	case kindBigInt, kindInt, kindSmallInt, kindTinyInt, kindDecimal, kindMoney, kindSmallMoney, kindFloat, kindReal:
		return ParseText(t, text)
	case kindBit:
		switch text {
		case "0":
			return false, nil
		case "1":
			return true, nil
		}
	case kindVariant:
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return json.Number(text), nil
		}
		return nil, misfit(t, text, "use a number of a magnitude below 1.8e308")
	}
	return nil, misfit(t, text, wanted(t))
}

func coerceString(t Type, s string) (any, error) {
	switch {
	case t.kind() == kindBit:
		return nil, misfit(t, s, wanted(t)) // JSON has booleans
	case t.IsBinary():
		return parseBase64(t, []byte(s))
	}
	return ParseText(t, s)
}

func coerceComposite(t Type, raw json.RawMessage) (any, error) {
	if t != VarBinaryMax || raw[0] != '{' {
		return nil, misfit(t, string(raw), wanted(t))
	}
	var ref struct {
		Blob *string `json:"blob"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&ref); err != nil || ref.Blob == nil {
		return nil, misfit(t, string(raw), `an object here has one field: {"blob":"<sha256>"}`)
	}
	digest := strings.ToLower(*ref.Blob)
	if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 {
		return nil, misfit(t, *ref.Blob, "a blob is named by its SHA-256, 64 hexadecimal digits")
	}
	return Blob(digest), nil
}

// ParseText reads text, as it stands in a query string or on a command line, as a value of type t. It knows no NULL:
// what stands for it is the caller's convention. Errors are *ValueError.
func ParseText(t Type, s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, misfit(t, s, "it must be valid UTF-8")
	}
	switch k := t.kind(); {
	case t.IsText():
		if n := t.Length(); n > 0 && len(s) > n && Characters(s) > n {
			return nil, misfit(t, s, fmt.Sprintf("it has %d characters, at most %d fit", Characters(s), n))
		}
		return s, nil
	case t.IsBinary():
		return parseBinary(t, s)
	case k == kindVariant:
		if len(s) > MaxVariant && Characters(s) > MaxVariant {
			return nil, misfit(t, s, fmt.Sprintf("it has %d characters, at most %d fit", Characters(s), MaxVariant))
		}
		return s, nil
	}
	return parseScalar(t, strings.TrimSpace(s))
}

// parseScalar reads text without surrounding blanks as a value of a type that is neither text nor bytes.
func parseScalar(t Type, s string) (any, error) {
	switch t.kind() {
	case kindBigInt, kindInt, kindSmallInt, kindTinyInt:
		return parseInteger(t, s)
	case kindBit:
		switch {
		case s == "0", EqualText(s, "false"):
			return false, nil
		case s == "1", EqualText(s, "true"):
			return true, nil
		}
	case kindDecimal, kindMoney, kindSmallMoney:
		return parseDecimal(t, s)
	case kindFloat, kindReal:
		return parseFloat(t, s)
	case kindDate, kindSmallDateTime, kindDateTime, kindDateTime2:
		return parseCivil(t, s)
	case kindTime:
		return parseTimeOfDay(t, s)
	case kindDateTimeOffset:
		return parseInstant(t, s)
	case kindGUID:
		if g, ok := ParseGUID(s); ok {
			return g, nil
		}
	}
	return nil, misfit(t, s, wanted(t))
}

// TextToJSON is text from a command line as the JSON value that Coerce takes for type t: what cannot be told from the
// text alone (a sql_variant) stays a string, which the declared parameter types later. "null" is NULL except for text
// types, where it is a word like any other.
func TextToJSON(t Type, s string) (json.RawMessage, error) {
	if !t.IsText() && t.kind() != kindVariant && EqualText(strings.TrimSpace(s), "null") {
		return json.RawMessage("null"), nil
	}
	v, err := ParseText(t, s)
	if err != nil {
		return nil, err
	}
	return AppendJSON(nil, t, v)
}

// wanted says what a value of type t looks like.
func wanted(t Type) string {
	switch t.kind() {
	case kindBigInt, kindInt, kindSmallInt, kindTinyInt:
		low, high, _ := t.Range()
		return fmt.Sprintf("use a whole number from %d to %d", low, high)
	case kindBit:
		return "use true or false"
	case kindDecimal, kindMoney, kindSmallMoney:
		low, high := decimalLimits(t)
		return fmt.Sprintf("use a number from %s to %s with at most %d digits after the point", low, high, t.Scale())
	case kindFloat, kindReal:
		return fmt.Sprintf("use a number of a magnitude below %s", map[Type]string{Float: "1.8e308", Real: "3.41e38"}[t])
	case kindDate, kindSmallDateTime, kindDateTime, kindDateTime2:
		first, last := civilLimits(t)
		return fmt.Sprintf("use a time such as %s, from %s to %s", Text(t, date(2017, 5, 30)), Text(t, first),
			Text(t, last))
	case kindTime:
		return "use a time of day such as " + Text(t, TimeOfDay(8*60+14)*ticksPerMinute)
	case kindDateTimeOffset:
		const example = "2017-05-30T08:14:00.0000000Z"
		if t == DateTimeOffset {
			return "use a time such as " + example + ", with at most seven decimals, between 1678 and 2262"
		}
		return fmt.Sprintf("use a time such as %s, with at most %d decimals, between 1678 and 2262",
			instant(command.At(date(2017, 5, 30).Time())).Format(layout(t)), t.Scale())
	case kindGUID:
		return "use a GUID such as 0F8FAD5B-D9CB-469F-A165-70867728950E"
	case kindVariant:
		return "use a text, a number, true or false"
	}
	switch {
	case t == VarBinaryMax:
		return `use base64, or {"blob":"<sha256>"} for what has been uploaded`
	case t.IsBinary():
		return "use base64"
	case t.IsText():
		return "use a text"
	}
	return "the type is not known"
}

func parseInteger(t Type, text string) (any, error) {
	low, high, _ := t.Range()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high || strings.HasPrefix(text, "+") {
		return nil, misfit(t, text, wanted(t))
	}
	return n, nil
}

// floatBits is the size of float64 and float32.
func floatBits(t Type) int {
	if t.kind() == kindReal {
		return 32
	}
	return 64
}

// parseFloat reads a decimal number, rounded to the nearest that the type has. Package strconv also takes hexadecimal
// digits, underscores and words.
func parseFloat(t Type, text string) (any, error) {
	v, err := strconv.ParseFloat(text, floatBits(t))
	if err != nil || strings.Trim(text, "0123456789+-.eE") != "" || text[0] == '+' {
		return nil, misfit(t, text, wanted(t))
	}
	return v + 0, nil // SQL has no -0
}

// Characters counts as SQL Server does for nvarchar: UTF-16 units.
func Characters(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// ParseGUID takes 8-4-4-4-12 in any case, with or without braces, and returns it in upper case.
func ParseGUID(s string) (string, bool) {
	if len(s) == 38 && s[0] == '{' && s[37] == '}' {
		s = s[1:37]
	}
	if len(s) != 36 {
		return "", false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return "", false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return "", false
		}
	}
	return strings.ToUpper(s), true
}

func parseBinary(t Type, s string) (any, error) {
	h, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return parseBase64(t, []byte(s))
	}
	b, err := hex.DecodeString(h)
	if err != nil {
		return nil, misfit(t, s, "after 0x stand pairs of hexadecimal digits")
	}
	return fitBinary(t, s, b)
}

func parseBase64(t Type, s []byte) (any, error) {
	shown := string(s[:min(len(s), 100)]) // in an error: a project file is not copied for it
	if t == VarBinaryMax && base64.StdEncoding.DecodedLen(len(s)) > MaxBinary+2 {
		return nil, misfit(t, shown, errTooLong.Error())
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b, s)
	if err != nil {
		return nil, misfit(t, shown, "it must be base64 with the standard alphabet and padding")
	}
	return fitBinary(t, shown, b[:n])
}

var errTooLong = errors.New("at most 8 MiB fit into a request; upload the file with PUT /v1/blobs/{sha256} and pass " +
	"{\"blob\":\"<sha256>\"}")

func fitBinary(t Type, s string, b []byte) (any, error) {
	switch n := t.Length(); {
	case n > 0 && len(b) > n:
		return nil, misfit(t, s, fmt.Sprintf("it has %d bytes, at most %d fit", len(b), n))
	case n == 0 && len(b) > MaxBinary:
		return nil, misfit(t, s, errTooLong.Error())
	case t.kind() == kindBinary:
		b = append(b, make([]byte, n-len(b))...)
	}
	return b, nil
}
