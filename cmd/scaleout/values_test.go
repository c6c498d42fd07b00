package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/command"
	"scaleout/httpapi/wire"
)

func TestWhereValuesComeFrom(t *testing.T) {
	file := func(text string) string { return writeFile(t, "value", text) }
	for _, test := range []struct {
		name, given, stdin string
		binary             bool
		want               string
		from               origin
		wrong              string
	}{
		{"plain", "Key=a=b", "", false, "a=b", plain, ""},
		{"empty", "Key=", "", false, "", plain, ""},
		{"with @ inside", "Key=a@b", "", false, "a@b", plain, ""},
		{"with @ in front", "Key=@@home", "", false, "@home", plain, ""},
		{"with two", "Key=@@@home", "", false, "@@home", plain, ""},
		{"minus", "Key=-1", "", false, "-1", plain, ""},
		{"file", "Key=@" + file("secret\n"), "", false, "secret", stored, ""},
		{"file of Windows", "Key=@" + file("secret\r\n"), "", false, "secret", stored, ""},
		{"one line end alone is left out", "Key=@" + file("a\nb\n\n"), "", false, "a\nb\n", stored, ""},
		{"file that begins with @", "Key=@" + file("@x"), "", false, "@x", stored, ""},
		{"empty file", "Key=@" + file(""), "", false, "", stored, ""},
		{"standard input", "Key=-", "from stdin\n", false, "from stdin", stored, ""},
		{"standard input as a file", "Key=@-", "from stdin", false, "from stdin", stored, ""},
		{"binary", "Key=@" + file("\xff\n"), "", true, "/wo=", stored, ""},
		{"question", "Key", "", false, "", asked, ""},
		{"no name", "=x", "", false, "", plain, `--param "=x": want NAME=VALUE`},
		{"no file name", "Key=@", "", false, "", plain, "write @@"},
		{"missing file", "Key=@/no/such/file", "", false, "", plain, "--param Key: open /no/such/file"},
		{"no text", "Key=@" + file("\xff"), "", false, "", plain, "is not a text in UTF-8"},
		{"too large", "Key=-", strings.Repeat("x", maxValue+1), false, "", plain, "larger than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := &values{in: strings.NewReader(test.stdin)}
			name, text, from, err := v.split("--param", test.given, test.binary)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("%v, want %s", err, test.wrong)
				}
				return
			}
			if err != nil || name != "Key" || text != test.want || from != test.from {
				t.Errorf("%q %q %v, %v", name, text, from, err)
			}
		})
	}
	v := &values{in: strings.NewReader("one")}
	_, _, _, first := v.split("--param", "A=-", false)
	if _, _, _, err := v.split("--param", "B=-", false); first != nil || err == nil ||
		!strings.Contains(err.Error(), "already") {
		t.Errorf("%v, %v", first, err)
	}
	if _, err := v.question(t.Context(), "package parameter Key", "--param Key"); err == nil ||
		!strings.HasPrefix(err.Error(), "--param Key: the package parameter Key has no value, and without a terminal") ||
		!strings.Contains(err.Error(), "use --param Key=VALUE, --param Key=@FILE or --param Key=- for") {
		t.Errorf("%v", err)
	}
}

// sentValues are the values that reached the masters, by name.
func sentValues(f *fakeMaster) map[string]any {
	out := map[string]any{}
	for _, c := range f.calls {
		if name, ok := c.args["parameter_name"].(string); ok {
			out[name] = c.args["parameter_value"]
		}
	}
	return out
}

func TestSensitiveValuesNeedNoCommandLine(t *testing.T) {
	key := writeFile(t, "key", "123456\n")
	for _, test := range []struct {
		name, given string // of the project parameter Password
		stdin       string
		says        string
	}{
		{"file", "Password=@" + key, "", ""},
		{"standard input", "Password=-", "123456\n", ""},
		{"question", "password", "", ""},
		{"command line", "Password=123456", "",
			"Password is sensitive, and other users of this machine can see command lines"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := withDeclarations()
			said := ""
			questions := []string{}
			o := order{
				params: []string{"Day=2026-01-31"}, projectParams: []string{test.given},
				note: func(format string, _ ...any) { said += strings.ReplaceAll(format, "%s", "Password") },
				read: &values{in: strings.NewReader(test.stdin), interactive: true,
					ask: func(_ context.Context, what string) (string, error) {
						questions = append(questions, what)
						return "123456", nil
					}},
			}
			if err := o.parse("ETL/Sales/Load.dtsx"); err != nil {
				t.Fatal(err)
			}
			if _, err := o.create(t.Context(), f.client(t)); err != nil {
				t.Fatal(err)
			}
			sent := sentValues(f)
			if got := sent[strings.SplitN(test.given, "=", 2)[0]]; fmt.Sprint(got) != "123456" {
				t.Errorf("sent %v", sent)
			}
			if (said != "") != (test.says != "") || !strings.Contains(said, test.says) {
				t.Errorf("said %q", said)
			}
			if asks := test.name == "question"; (len(questions) == 1) != asks || asks &&
				questions[0] != "project parameter Password (Int32, sensitive)" {
				t.Errorf("asked %q", questions)
			}
		})
	}
}

