package sqltype

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

const hidden = "hunter2"

// holders are the ways in which a secret stands in other values.
func holders() map[string]any {
	s := NewSecret(hidden)
	type open struct{ Password Secret[string] }
	type closed struct{ password Secret[string] }
	type pointer struct{ Password *Secret[string] }
	variant, raw := NewSecret[any](hidden), NewSecret(json.RawMessage(hidden))
	return map[string]any{
		"alone": s, "pointer": &s, "field": open{s}, "pointer to a struct": &open{s}, "pointer in a field": pointer{&s},
		"unexported field": closed{s}, "slice": []Secret[string]{s}, "interfaces": []any{s, &s},
		"map": map[string]Secret[string]{"password": s}, "key": map[Secret[string]]int{s: 1},
		"error":   fmt.Errorf("with %v", s),
		"variant": variant, "unexported variant": struct{ v Secret[any] }{variant},
		"secret map": NewSecret(map[string]json.RawMessage{"a": json.RawMessage(hidden)}),
		"bytes":      raw, "unexported bytes": struct{ b Secret[json.RawMessage] }{raw},
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%10s", "%+q", "% x", "%c", "%T"}
	for name, v := range holders() {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				if got := fmt.Sprintf(verb, v); shows(got) {
					t.Errorf("%s prints %s", verb, got)
				}
			}
			if got := fmt.Sprint(v) + fmt.Sprintln(v); shows(got) {
				t.Errorf("Sprint prints %s", got)
			}
			var text, doc bytes.Buffer
			slog.New(slog.NewTextHandler(&text, nil)).Info("with", "value", v, slog.Group("group", "value", v))
			slog.New(slog.NewJSONHandler(&doc, nil)).Info("with", "value", v, slog.Group("group", "value", v))
			if got := text.String() + doc.String(); shows(got) {
				t.Errorf("slog writes %s", got)
			}
		})
	}
	s := NewSecret(hidden)
	got := fmt.Sprintf("%v %+v %#v %s %d", s, s, s, s, Secret[string]{})
	if got != strings.Repeat("[secret] ", 4)+"[secret]" {
		t.Errorf("a secret prints as %s", got)
	}
}

func TestSecretIsNotMarshalled(t *testing.T) {
	gobbed := func(v any) ([]byte, error) {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(v)
		return b.Bytes(), err
	}
	for _, m := range []struct {
		name    string
		marshal func(any) ([]byte, error)
	}{{"json", json.Marshal}, {"xml", xml.Marshal}, {"cbor", cbor.Marshal}, {"gob", gobbed}} {
		for name, v := range holders() {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				out, err := m.marshal(v)
				if shows(string(out)) || err != nil && shows(err.Error()) {
					t.Fatalf("gives %q, %v", out, err)
				}
				if name == "alone" && (err == nil || !strings.Contains(err.Error(), errSecret.Error())) {
					t.Fatalf("gives %q, %v; want the error that says why", out, err)
				}
			})
		}
	}
	for name, f := range map[string]func() ([]byte, error){
		"text": NewSecret(hidden).MarshalText, "binary": NewSecret(hidden).MarshalBinary,
	} {
		if out, err := f(); !errors.Is(err, errSecret) || len(out) > 0 {
			t.Errorf("%s gives %q, %v", name, out, err)
		}
	}
}

func TestSecretIsRevealedByOneMethod(t *testing.T) {
	if got := NewSecret(hidden).Reveal(); got != hidden {
		t.Errorf("reveals %q", got)
	}
	if got := (Secret[string]{}).Reveal(); got != "" {
		t.Errorf("the zero secret reveals %q", got)
	}
	if got := NewSecret[any](json.Number("1")).Reveal(); got != json.Number("1") {
		t.Errorf("a variant reveals %v", got)
	}
	if got := (Secret[any]{}).Reveal(); got != nil {
		t.Errorf("the zero variant reveals %v", got)
	}
}

// shows reports whether a text gives the secret away, in plain, as hexadecimal digits or as bytes.
func shows(text string) bool {
	lower := strings.ToLower(text)
	for _, verb := range []string{"%s", "%x", "% x", "%d"} {
		if strings.Contains(lower, fmt.Sprintf(verb, []byte(hidden))) {
			return true
		}
	}
	return false
}
