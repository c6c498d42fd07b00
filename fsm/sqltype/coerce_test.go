package sqltype

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

var everyType = []Type{
	BigInt, Int, SmallInt, TinyInt, Bit, Decimal(18, 0), Decimal(38, 38), Decimal(9, 2), Money, SmallMoney, Float, Real,
	Date, Time, Time.WithScale(0), SmallDateTime, DateTime, DateTime2, DateTime2.WithScale(3), DateTime2.WithScale(0),
	DateTimeOffset, DateTimeOffset.WithScale(2), NVarChar(128), NVarCharMax, NChar(4), VarChar(8000), VarCharMax, Char1,
	Char(12), Sysname, UniqueIdentifier, VarBinaryMax, VarBinary(85), Binary(24), Variant,
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
		{NVarChar(9), `"\ud83d"`, nil, "half a character"},
		{NVarChar(9), `"\udca9\ud83d"`, nil, "half a character"},
		{NVarChar(9), `"\ud83d\u0041"`, nil, "half a character"},
		{Variant, `"a\\\uDFFF"`, nil, "half a character"},
		{NVarChar(9), `"\ud83d\uDCA9\u0041"`, "💩A", ""},
		{NVarChar(9), `"\\ud83d\ufffd"`, `\ud83d` + "\uFFFD", ""},
	} {
		checkCoerce(t, c.typ, c.json, c.want, c.msg)
	}
}

