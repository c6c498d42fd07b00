package sqltype

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

var everyType = []Type{
	BigInt, Int, SmallInt, Bit, NVarChar(128), NVarCharMax, Sysname, Char1, DateTimeOffset, UniqueIdentifier, VarBinaryMax,
	VarBinary(85), Variant,
}

func TestTypeNames(t *testing.T) {
	for _, typ := range everyType {
		got, err := Parse(strings.ToUpper(" " + typ.String() + " "))
		if err != nil || got != typ {
			t.Errorf("%s reads back as %s, %v", typ, got, err)
		}
		text, _ := typ.MarshalText()
		var back Type
		if err := back.UnmarshalText(text); err != nil || back != typ {
			t.Errorf("%s unmarshals as %s, %v", typ, back, err)
		}
	}
	for _, bad := range []string{"", "varchar(3)", "nvarchar", "nvarchar(0)", "nvarchar(4001)", "nvarchar(3", "int(4)",
		"bigint(max)", "datetimeoffset(8)", "nvarchar(x)"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q reads as %s", bad, got)
		}
	}
	if Type(0).String() != "invalid" {
		t.Error("the zero type has a name")
	}
}

func TestCoerce(t *testing.T) {
	at := command.At(time.Date(2017, 5, 30, 8, 14, 0, 123456700, time.UTC))
	digest := strings.Repeat("ab", 32)
	for _, c := range []struct {
		typ  Type
		json string
		want any // nil with wrong false: NULL
		msg  string
	}{
		{BigInt, `17`, int64(17), ""},
		{BigInt, ` "9007199254740993" `, int64(9007199254740993), ""},
		{BigInt, `9223372036854775807`, int64(9223372036854775807), ""},
		{BigInt, `9223372036854775808`, nil, "use a whole number from -9223372036854775808 to 9223372036854775807"},
		{BigInt, `1.0`, nil, "whole number"},
		{BigInt, `1e3`, nil, "whole number"},
		{BigInt, `"0x10"`, nil, "whole number"},
		{BigInt, `true`, nil, "whole number"},
		{Int, `2147483648`, nil, "from -2147483648 to 2147483647"},
		{SmallInt, `-32769`, nil, "from -32768 to 32767"},
		{SmallInt, `-32768`, int64(-32768), ""},
		{Bit, `true`, true, ""},
		{Bit, `0`, false, ""},
		{Bit, `1`, true, ""},
		{Bit, `2`, nil, "use true or false"},
		{Bit, `"true"`, nil, "use true or false"},
		{NVarChar(3), `"äöü"`, "äöü", ""},
		{NVarChar(3), `"😀😀"`, nil, "it has 4 characters, at most 3 fit"},
		{NVarChar(3), `12`, nil, "use a text"},
		{Sysname, `"` + strings.Repeat("x", 129) + `"`, nil, "129 characters"},
		{Char1, `"V"`, "V", ""},
		{NVarCharMax, `"` + strings.Repeat("x", 9000) + `"`, strings.Repeat("x", 9000), ""},
		{DateTimeOffset, `"2017-05-30T08:14:00.1234567Z"`, at, ""},
		{DateTimeOffset, `"2017-05-30T10:14:00.1234567+02:00"`, at, ""},
		{DateTimeOffset, `"2017-05-30T08:14:00.12345678Z"`, nil, "at most seven decimals"},
		{DateTimeOffset, `"2017-05-30 08:14:00"`, nil, "use a time such as"},
		{DateTimeOffset, `"1600-01-01T00:00:00Z"`, nil, "between 1678 and 2262"},
		{DateTimeOffset, `1496132040`, nil, "use a time such as"},
		{UniqueIdentifier, `"{0f8fad5b-d9cb-469f-a165-70867728950e}"`, "0F8FAD5B-D9CB-469F-A165-70867728950E", ""},
		{UniqueIdentifier, `"0f8fad5bd9cb469fa16570867728950e"`, nil, "use a GUID such as"},
		{UniqueIdentifier, `"0F8FAD5B-D9CB-469F-A165-70867728950G"`, nil, "use a GUID such as"},
		{VarBinaryMax, `"aGk="`, []byte("hi"), ""},
		{VarBinaryMax, `"aGk"`, nil, "base64"},
		{VarBinaryMax, `{"blob":"` + strings.ToUpper(digest) + `"}`, Blob(digest), ""},
		{VarBinaryMax, `{"blob":"abc"}`, nil, "64 hexadecimal digits"},
		{VarBinaryMax, `{"blob":"` + digest + `","x":1}`, nil, "one field"},
		{VarBinary(2), `{"blob":"` + digest + `"}`, nil, "use base64"},
		{VarBinary(1), `"aGk="`, nil, "at most 1 fit"},
		{Variant, `1.50`, json.Number("1.50"), ""},
		{Variant, `"1.50"`, "1.50", ""},
		{Variant, `false`, false, ""},
		{Variant, `{}`, nil, "use a text, a number, true or false"},
		{Variant, `"` + strings.Repeat("x", 4001) + `"`, nil, "at most 4000 fit"},
		{Int, `null`, nil, ""},
		{Variant, `null`, nil, ""},
		{Int, ``, nil, "JSON value"},
		{Int, `1 2`, nil, "JSON value"},
		{NVarChar(9), "\"\xff\"", nil, "UTF-8"},
	} {
		got, err := Coerce(c.typ, json.RawMessage(c.json))
		switch {
		case c.msg == "" && (err != nil || !reflect.DeepEqual(got, c.want)):
			t.Errorf("%s %s: got %#v, %v; want %#v", c.typ, Quote(c.json), got, err, c.want)
		case c.msg != "" && (err == nil || !strings.Contains(err.Error(), c.msg)):
			t.Errorf("%s %s: got %#v, %v; want an error with %q", c.typ, Quote(c.json), got, err, c.msg)
		}
	}
}

