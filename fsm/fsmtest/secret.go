package fsmtest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Hides tells the test if a value, or another that holds it, shows a secret when it is printed, logged or marshalled:
// in plain, as hexadecimal digits or as bytes.
func Hides(t *testing.T, v any, secret string) {
	t.Helper()
	check := func(how, text string) {
		t.Helper()
		for _, form := range []string{"%s", "%x", "% x", "%d"} {
			if strings.Contains(strings.ToLower(text), strings.Trim(fmt.Sprintf(form, []byte(secret)), "[]")) {
				t.Errorf("%s shows the secret: %s", how, text)
				return
			}
		}
	}
	for holder, held := range map[string]any{
		"the value": v, "an exported field": struct{ Value any }{v}, "an unexported field": struct{ value any }{v},
		"a list": []any{v}, "a map": map[string]any{"value": v},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			check(holder+" with "+verb, fmt.Sprintf(verb, held))
		}
		var text, document bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&document, nil)} {
			slog.New(h).Info("with", "value", held, slog.Group("group", "value", held))
		}
		check(holder+" in slog as text", text.String())
		check(holder+" in slog as JSON", document.String())
		for name, marshal := range map[string]func(any) ([]byte, error){
			"json": json.Marshal, "xml": xml.Marshal, "cbor": cbor.Marshal,
		} {
			out, err := marshal(held)
			check(holder+" with "+name, fmt.Sprintf("%s %v", out, err))
		}
	}
}
