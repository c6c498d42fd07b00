package sqltype

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

func TestTypeNames(t *testing.T) {
	for _, typ := range everyType {
		t.Run(typ.String(), func(t *testing.T) {
			got, err := Parse(strings.ToUpper(" " + typ.String() + " "))
			if err != nil || got != typ {
				t.Errorf("reads back as %s, %v", got, err)
			}
			text, _ := typ.MarshalText()
			var back Type
			if err := back.UnmarshalText(text); err != nil || back != typ {
				t.Errorf("unmarshals as %s, %v", back, err)
			}
		})
	}
	if Type(0).String() != "invalid" || Type(0xFFFFFFFF).String() != "invalid" {
		t.Error("a number that is no type has a name")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text, want string // want "": an error
	}{
		{"numeric(9, 2)", "decimal(9,2)"}, {"decimal", "decimal(18,0)"}, {"decimal( 5 )", "decimal(5,0)"},
		{"decimal(38,38)", "decimal(38,38)"}, {"float", "float"}, {"float(24)", "real"}, {"float(25)", "float"},
		{"float(53)", "float"}, {"real", "real"}, {"time", "time(7)"}, {"time(0)", "time(0)"}, {"datetime2", "datetime2(7)"},

		{"datetime2 (3)", "datetime2(3)"}, {"datetimeoffset", "datetimeoffset(7)"},
		{"datetimeoffset(0)", "datetimeoffset(0)"},
		{"char", "char(1)"}, {"nchar", "nchar(1)"}, {"binary", "binary(1)"}, {"NVarChar(MAX)", "nvarchar(max)"},
		{"varchar(8000)", "varchar(8000)"}, {"sysname", "sysname"},
		{"", ""}, {"varchar", ""}, {"nvarchar", ""}, {"varbinary", ""}, {"nvarchar(0)", ""}, {"nvarchar(4001)", ""},
		{"nchar(max)", ""}, {"nvarchar(3", ""}, {"nvarchar(x)", ""}, {"nvarchar(+3)", ""}, {"int(4)", ""},
		{"bigint(max)", ""}, {"sysname(5)", ""}, {"datetimeoffset(8)", ""}, {"time(-1)", ""}, {"datetime(3)", ""},
		{"decimal(39)", ""}, {"decimal(5,6)", ""}, {"decimal(0,0)", ""}, {"decimal(5,)", ""}, {"float(54)", ""},
		{"float(0)", ""}, {"money(19,4)", ""}, {"xml", ""}, {"text", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := Parse(c.text)
			if c.want == "" && err == nil || c.want != "" && (err != nil || got.String() != c.want) {
				t.Errorf("reads as %s, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestTypesSayTheirSize(t *testing.T) {
	for _, c := range []struct {
		typ                      Type
		length, precision, scale int
		unlimited                Type
	}{
		{BigInt, 0, 19, 0, BigInt}, {Int, 0, 10, 0, Int}, {SmallInt, 0, 5, 0, SmallInt}, {TinyInt, 0, 3, 0, TinyInt},
		{Bit, 0, 1, 0, Bit}, {Decimal(9, 2), 0, 9, 2, Decimal(9, 2)}, {Money, 0, 19, 4, Money},
		{SmallMoney, 0, 10, 4, SmallMoney}, {Float, 0, 53, 0, Float}, {Real, 0, 24, 0, Real}, {Date, 0, 10, 0, Date},
		{Time, 0, 16, 7, Time}, {Time.WithScale(0), 0, 8, 0, Time.WithScale(0)}, {SmallDateTime, 0, 16, 0, SmallDateTime},
		{DateTime, 0, 23, 3, DateTime}, {DateTime2, 0, 27, 7, DateTime2}, {DateTimeOffset, 0, 34, 7, DateTimeOffset},
		{NVarChar(5), 5, 0, 0, NVarCharMax}, {NVarCharMax, 0, 0, 0, NVarCharMax}, {Sysname, 128, 0, 0, NVarCharMax},
		{Char1, 1, 0, 0, NVarCharMax}, {VarBinary(85), 85, 0, 0, VarBinaryMax}, {Binary(8), 8, 0, 0, VarBinaryMax},
		{Variant, 0, 0, 0, Variant}, {UniqueIdentifier, 0, 0, 0, UniqueIdentifier},
	} {
		t.Run(c.typ.String(), func(t *testing.T) {
			if l, p, s := c.typ.Length(), c.typ.Precision(), c.typ.Scale(); l != c.length || p != c.precision || s != c.scale {
				t.Errorf("length %d, precision %d, scale %d; want %d, %d, %d", l, p, s, c.length, c.precision, c.scale)
			}
			if got := c.typ.Unlimited(); got != c.unlimited {
				t.Errorf("without a limit %s, want %s", got, c.unlimited)
			}
		})
	}
}

func TestTypesThatDoNotExist(t *testing.T) {
	for name, f := range map[string]func(){
		"nvarchar(4001)": func() { NVarChar(4001) }, "char(0)": func() { Char(0) },
		"decimal(39,0)": func() { Decimal(39, 0) }, "decimal(3,4)": func() { Decimal(3, 4) },
		"time(8)": func() { Time.WithScale(8) }, "int(3)": func() { Int.WithScale(3) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("is a type")
				}
			}()
			f()
		})
	}
}

func TestCoerceNumbers(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		json string
		want any
		msg  string
	}{
		{TinyInt, `255`, int64(255), ""},
		{TinyInt, `-1`, nil, "from 0 to 255"},
		{Decimal(5, 2), `1`, DecimalValue("1.00"), ""},
		{Decimal(5, 2), `"-001.5"`, DecimalValue("-1.50"), ""},
		{Decimal(5, 2), `-0.00`, DecimalValue("0.00"), ""},
		{Decimal(5, 2), `1.2300`, DecimalValue("1.23"), ""},
		{Decimal(5, 2), `1.234`, nil, "from -999.99 to 999.99 with at most 2 digits after the point"},
		{Decimal(5, 2), `1000`, nil, "from -999.99 to 999.99"},
		{Decimal(5, 2), `1e2`, nil, "use a number"},
		{Decimal(5, 2), `"1."`, nil, "use a number"},
		{Decimal(5, 2), `"+1"`, nil, "use a number"},
		{Decimal(5, 2), `"--1"`, nil, "use a number"},
		{Decimal(5, 2), `""`, nil, "use a number"},
		{Decimal(5, 2), `true`, nil, "use a number"},
		{Decimal(2, 2), `0.99`, DecimalValue("0.99"), ""},
		{Decimal(2, 2), `1`, nil, "from -0.99 to 0.99"},
		{Decimal(38, 0), strings.Repeat("9", 38), DecimalValue(strings.Repeat("9", 38)), ""},
		{Decimal(38, 0), "1" + strings.Repeat("0", 38), nil, "use a number"},
		{Money, `922337203685477.5807`, DecimalValue("922337203685477.5807"), ""},
		{Money, `922337203685477.5808`, nil, "922337203685477.5807"},
		{Money, `-922337203685477.5808`, DecimalValue("-922337203685477.5808"), ""},
		{SmallMoney, `214748.3648`, nil, "from -214748.3648 to 214748.3647"},
		{SmallMoney, `"12.5"`, DecimalValue("12.5000"), ""},
		{Float, `1.5e300`, 1.5e300, ""},
		{Float, `-0`, 0.0, ""},
		{Float, `1e309`, nil, "below 1.8e308"},
		{Float, `"0x1p4"`, nil, "use a number"},
		{Float, `"NaN"`, nil, "use a number"},
		{Float, `"+1"`, nil, "use a number"},
		{Float, `"1_0"`, nil, "use a number"},
		{Real, `0.1`, float64(float32(0.1)), ""},
		{Real, `1e39`, nil, "below 3.41e38"},
		{Variant, `1e999`, nil, "below 1.8e308"},
		{Binary(3), `"aGk="`, []byte("hi\x00"), ""},
		{VarChar(3), `"abcd"`, nil, "at most 3 fit"},
		{NChar(3), `"ab"`, "ab", ""},
	} {
		checkCoerce(t, c.typ, c.json, c.want, c.msg)
	}
}

