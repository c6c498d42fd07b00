package client

import (
	"encoding/json"
	"testing"
	"time"
)

func TestRowValues(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for _, test := range []struct {
		name   string
		value  any
		n      int64
		isInt  bool
		text   string
		bit    bool
		isTime bool
	}{
		{name: "NULL"},
		{name: "an integer", value: json.Number("9007199254740993"), n: 9007199254740993, isInt: true},
		{name: "a fraction", value: json.Number("1.5")},
		{name: "beyond bigint", value: json.Number("9223372036854775808")},
		{name: "a text", value: "x", text: "x"},
		{name: "a text of digits", value: "7", text: "7"},
		{name: "a bit", value: true, bit: true},
		{name: "a time", value: at.Format(time.RFC3339Nano), text: at.Format(time.RFC3339Nano), isTime: true},
		{name: "an object", value: map[string]any{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Row{"c": test.value}
			if n, ok := r.Int("c"); n != test.n || ok != test.isInt {
				t.Errorf("Int: %d, %v", n, ok)
			}
			if text := r.Text("c"); text != test.text {
				t.Errorf("Text: %q", text)
			}
			if bit := r.Bool("c"); bit != test.bit {
				t.Errorf("Bool: %v", bit)
			}
			if got, ok := r.Time("c"); ok != test.isTime || ok && !got.Equal(at) {
				t.Errorf("Time: %v, %v", got, ok)
			}
			if n, ok := (Result{Output: r}).Int("c"); n != test.n || ok != test.isInt {
				t.Errorf("Result.Int: %d, %v", n, ok)
			}
		})
	}
}

func TestFilterValues(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		want  string
	}{
		{"NULL", nil, "null"},
		{"a text", "a b", "a b"},
		{"an integer", int64(7), "7"},
		{"a bit", true, "true"},
		{"a time", time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600)), "2026-01-02T03:04:05Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := filterText(test.value); err != nil || got != test.want {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
	if _, err := (Query{Equal: map[string]any{"c": func() {}}}).values(); err == nil {
		t.Error("a value without a text was accepted")
	}
}
