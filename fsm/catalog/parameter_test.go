package catalog

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// A value of a sql_variant column has the base type that the product's documents give its data type, and JSON and
// filters show it as it is stored.
func TestVariantsKeepTheTypeOfTheirParameter(t *testing.T) {
	instant, err := sqltype.ParseText(sqltype.DateTime2, "0001-02-03T04:05:06.7")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", sqltype.MaxVariant+1)
	for _, c := range []struct {
		typ, text string
		base      sqltype.Type
		value     any
		json      string
	}{
		{"Boolean", "true", sqltype.Bit, true, `true`},
		{"Boolean", "false", sqltype.Bit, false, `false`},
		{"SByte", "-128", sqltype.SmallInt, int64(-128), `-128`},
		{"Byte", "255", sqltype.Binary(1), []byte{255}, `255`},
		{"Int16", "1", sqltype.SmallInt, int64(1), `1`},
		{"Int32", "1", sqltype.Int, int64(1), `1`},
		{"UInt32", "1", sqltype.Int, int64(1), `1`},
		{"UInt32", "4294967295", sqltype.BigInt, int64(4294967295), `4294967295`},
		{"Int64", "1", sqltype.BigInt, int64(1), `1`},
		{"UInt64", "1", sqltype.BigInt, int64(1), `1`},
		{"UInt64", "18446744073709551615", sqltype.Decimal(20, 0), sqltype.DecimalValue("18446744073709551615"),
			`18446744073709551615`},
		{"Single", "0.1", sqltype.Real, float64(float32(0.1)), `0.1`},
		{"Double", "1", sqltype.Float, 1.0, `1`},
		{"Double", "1E+20", sqltype.Float, 1e20, `1E+20`},
		{"Decimal", "-1.5", sqltype.Decimal(2, 1), sqltype.DecimalValue("-1.5"), `-1.5`},
		{"Decimal", "0.0000000000000000000000000001", sqltype.Decimal(28, 28),
			sqltype.DecimalValue("0.0000000000000000000000000001"), `0.0000000000000000000000000001`},
		{"Decimal", "79228162514264337593543950335", sqltype.Decimal(29, 0),
			sqltype.DecimalValue("79228162514264337593543950335"), `79228162514264337593543950335`},
		{"DateTime", "0001-02-03T04:05:06.7", sqltype.DateTime2, instant, `"0001-02-03T04:05:06.7"`},
		{"String", "1", sqltype.NVarChar(1), "1", `"1"`},
		{"String", "", sqltype.NVarChar(1), "", `""`},
		{"String", long, sqltype.NVarChar(sqltype.MaxVariant), long, `"` + long + `"`},
	} {
		t.Run(c.typ+" "+c.text[:min(len(c.text), 30)], func(t *testing.T) {
			got, ok := Variant(&command.Value{Type: c.typ, Text: c.text}).(sqltype.VariantValue)
			if !ok || got.Base != c.base || !reflect.DeepEqual(got.Value, c.value) {
				t.Errorf("is %s %v, want %s %v", got.Base, got.Value, c.base, c.value)
			}
			if shown, err := sqltype.Encode(sqltype.Variant, got); err != nil || string(shown) != c.json || !json.Valid(shown) {
				t.Errorf("JSON shows %s, %v; want %s", shown, err, c.json)
			}
			if text := sqltype.Text(sqltype.Variant, got); text != c.text || !sqltype.Equal(got, c.text) {
				t.Errorf("a filter compares with %q, want %q", text, c.text)
			}
		})
	}
	for name, v := range map[string]*command.Value{
		"no value": nil, "a sensitive one": {Type: "String", Sealed: &command.Sealed{KeyID: "k"}},
	} {
		if got := Variant(v); got != nil {
			t.Errorf("%s is %v, want NULL", name, got)
		}
	}
}

// What no transition writes is shown all the same, as a text.
func TestVariantsOfUnknownValues(t *testing.T) {
	for _, v := range []command.Value{{Type: "Object", Text: "x"}, {Type: "Int32", Text: "x"}, {Type: "Byte", Text: "256"},
		{Type: "Decimal", Text: "x"}, {Type: "DateTime", Text: "now"}} {
		if shown, err := sqltype.Encode(sqltype.Variant, Variant(&v)); err != nil || string(shown) != `"`+v.Text+`"` {
			t.Errorf("%v is shown as %s, %v", v, shown, err)
		}
	}
}
