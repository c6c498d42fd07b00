package ispac

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseValue(t *testing.T) {
	day := time.Date(2017, 5, 30, 0, 0, 0, 0, time.UTC)
	const maxDecimal = "79228162514264337593543950335"
	good := []struct {
		t    DataType
		text string
		want any
	}{
		{Boolean, "true", true}, {Boolean, "False", false}, {Boolean, "1", true}, {Boolean, "0", false},
		{SByte, "-128", int64(-128)}, {SByte, "127", int64(127)},
		{Byte, "0", uint64(0)}, {Byte, "255", uint64(255)}, {Byte, "+7", uint64(7)},
		{Int16, "-32768", int64(math.MinInt16)}, {Int16, "32767", int64(math.MaxInt16)},
		{Int32, "-2147483648", int64(math.MinInt32)}, {Int32, "2147483647", int64(math.MaxInt32)}, {Int32, "-0", int64(0)},
		{UInt32, "4294967295", uint64(math.MaxUint32)},
		{Int64, "-9223372036854775808", int64(math.MinInt64)}, {Int64, "9223372036854775807", int64(math.MaxInt64)},
		{UInt64, "18446744073709551615", uint64(math.MaxUint64)},
		{Single, "3.40282347E+38", float64(float32(math.MaxFloat32))}, {Single, "0.1", float64(float32(0.1))},
		{Double, "1.7976931348623157E+308", math.MaxFloat64}, {Double, "-1.5", -1.5}, {Double, ".5", 0.5},
		{Double, "5.", 5.0},
		{Double, "1e-3", 0.001}, {Double, "-0", 0.0}, {Double, "1e-400", 0.0},
		{Decimal, maxDecimal, maxDecimal}, {Decimal, "-" + maxDecimal, "-" + maxDecimal}, {Decimal, "+001.500", "1.5"},
		{Decimal, "-0.000", "0"},
		{Decimal, "0.0000000000000000000000000001", "0.0000000000000000000000000001"}, {Decimal, ".5", "0.5"},
		{Decimal, strings.Repeat("0", 99) + "1", "1"},
		{DateTime, "2017-05-30", day}, {DateTime, "2017-05-30T08:14:00", day.Add(8*time.Hour + 14*time.Minute)},
		{DateTime, "2017-05-30 08:14:00.1234567", day.Add(8*time.Hour + 14*time.Minute + 123456700)},
		{DateTime, "2017-05-30T00:00:00-04:00", day.Add(4 * time.Hour)}, {DateTime, "2017-05-30T00:00:00Z", day},
		{DateTime, "0001-01-01T00:00:00", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{DateTime, "9999-12-31T23:59:59.9999999", time.Date(9999, 12, 31, 23, 59, 59, 999999900, time.UTC)},
		{String, "", ""}, {String, " Äpfel\r\n", " Äpfel\r\n"},
	}
	for _, c := range good {
		v, err := ParseValue(c.t, c.text)
		if err != nil || v != c.want {
			t.Errorf("ParseValue(%s, %q) = %#v, %v; want %#v", c.t, c.text, v, err, c.want)
		}
	}
	bad := map[DataType][]string{
		Boolean: {"", "yes", "-1", "2", " true"},
		SByte:   {"", "-129", "128", "1.0", "0x1"},
		Byte:    {"-1", "256", "-0", "++1", ""},
		Int16:   {"-32769", "32768", "1_0"},
		Int32:   {"-2147483649", "2147483648", "1e3", "1,000", " 1", "１"},
		UInt32:  {"-1", "4294967296"},
		Int64:   {"9223372036854775808", "-9223372036854775809"},
		UInt64:  {"18446744073709551616", "-1"},
		Single:  {"3.5E+38", "NaN", "Infinity", "-Inf", "0x1p3", "1e", "1e+-3", ""},
		Double:  {"1.8E+308", "nan", "1_0", ".", "+", "e5", "1,5", "1 "},
		Decimal: {"", ".", "79228162514264337593543950336", "1e3", "0.00000000000000000000000000001",
			"1" + strings.Repeat("0", 40), "7.9228162514264337593543950336", "NaN"},
		DateTime: {"", "1/1/1900", "2017-02-29", "2017-05-30T24:00:00", "2017-05-30T08:14", "0001-01-01T00:00:00+01:00",
			"10000-01-01", "2017-05-30T00:00:00.12345678", "2017-05-30T00:00:00,5", "2017-05-30T00:00:60"},
		String: {"\xff"},
		1:      {"x"}, 0: {""}, 8: {"1"}, 99: {"1"},
	}
	for typ, texts := range bad {
		for _, text := range texts {
			if v, err := ParseValue(typ, text); err == nil {
				t.Errorf("ParseValue(%s, %q) = %#v; an error is due", typ, text, v)
			}
		}
	}
}

func TestFormatValue(t *testing.T) {
	for _, c := range []struct {
		t    DataType
		v    any
		want string
	}{
		{Boolean, true, "true"}, {Double, 1e20, "1E+20"}, {Double, 1234567.0, "1234567"}, {Double, math.Copysign(0, -1), "0"},
		{Single, float64(float32(0.1)), "0.1"}, {Decimal, "01.50", "1.5"},
		{DateTime, time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), "1900-01-01T00:00:00"},
		{DateTime, time.Date(1900, 1, 1, 1, 0, 0, 100, time.FixedZone("", 3600)), "1900-01-01T00:00:00.0000001"},
	} {
		if got, err := FormatValue(c.t, c.v); got != c.want || err != nil {
			t.Errorf("FormatValue(%s, %v) = %q, %v; want %q", c.t, c.v, got, err, c.want)
		}
	}
	for _, c := range []struct {
		t DataType
		v any
	}{
		{SByte, int64(128)}, {Byte, uint64(256)}, {Byte, int64(1)}, {Int32, int(1)}, {Double, math.NaN()},
		{Double, math.Inf(1)}, {Single, 1e300},
		{Decimal, "x"}, {DateTime, time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)},
		{DateTime, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{String, nil}, {String, "\xff"}, {1, "x"}, {Boolean, "true"},
	} {
		if got, err := FormatValue(c.t, c.v); err == nil {
			t.Errorf("FormatValue(%s, %#v) = %q; an error is due", c.t, c.v, got)
		}
	}
}