// A required sensitive parameter is asked for, but only when all else is right; without a terminal it is named.
func TestRequiredSecretsAreAskedFor(t *testing.T) {
	declare := func() *fakeMaster {
		f := withDeclarations()
		f.views["object_parameters"] = func(*http.Request) ([]map[string]any, string) {
			return []map[string]any{
				{"object_type": 30, "object_name": "Load.dtsx", "parameter_name": "Key", "data_type": "String", "required": true,
					"sensitive": true},
				{"object_type": 30, "object_name": "Load.dtsx", "parameter_name": "Rows", "data_type": "Int32"},
			}, ""
		}
		return f
	}
	gone := errors.New("gone")
	for _, test := range []struct {
		name        string
		params      []string
		interactive bool
		answer      error
		asks, sends int
		says        string
	}{
		{"terminal", nil, true, nil, 1, 1, ""},
		{"terminal, something else is wrong", []string{"Rows=x"}, true, nil, 0, 0, "Rows"},
		{"no terminal", nil, false, nil, 0, 0, "Key (String, required, sensitive) has no value: --param Key=@FILE"},
		{"asked for without a terminal", []string{"Key"}, false, nil, 0, 0, "without a terminal nobody can be asked"},
		{"broken off", nil, true, gone, 1, 0, "gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := declare()
			asks := 0
			o := order{params: test.params, read: &values{interactive: test.interactive,
				ask: func(context.Context, string) (string, error) {
					asks++
					return "s3cret", test.answer
				}}}
			if err := o.parse("ETL/Sales/Load.dtsx"); err != nil {
				t.Fatal(err)
			}
			_, err := o.create(t.Context(), f.client(t))
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
			if sends := len(sentValues(f)); asks != test.asks || sends != test.sends || test.sends == 0 && len(f.calls) > 0 {
				t.Errorf("asked %d times, sent %d", asks, sends)
			}
		})
	}
}

func TestCallWithFiles(t *testing.T) {
	f := &fakeMaster{
		call: func(fakeCall) (map[string]any, *wire.Problem) { return nil, nil },
		pages: map[string]func(http.ResponseWriter, *http.Request){
			"/v1/catalog/procedures": func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(wire.Procedures{
					Procedures: []wire.Procedure{{Name: "deploy_project", Parameters: []wire.ProcedureParameter{
						{Name: "folder_name", Type: "nvarchar(128)"}, {Name: "project_name", Type: "nvarchar(128)"},
						{Name: "project_stream", Type: "varbinary(max)"}, {Name: "project_password", Type: "nvarchar(256)"},
					}}}})
			},
		},
	}
	binary, text := writeFile(t, "a.ispac", "PK\x03\x04\n"), writeFile(t, "word", "null\n")
	code, _, errs := f.on(t, show.Screen{}, "catalog", "call", "deploy_project", "folder_name=@@odd", "project_name=@"+
		text, "project_stream=@"+binary)
	if code != exitOK || len(f.calls) != 1 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	got := f.calls[0].args
	if got["folder_name"] != "@odd" || got["project_name"] != "null" || got["project_stream"] != "UEsDBAo=" {
		t.Errorf("%v", got)
	}
	if code, _, errs := f.on(t, show.Screen{}, "catalog", "call", "deploy_project",
		"project_password"); code != exitError || !strings.Contains(errs, "without a terminal") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestArgumentsHaveTheParametersType(t *testing.T) {
	for _, c := range []struct{ name, sqlType, text, want string }{
		{"a number", "bigint", " 17 ", `17`},
		{"a truth value", "bit", "TRUE", `true`},
		{"no value", "bigint", "NULL", `null`},
		{"a word", "nvarchar(128)", "null", `"null"`},
		{"digits of a text", "nvarchar(128)", "007", `"007"`},
		{"a value that its parameter types", "sql_variant", "007", `"007"`},
		{"bytes", "varbinary(max)", "0x6869", `"aGk="`},
		{"a time", "datetimeoffset(7)", "2026-01-31T02:00:00+02:00", `"2026-01-31T00:00:00.0000000Z"`},
		{"what does not fit", "bigint", "many", `"many"`},
		{"a parameter that is not known", "", "null", `"null"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := json.Marshal(argument(c.sqlType, c.text)); err != nil || string(got) != c.want {
				t.Errorf("%s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestAHintStandsInsteadOfTheSentencesOwn(t *testing.T) {
	for _, c := range []struct {
		name, hint, want string
		no               *command.Rejection
	}{
		{"a hint", "; did you mean ETL?", `there is no folder "ELT"; did you mean ETL?`,
			command.Refuse(command.CodeFolderNotFound, "ELT")},
		{"none", "", `there is no folder "ELT"; folder list shows them`, command.Refuse(command.CodeFolderNotFound, "ELT")},
		{"a semicolon in a name", "; it has none", `the folder "a; b" has no project "c; d"; it has none`,
			command.Refuse(command.CodeProjectNotFound, "a; b", "c; d")},
		{"a semicolon in a name, and an end", "; it has none", `there is no folder "a; b"; it has none`,
			command.Refuse(command.CodeFolderNotFound, "a; b")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := refused(c.no, c.hint).Error(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A terminal that nobody sits at is none.
func TestInteractive(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if interactive(f) || interactive(strings.NewReader("")) || interactive(nil) {
		t.Error("a file is taken for a terminal")
	}
}

func TestReadSecret(t *testing.T) {
	for _, c := range []struct{ name, text, want, wrong string }{
		{"as it stands", "se cret", "se cret", ""},
		{"with a line end", "secret\r\n", "secret", ""},
		{"with the mark of an editor", "\ufeffsecret\n", "secret", ""},
		{"nothing", "\n", "", "is empty"},
		{"too long", strings.Repeat("x", maxSecret+1), "", "larger than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, file := range []string{writeFile(t, "password", c.text), "-"} {
				got, err := readPassword(strings.NewReader(c.text), file)
				if got != c.want || (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}