// checkCoerce is one case: the value wanted, or what the error says.
func checkCoerce(t *testing.T, typ Type, raw string, want any, msg string) {
	t.Helper()
	t.Run(typ.String()+" "+Quote(raw), func(t *testing.T) {
		got, err := Coerce(typ, json.RawMessage(raw))
		switch {
		case msg == "" && (err != nil || !reflect.DeepEqual(got, want)):
			t.Errorf("got %#v, %v; want %#v", got, err, want)
		case msg != "" && (err == nil || !strings.Contains(err.Error(), msg)):
			t.Errorf("got %#v, %v; want an error with %q", got, err, msg)
		}
	})
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
		{VarBinaryMax, "0x6869", `"aGk="`}, {Binary(3), "0x6869", `"aGkA"`}, {Money, " .5 ", "0.5000"}, {Float, "-0", "0"},
		{Float, "1e21", "1e+21"}, {Real, "0.1", "0.1"}, {Date, "NULL", "null"},
		{DateTime, "2017-05-30 08:14:00.998", `"2017-05-30T08:14:00.997"`},
		{DateTimeOffset, "1970-01-01T00:00:00Z", `"1970-01-01T00:00:00.0000000Z"`},
		{DateTimeOffset, "2017-05-30T10:14:00+02:00", `"2017-05-30T08:14:00.0000000Z"`},
	} {
		t.Run(c.typ.String()+" "+c.text, func(t *testing.T) {
			got, err := TextToJSON(c.typ, c.text)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	for _, typ := range everyType {
		if got, err := TextToJSON(typ, "no!"); err == nil && !typ.IsText() && typ != Variant {
			t.Errorf("%s takes \"no!\" as %s", typ, got)
		}
	}
}

func TestEncodeRefusesTheWrongGoType(t *testing.T) {
	for _, c := range []struct {
		typ Type
		v   any
	}{{BigInt, "1"}, {BigInt, 1}, {Bit, int64(1)}, {NVarChar(5), true}, {DateTimeOffset, time.Now},
		{Variant, []byte("x")}, {VarBinary(5), Blob("x")}, {Decimal(5, 2), 1.5}, {Float, DecimalValue("1.5")},
		{Float, math.Inf(1)}, {Real, math.NaN()}, {Date, TimeOfDay(1)}, {Time, CivilTime(1)}, {DateTime2, command.Time(1)},
		{DateTimeOffset, CivilTime(1)}, {Int, based(Int, int64(1))}, {Variant, VariantValue{}},
		{Variant, based(Variant, true)}, {Variant, based(NVarCharMax, "x")},
		{Variant, based(Int, "x")}} {
		t.Run(fmt.Sprintf("%s %T", c.typ, c.v), func(t *testing.T) {
			if got, err := Encode(c.typ, c.v); err == nil {
				t.Errorf("gives %s", got)
			}
		})
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

// step is the distance of two values of a type with decimals of a second.
func step(typ Type) int64 {
	n := int64(1)
	for range maxScale - typ.Scale() {
		n *= 10
	}
	return n
}

// decimal draws a value of decimal, money or smallmoney.
func decimal(t *rapid.T, typ Type) DecimalValue {
	whole := typ.Precision() - typ.Scale()
	for {
		text := rapid.StringMatching(fmt.Sprintf(`-?[0-9]{0,%d}\.[0-9]{%d}`, whole, typ.Scale())).Draw(t, "number")
		if v, err := parseDecimal(typ, strings.TrimSuffix(text, ".")); err == nil {
			return v.(DecimalValue)
		}
	}
}

// value draws a value of the type, or NULL.
func value(t *rapid.T, typ Type) any {
	if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
		return nil
	}
	switch k := typ.kind(); {
	case k == kindBigInt, k == kindInt, k == kindSmallInt, k == kindTinyInt:
		low, high, _ := typ.Range()
		return rapid.Int64Range(low, high).Draw(t, "int")
	case k == kindBit:
		return rapid.Bool().Draw(t, "bit")
	case k == kindDecimal, k == kindMoney, k == kindSmallMoney:
		return decimal(t, typ)
	case k == kindFloat:
		return rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "float") + 0
	case k == kindReal:
		return float64(rapid.Float32().Filter(func(f float32) bool { return f-f == 0 }).Draw(t, "real")) + 0
	case k == kindDate, k == kindSmallDateTime, k == kindDateTime, k == kindDateTime2:
		first, last := civilLimits(typ)
		c := CivilTime(rapid.Int64Range(int64(first), int64(last)).Draw(t, "time"))
		switch k {
		case kindDate:
			return c - c%ticksPerDay
		case kindSmallDateTime, kindDateTime:
			return roundCivil(typ, c-c%10_000)
		}
		return c - c%CivilTime(step(typ))
	case k == kindTime:
		at := rapid.Int64Range(0, ticksPerDay-1).Draw(t, "time")
		return TimeOfDay(at - at%step(typ))
	case k == kindDateTimeOffset:
		at := rapid.Int64Range(-1<<53, 1<<53).Draw(t, "time")
		return command.Time((at - at%step(typ)) * 100)
	case k == kindGUID:
		return strings.ToUpper(rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t,
			"guid"))
	case k == kindBinary:
		return rapid.SliceOfN(rapid.Byte(), typ.Length(), typ.Length()).Draw(t, "bytes")
	case k == kindVarBinary:
		return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
	case k == kindVariant:
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
		if v != nil && typ != Variant {
			if read, err := ParseText(typ, Text(typ, v)); err != nil || Compare(v, read) != 0 {
				t.Fatalf("%s: the text of %#v reads back as %#v, %v", typ, v, read, err)
			}
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
		if _, text := b.(string); (Compare(a, b) == 0) != Equal(a, b) && (typ != Variant || !text) {
			t.Fatalf("%v and %v: %d, but equal: %t", a, b, Compare(a, b), Equal(a, b))
		}
	})
}

func TestEqualIsForFilters(t *testing.T) {
	for _, c := range []struct {
		name        string
		row, filter any
		want        bool
	}{
		{"text in another case", "Etl", "eTL", true}, {"a part of a text", "Etl", "Et", false},
		{"blanks at the end", "Etl", "Etl ", true}, {"NULL and NULL", nil, nil, true}, {"NULL and a text", nil, "x", false},
		{"a text and NULL", "x", nil, false}, {"numbers", int64(3), int64(3), true},
		{"a variant's number by its text", json.Number("3"), "3", true}, {"a variant's bit by its text", true, "True", true},
		{"another number", json.Number("3"), "4", false}, {"bytes", []byte("a"), []byte("a"), true},
		{"bytes and a text", []byte("a"), "a", false}, {"times", command.Time(5), command.Time(5), true},
		{"a variant with its base type by its text", based(Decimal(3, 2), DecimalValue("1.50")), "1.50", true},
		{"numbers of a variant by value", json.Number("1.0"), based(BigInt, int64(1)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Equal(c.row, c.filter); got != c.want {
				t.Errorf("Equal(%#v, %#v) = %v", c.row, c.filter, got)
			}
		})
	}
}

func FuzzCoerce(f *testing.F) {
	for i, s := range []string{`1`, `"x"`, `null`, `{"blob":"aa"}`, `[1]`, `"2017-05-30T08:14:00Z"`, `1e999`,
		`"1.50"`, `"2017-05-30 08:14"`,
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
		if err != nil || !json.Valid(out) {
			t.Fatalf("%s %s: %s, %v", typ, raw, out, err)
		}
		again, err := Coerce(typ, out)
		if err != nil || Compare(v, again) != 0 {
			t.Fatalf("%s: %s became %s became %v, %v", typ, raw, out, again, err)
		}
		if _, blob := v.(Blob); v != nil && !blob {
			back, err := ParseText(typ, Text(typ, v))
			if typ != Variant && (err != nil || Compare(v, back) != 0) {
				t.Fatalf("%s: the text of %s reads back as %v, %v", typ, out, back, err)
			}
		}
	})
}
