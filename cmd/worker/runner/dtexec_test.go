package runner

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"scaleout/httpapi/wire"
)

// word is a word of a command file as a reader sees it: option tells that it begins, outside of quotes, like one.
type word struct {
	text   string
	option bool
}

// documented reads by the rules of dtexec's documentation: white space separates words, quotes hold a word together, a
// doubled quote within quotes is one quote. A line break is white space like any other, so that a word which does not
// end takes the next line with it.
func documented(file string) []word { return readWords(file, false) }

// runtimes reads as C runtimes read a command line: besides, a backslash before a quote is an escape.
func runtimes(file string) []word { return readWords(file, true) }

func readWords(file string, escapes bool) (words []word) {
	var now strings.Builder
	quoted, in, option := false, false, false
	end := func() {
		if in {
			words = append(words, word{now.String(), option})
		}
		now.Reset()
		in, option = false, false
	}
	text := []rune(file)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if !quoted && unicode.IsSpace(c) {
			end()
			continue
		}
		if !in {
			in, option = true, c == '/' || c == '-'
		}
		run := 0
		for escapes && i+run < len(text) && text[i+run] == '\\' {
			run++
		}
		if run > 0 && i+run < len(text) && text[i+run] == '"' {
			now.WriteString(strings.Repeat(`\`, run/2))
			if i += run; run%2 == 1 {
				now.WriteRune('"')
				continue
			}
			c = '"'
		}
		switch {
		case c != '"':
			now.WriteRune(c)
		case quoted && i+1 < len(text) && text[i+1] == '"':
			now.WriteRune('"')
			i++
		default:
			quoted = !quoted
		}
	}
	end()
	return words
}

var readers = map[string]func(string) []word{"documented": documented, "with escapes": runtimes}

// checkValue writes a value between other options and looks what each reader makes of it.
func checkValue(t interface{ Errorf(string, ...any) }, value string) {
	task := Task{
		ProjectFile: "p.ispac",
		Grant: wire.Grant{Package: "a.dtsx", ProjectPassword: value, Parameters: []wire.Parameter{
			{ObjectType: 30, Name: "P", Value: value}, {ObjectType: 20, Name: "Last", Value: "1"},
		}},
	}
	file, err := dtexecOptions(task)
	if strings.ContainsAny(value, unwritable) {
		if !errors.Is(err, ErrPackage) {
			t.Errorf("%q: %v, want a refusal", value, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%q: %v", value, err)
		return
	}
	const path = `\Package.Variables[$Package::P];`
	want := []string{"/Project", "p.ispac", "/Package", "a.dtsx"}
	if value != "" {
		want = append(want, "/De", value)
	}
	want = append(want, "/Set", path+value, "/Set", `\Package.Variables[$Project::Last];1`)
	for name, read := range readers {
		words := read(string(file))
		var options, got []string
		for _, w := range words {
			got = append(got, w.text)
			if w.option {
				options = append(options, w.text)
			}
		}
		wantOptions := []string{"/Project", "/Package", "/De", "/Set", "/Set"}
		if value == "" {
			wantOptions = slices.Delete(wantOptions, 2, 3)
		}
		same := slices.Equal(got, want)
		if name == "documented" { // one backslash too many is allowed before a quote, and at the end of a quoted text
			bare := func(s string) string { return strings.ReplaceAll(s, `\`, "") }
			same = slices.EqualFunc(got, want, func(a, b string) bool { return bare(a) == bare(b) })
		}
		if !same || !slices.Equal(options, wantOptions) {
			t.Errorf("%s: of %q it reads %q with the options %q:\n%s", name, value, got, options, file)
		}
	}
}

var awkward = []string{
	"", "plain", `c:\dir\`, `c:\my dir\`, `c:\my dir\\`, `\`, ` \`, `"`, `\"`, `\\"`, `"" `, `" /Set x;y`, `\" /Set x;y`,
	`\\" /De z "`,
	"/De x", "-De", "a;b", "it's", "tab\there", "no\u00a0break", "wide\u3000space", "line\nbreak", "end\x1aof file",
	"next\u2028line", `"""`, `\"\"\" -x`,
}

func TestAValueIsOneArgument(t *testing.T) {
	for _, value := range awkward {
		t.Run(value, func(t *testing.T) { checkValue(t, value) })
	}
}

func TestNoValueAddsAnOption(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{`\`, `"`, " ", ";", "/Set", "-x", "a", "'", "\t", "ü", "\u00a0"}),
			0, 12)
		checkValue(rt, strings.Join(pieces.Draw(rt, "pieces"), ""))
	})
}

func FuzzCommandFile(f *testing.F) {
	for _, value := range awkward {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ToValidUTF8(value, "") == value {
			checkValue(t, value)
		}
	})
}