func TestCoerceTimes(t *testing.T) {
	at := func(text string) CivilTime {
		parsed, err := time.Parse("2006-01-02T15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return civil(parsed)
	}
	const clock = 8*60*ticksPerMinute + 14*ticksPerMinute
	for _, c := range []struct {
		typ  Type
		json string
		want any
		msg  string
	}{
		{Date, `"2017-05-30"`, at("2017-05-30T00:00:00"), ""},
		{Date, `"0001-01-01"`, CivilTime(0), ""},
		{Date, `"9999-12-31"`, at("9999-12-31T00:00:00"), ""},
		{Date, `"0000-12-31"`, nil, "from 0001-01-01 to 9999-12-31"},
		{Date, `"2017-02-29"`, nil, "use a time such as 2017-05-30"},
		{Date, `"2017-05-30T00:00:00"`, nil, "use a time such as 2017-05-30"},
		{Date, `20170530`, nil, "use a time such as 2017-05-30"},
		{Time, `"08:14:00.0000001"`, TimeOfDay(clock + 1), ""},
		{Time.WithScale(3), `"08:14:00.001"`, TimeOfDay(clock + 10_000), ""},
		{Time.WithScale(3), `"08:14:00.0010"`, TimeOfDay(clock + 10_000), ""},
		{Time.WithScale(3), `"08:14:00.0001"`, nil, "such as 08:14:00.000"},
		{Time.WithScale(0), `"23:59:59"`, TimeOfDay(ticksPerDay - ticksPerSecond), ""},
		{Time, `"8:14:00"`, nil, "such as 08:14:00.0000000"},
		{Time, `"24:00:00"`, nil, "use a time of day"},
		{Time, `"08:14:00,5"`, nil, "use a time of day"},
		{SmallDateTime, `"2017-05-30T08:14:29.998"`, at("2017-05-30T08:14:00"), ""},
		{SmallDateTime, `"2017-05-30T08:14:29.999"`, at("2017-05-30T08:15:00"), ""},
		{SmallDateTime, `"2079-06-06T23:59:29"`, at("2079-06-06T23:59:00"), ""},
		{SmallDateTime, `"2079-06-06T23:59:30"`, nil, "from 1900-01-01T00:00:00 to 2079-06-06T23:59:00"},
		{DateTime, `"2017-05-30"`, at("2017-05-30T00:00:00"), ""},
		{DateTime, `"2017-05-30 08:14:00.991"`, at("2017-05-30T08:14:00.99"), ""},
		{DateTime, `"2017-05-30T08:14:00.994"`, at("2017-05-30T08:14:00.993"), ""},
		{DateTime, `"2017-05-30T08:14:00.995"`, at("2017-05-30T08:14:00.997"), ""},
		{DateTime, `"2017-05-30T08:14:00.999"`, at("2017-05-30T08:14:01"), ""},
		{DateTime, `"2017-05-30T08:14:00.100"`, at("2017-05-30T08:14:00.1"), ""},
		{DateTime, `"2017-05-30T08:14:00.101"`, at("2017-05-30T08:14:00.1"), ""},
		{DateTime, `"2017-05-30T08:14:00.102"`, at("2017-05-30T08:14:00.103"), ""},
		{DateTime, `"2017-05-30T08:14:00.103"`, at("2017-05-30T08:14:00.103"), ""},
		{DateTime, `"2017-05-30T08:14:00.106"`, at("2017-05-30T08:14:00.107"), ""},
		{DateTime, `"2017-05-30T08:14:00.107"`, at("2017-05-30T08:14:00.107"), ""},
		{DateTime, `"2017-05-30T08:14:00.108"`, at("2017-05-30T08:14:00.107"), ""},
		{DateTime, `"2017-05-30T08:14:00.9999"`, nil, "use a time such as 2017-05-30T00:00:00.000"},
		{DateTime, `"9999-12-31T23:59:59.999"`, nil, "to 9999-12-31T23:59:59.997"},
		{DateTime, `"1752-12-31"`, nil, "from 1753-01-01T00:00:00.000"},
		{DateTime2, `"9999-12-31T23:59:59.9999999"`, at("9999-12-31T23:59:59.9999999"), ""},
		{DateTime2.WithScale(1), `"2017-05-30T08:14:00.25"`, nil, "use a time such as 2017-05-30T00:00:00.0"},
		{DateTime2, `"2017-05-30T8:14:00.1234567"`, nil, "use a time"},
		{DateTime2, `"2017-05-30T08:14:00Z"`, nil, "use a time"},
		{DateTimeOffset.WithScale(2), `"2017-05-30T08:14:00.125Z"`, nil, "at most 2 decimals"},
		{DateTimeOffset, `"2017-05-30T08:14:00,5Z"`, nil, "at most seven decimals"},
		{DateTimeOffset, `"1970-01-01T00:00:00Z"`, command.Time(0), ""},
	} {
		checkCoerce(t, c.typ, c.json, c.want, c.msg)
	}
}

// Each value of a list is less than those behind it in SQL Server's order of sql_variant, and equal to those beside it.
func TestVariantsAreOrderedByFamily(t *testing.T) {
	civilAt := func(text string) CivilTime {
		v, err := ParseText(DateTime2, text)
		if err != nil {
			t.Fatal(err)
		}
		return v.(CivilTime)
	}
	noon := civilAt("2017-05-30 12:00:00")
	order := [][]VariantValue{
		{based(UniqueIdentifier, "FFFFFFFF-D9CB-469F-A165-70867728950E")},
		{based(VarBinary(9), []byte("zz")), based(Binary(2), []byte("zz"))},
		{based(NVarChar(9), "1"), based(VarChar(9), "1 ")},
		{based(NVarChar(9), "Zebra"), based(Sysname, "zebra")},
		{based(Decimal(3, 2), DecimalValue("-1.50")), based(Money, DecimalValue("-1.5000"))},
		{based(Bit, false), based(Int, int64(0)), based(Decimal(3, 2), DecimalValue("0.00"))},
		{based(Bit, true), based(BigInt, int64(1)), based(TinyInt, int64(1)), based(Decimal(2, 1), DecimalValue("1.0")),
			based(SmallMoney, DecimalValue("1.0000"))},
		{based(Decimal(20, 0), DecimalValue("18446744073709551615"))},
		{based(Float, -1e300)},
		{based(Float, 0.5), based(Real, 0.5)},
		{based(Time, TimeOfDay(1)), based(DateTime2, date(1900, 1, 1)+1)},
		{based(Date, date(2017, 5, 30))},
		{based(DateTime, noon), based(DateTimeOffset, command.At(noon.Time())), based(SmallDateTime, noon)},
	}
	for i, same := range order {
		for _, a := range same {
			for j, other := range order {
				for _, b := range other {
					t.Run(fmt.Sprintf("%s and %s", a.Base, b.Base), func(t *testing.T) {
						want := max(min(i-j, 1), -1)
						if got := Compare(a, b); got != want {
							t.Errorf("Compare(%v, %v) = %d, want %d", a, b, got, want)
						}
						if got := Equal(a, b); got != (want == 0) {
							t.Errorf("Equal(%v, %v) = %t", a, b, got)
						}
					})
				}
			}
		}
		if Compare(nil, same[0]) != -1 || Compare(same[0], nil) != 1 {
			t.Errorf("%v stands before NULL", same[0])
		}
	}
}

// based is a value of a sql_variant.
func based(base Type, v any) VariantValue { return VariantValue{Base: base, Value: v} }

func TestVariantOf(t *testing.T) {
	for _, c := range []struct {
		name string
		bare any
		want VariantValue
	}{
		{"a bit", true, based(Bit, true)},
		{"a small integer", json.Number("1"), based(Int, int64(1))},
		{"minus zero", json.Number("-0"), based(Int, int64(0))},
		{"an integer beyond int", json.Number("2147483648"), based(Decimal(10, 0), DecimalValue("2147483648"))},
		{"a fraction", json.Number("1.50"), based(Decimal(3, 2), DecimalValue("1.50"))},
		{"a fraction below one", json.Number("0.5"), based(Decimal(1, 1), DecimalValue("0.5"))},
		{"an exponent", json.Number("1e3"), based(Float, 1000.0)},
		{"39 digits", json.Number("1" + strings.Repeat("0", 38)), based(Float, 1e38)},
		{"a text", "1", based(NVarChar(1), "1")},
		{"no text", "", based(NVarChar(1), "")},
		{"a text of two units", "😀", based(NVarChar(2), "😀")},
		{"a bigint", int64(1), based(BigInt, int64(1))},
		{"an instant", command.Time(1), based(DateTimeOffset, command.Time(1))},
		{"what has one", based(SmallInt, int64(1)), based(SmallInt, int64(1))},
		{"NULL", nil, VariantValue{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := VariantOf(c.bare); got != c.want {
				t.Errorf("got %s %#v, want %s %#v", got.Base, got.Value, c.want.Base, c.want.Value)
			}
		})
	}
}

// A base type changes nothing of the JSON and the text of a value.
func TestVariantsLookLikeTheirValues(t *testing.T) {
	for _, c := range []struct {
		value VariantValue
		json  string
	}{
		{based(BigInt, int64(1)), `1`}, {based(NVarChar(1), "1"), `"1"`}, {based(Bit, true), `true`},
		{based(Decimal(2, 1), DecimalValue("1.0")), `1.0`}, {based(Real, float64(float32(0.1))), `0.1`},
		{based(Date, date(2017, 5, 30)), `"2017-05-30"`}, {based(VarBinary(2), []byte("hi")), `"aGk="`},
		{VariantValue{Binary(1), []byte{5}, json.Number("5")}, `5`},
		{VariantValue{DateTime2, date(2017, 5, 30), "2017-05-30T00:00:00"}, `"2017-05-30T00:00:00"`},
		{VariantValue{Float, 1e20, json.Number("1E+20")}, `1E+20`},
	} {
		t.Run(c.value.Base.String(), func(t *testing.T) {
			got, err := Encode(Variant, c.value)
			if err != nil || string(got) != c.json {
				t.Errorf("is %s, %v; want %s", got, err, c.json)
			}
			if text := Text(Variant, c.value); text != strings.Trim(c.json, `"`) {
				t.Errorf("its text is %s", text)
			}
		})
	}
}

func TestVariantsHaveATotalOrder(t *testing.T) {
	var bases []Type
	for _, typ := range everyType {
		if typ.fitsVariant() {
			bases = append(bases, typ)
		}
	}
	draw := func(t *rapid.T, label string) VariantValue {
		base := rapid.SampledFrom(bases).Draw(t, label)
		v := value(t, base)
		for v == nil {
			v = value(t, base)
		}
		return based(base, v)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "a"), draw(t, "b"), draw(t, "c")
		if Compare(a, b) != -Compare(b, a) || Compare(a, a) != 0 {
			t.Fatalf("%v and %v have no order", a, b)
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Fatalf("%v ≤ %v ≤ %v, but not %v ≤ %v", a, b, c, a, c)
		}
		if (Compare(a, b) == 0) != Equal(a, b) {
			t.Fatalf("%v and %v: %d, but equal: %t", a, b, Compare(a, b), Equal(a, b))
		}
		alone, err := Encode(a.Base, a.Value)
		if within, err2 := Encode(Variant, a); err != nil || err2 != nil || string(alone) != string(within) {
			t.Fatalf("%v is %s, %v; within a sql_variant %s, %v", a, alone, err, within, err2)
		}
	})
}