func TestLargeBinaryIsRefusedWithTheCure(t *testing.T) {
	raw, _ := json.Marshal(make([]byte, MaxBinary+1))
	_, err := Coerce(VarBinaryMax, raw)
	if err == nil || !strings.Contains(err.Error(), "PUT /v1/blobs") || len(err.Error()) > 500 {
		t.Fatalf("got %v", err)
	}
	raw, _ = json.Marshal(make([]byte, MaxBinary))
	if _, err := Coerce(VarBinaryMax, raw); err != nil {
		t.Fatal(err)
	}
}

func TestTextToJSON(t *testing.T) {
	for _, c := range []struct {
		typ        Type
		text, want string
	}{
		{BigInt, " 17 ", "17"}, {Bit, "TRUE", "true"}, {Bit, "0", "false"}, {Bit, "null", "null"},
		{NVarChar(9), "null", `"null"`},
		{Variant, "007", `"007"`}, {UniqueIdentifier, "{0f8fad5b-d9cb-469f-a165-70867728950e}",
			`"0F8FAD5B-D9CB-469F-A165-70867728950E"`},
		{VarBinaryMax, "0x6869", `"aGk="`}, {DateTimeOffset, "2017-05-30T10:14:00+02:00", `"2017-05-30T08:14:00.0000000Z"`},
	} {
		got, err := TextToJSON(c.typ, c.text)
		if err != nil || string(got) != c.want {
			t.Errorf("%s %q: got %s, %v; want %s", c.typ, c.text, got, err, c.want)
		}
	}
	for _, typ := range []Type{BigInt, Bit, UniqueIdentifier, DateTimeOffset, VarBinaryMax} {
		if got, err := TextToJSON(typ, "no"); err == nil {
			t.Errorf("%s takes \"no\" as %s", typ, got)
		}
	}
}

func TestEncodeRefusesTheWrongGoType(t *testing.T) {
	for _, c := range []struct {
		typ Type
		v   any
	}{{BigInt, "1"}, {BigInt, 1}, {Bit, int64(1)}, {NVarChar(5), true}, {DateTimeOffset, time.Now},
		{Variant, []byte("x")}, {VarBinary(5), Blob("x")}} {
		if got, err := Encode(c.typ, c.v); err == nil {
			t.Errorf("%T as %s gives %s", c.v, c.typ, got)
		}
	}
}

func TestStringsAreEscapedAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "text") {
			s = rapid.String().Draw(t, "string")
		}
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
			t.Fatalf("%q reads back as %q", s, back)
		}
	})
}

