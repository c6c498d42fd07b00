package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestTextIsVisible(t *testing.T) {
	for _, c := range []struct{ name, in, text, lines string }{
		{"plain", "Größe 大小 ✓", "Größe 大小 ✓", "Größe 大小 ✓"},
		{"escape sequence", "a\x1b[31mb", `a\u001b[31mb`, `a\u001b[31mb`},
		{"C1 control", "a\u009b31mb", `a\u009b31mb`, `a\u009b31mb`},
		{"C1 control as a byte", "a\x9b31m", `a\x9b31m`, `a\x9b31m`},
		{"delete, bell, backspace", "\x7f\a\b", `\u007f\u0007\u0008`, `\u007f\u0007\u0008`},
		{"right to left", "abc\u202egpj.exe", `abc\u202egpj.exe`, `abc\u202egpj.exe`},
		{"isolate", "\u2066x\u2069", `\u2066x\u2069`, `\u2066x\u2069`},
		{"zero width", "a\u200bb\ufeff", `a\u200bb\ufeff`, `a\u200bb\ufeff`},
		{"tag beyond the first plane", "\U000e0041", `\udb40\udc41`, `\udb40\udc41`},
		{"line ends", "a\nb\r\nc\td", `a\nb\r\nc\td`, "a\nb\r\nc\td"},
		{"return alone", "secret\rpublic", `secret\rpublic`, `secret\rpublic`},
		{"separators", "a\u2028b\u2029c", `a\u2028b\u2029c`, `a\u2028b\u2029c`},
		{"replacement character", "\ufffd", "\ufffd", "\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Text(c.in); got != c.text {
				t.Errorf("Text: %q, want %q", got, c.text)
			}
			if got := Lines(c.in); got != c.lines {
				t.Errorf("Lines: %q, want %q", got, c.lines)
			}
			if Clean(c.in) != (c.in == c.text) {
				t.Errorf("Clean: %v", Clean(c.in))
			}
		})
	}
	if got := Indented("one\r\ntwo\n12:00 forged\n", 4); got != "one\n    two\n    12:00 forged" {
		t.Errorf("%q", got)
	}
}

// What is written in pieces is shown as if it were written at once, and nothing gets through that a terminal acts on.
func TestWriterOnATerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "text")
		text = append(text, rapid.SampledFrom([]string{"", "é", "\u202e", "\x1b[2J", "\r\n", "\U000e0001"}).Draw(t, "end")...)
		var out bytes.Buffer
		w := NewWriter(&out, Screen{Terminal: true})
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if want := Lines(string(text)); out.String() != want {
			t.Fatalf("%q, want %q", out.String(), want)
		}
		for _, r := range strings.ReplaceAll(out.String(), "\r\n", "\n") {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Fatalf("%q got through in %q", r, out.String())
			}
		}
	})
}

func TestWriterElsewhereChangesNothing(t *testing.T) {
	var out bytes.Buffer
	const text = "\x1b[31m\x9b\u202e\r"
	if _, err := fmt.Fprint(Of(&out), text); err != nil || out.String() != text {
		t.Errorf("%q %v", out.String(), err)
	}
}

// JSON on a terminal is JSON of the same meaning.
func TestJSONOnATerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringOf(rapid.OneOf(rapid.Rune(),
			rapid.SampledFrom([]rune{0x1b, 0x9b, 0x7f, 0x202e, 0x200d, 0xe0001, '\r'}))).Draw(t, "text")
		var out bytes.Buffer
		w := NewWriter(&out, Screen{Terminal: true})
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(map[string]string{"name": in}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["name"] != string([]rune(in)) {
			t.Fatalf("%v: %q became %q", err, in, out.String())
		}
		if !Clean(strings.TrimSuffix(out.String(), "\n")) {
			t.Fatalf("%q", out.String())
		}
	})
}