// anyValue draws a value of type t in the form of ParseValue.
func anyValue(t *rapid.T, typ DataType) any {
	switch typ {
	case Boolean:
		return rapid.Bool().Draw(t, "bool")
	case SByte, Int16, Int32, Int64:
		most := int64(math.MaxInt64) >> (64 - dataTypeBits[typ])
		return rapid.Int64Range(-most-1, most).Draw(t, "int")
	case Byte, UInt32, UInt64:
		return rapid.Uint64Range(0, math.MaxUint64>>(64-dataTypeBits[typ])).Draw(t, "uint")
	case Single:
		return float64(rapid.Float32().Draw(t, "float32")) + 0
	case Double:
		return rapid.Float64().Draw(t, "float64") + 0
	case Decimal:
		return rapid.StringMatching(`0|-?[1-9][0-9]{0,9}(\.[0-9]{0,9}[1-9])?`).Draw(t, "decimal")
	case DateTime:
		seconds := rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds")
		return time.Unix(seconds, 100*rapid.Int64Range(0, 9999999).Draw(t, "ticks")).UTC()
	}
	return rapid.StringOf(rapid.RuneFrom(nil, xmlRunes)).Draw(t, "string")
}

func TestValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(DataTypes()).Draw(t, "type")
		v := anyValue(t, typ)
		text, err := FormatValue(typ, v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseValue(typ, text)
		if err != nil || back != v {
			t.Fatalf("%s %#v is %q, which is %#v, %v", typ, v, text, back, err)
		}
	})
}

func TestDataTypeNames(t *testing.T) {
	for _, typ := range DataTypes() {
		if back, err := ParseDataType(strings.ToLower(typ.String())); back != typ || err != nil || !typ.Valid() {
			t.Errorf("%s: %v, %v", typ, back, err)
		}
	}
	if _, err := ParseDataType("Char"); err == nil || !strings.Contains(err.Error(), "DateTime") {
		t.Errorf("the error must list the types: %v", err)
	}
	if DataType(8).Valid() || DataType(8).String() != "DataType(8)" {
		t.Error("8 is no type of a parameter")
	}
	if ProtectionLevel(9).String() != "ProtectionLevel(9)" || ServerStorage.String() != "ServerStorage" {
		t.Error("words of protection levels")
	}
}

func TestEnvName(t *testing.T) {
	for name, want := range map[string]string{"LoadId": "LOADID", "CM.db 1.X-y": "CM_DB_1_X_Y", "größe": "GR__E", "": ""} {
		if got := EnvName(name); got != want {
			t.Errorf("EnvName(%q) = %q, want %q", name, got, want)
		}
	}
}