// value draws a value of the type, or NULL.
func value(t *rapid.T, typ Type) any {
	if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
		return nil
	}
	switch typ.Kind() {
	case kindBigInt, kindInt, kindSmallInt:
		low, high, _ := typ.Range()
		return rapid.Int64Range(low, high).Draw(t, "int")
	case kindBit:
		return rapid.Bool().Draw(t, "bit")
	case kindDateTimeOffset:
		// Zero is "not set", and so NULL.
		return command.Time(rapid.Int64Range(-1<<53, 1<<53).Filter(func(n int64) bool { return n != 0 }).Draw(t,
			"time") * 100)
	case kindGUID:
		return strings.ToUpper(rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t,
			"guid"))
	case KindVarBinary:
		return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
	case kindVariant:
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return rapid.Bool().Draw(t, "bit")
		case 1:
			return json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?`).Draw(t, "number"))
		}
	}
	n := 20
	if l := typ.Length(); l > 0 {
		n = min(n, l)
	}
	return rapid.StringOfN(rapid.RuneFrom([]rune("aAbBäÄß 0")), 0, n, -1).Draw(t, "text")
}

func TestEncodeAndCoerceAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(everyType).Draw(t, "type")
		v := value(t, typ)
		raw, err := Encode(typ, v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Coerce(typ, raw)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := v.([]byte); ok && bytes.Equal(b, back.([]byte)) {
			return
		}
		if !reflect.DeepEqual(v, back) {
			t.Fatalf("%s: %#v became %s became %#v", typ, v, raw, back)
		}
	})
}

func TestCompareIsATotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(everyType).Draw(t, "type")
		a, b, c := value(t, typ), value(t, typ), value(t, typ)
		if Compare(a, b) != -Compare(b, a) {
			t.Fatalf("%v and %v have no order", a, b)
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Fatalf("%v ≤ %v ≤ %v, but not %v ≤ %v", a, b, c, a, c)
		}
		if Compare(a, a) != 0 || !Equal(a, a) {
			t.Fatalf("%v is not itself", a)
		}
		if Compare(a, b) == 0 && !Equal(a, b) {
			t.Fatalf("%v and %v are of one place but not equal", a, b)
		}
	})
}

func TestEqualIsForFilters(t *testing.T) {
	for _, c := range []struct {
		row, filter any
		want        bool
	}{
		{"Etl", "eTL", true}, {"Etl", "Et", false}, {nil, nil, true}, {nil, "x", false}, {"x", nil, false},
		{int64(3), int64(3), true},
		{json.Number("3"), "3", true}, {true, "True", true}, {json.Number("3"), "4", false}, {[]byte("a"), []byte("a"), true},
		{[]byte("a"), "a", false}, {command.Time(5), command.Time(5), true},
	} {
		if got := Equal(c.row, c.filter); got != c.want {
			t.Errorf("Equal(%#v, %#v) = %v", c.row, c.filter, got)
		}
	}
}

func FuzzCoerce(f *testing.F) {
	for i, s := range []string{`1`, `"x"`, `null`, `{"blob":"aa"}`, `[1]`, `"2017-05-30T08:14:00Z"`, `1e999`,
		`"{0f8fad5b-d9cb-469f-a165-70867728950e}"`, `-0`} {
		f.Add(i, []byte(s))
	}
	f.Fuzz(func(t *testing.T, i int, raw []byte) {
		typ := everyType[uint(i)%uint(len(everyType))]
		v, err := Coerce(typ, raw)
		if err != nil {
			if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
				t.Fatalf("an unreadable error: %q", err)
			}
			return
		}
		out, err := Encode(typ, v)
		if err != nil {
			t.Fatalf("%s %s: %v", typ, raw, err)
		}
		again, err := Coerce(typ, out)
		if err != nil || Compare(v, again) != 0 {
			t.Fatalf("%s: %s became %s became %v, %v", typ, raw, out, again, err)
		}
		if _, blob := v.(Blob); v != nil && !blob {
			if _, err := ParseText(typ, Text(typ, v)); err != nil && typ != Variant {
				t.Fatalf("%s: the text of %s does not read back: %v", typ, out, err)
			}
		}
	})
}
