//go:build unix

package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scaleout/httpapi/wire"
)

func newSet(t *testing.T, cfg Config) *Set {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// task is a task whose project has one part.
func task(t *testing.T, pkg, content string, params ...wire.Parameter) Task {
	t.Helper()
	project := t.TempDir()
	if err := os.WriteFile(filepath.Join(project, pkg), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Task{
		Grant: wire.Grant{
			TaskID: 7, Attempt: 2, ExecutionID: 8, Folder: "My Folder", Project: "P", Package: pkg, Parameters: params,
			Options: []wire.Parameter{{ObjectType: 50, Name: "LOGGING_LEVEL", Type: "Int32", Value: "1"}},
		},
		ProjectFile: "/cache/project file.ispac", ProjectDir: project, Folder: t.TempDir(),
	}
}

func execute(t *testing.T, c Command) (string, int) {
	t.Helper()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env, cmd.Dir = c.Env, c.Dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestWhatAPackageGets(t *testing.T) {
	t.Setenv("SCALEOUT_KEY", "the worker's own")
	t.Setenv("NOTIFY_SOCKET", "the worker's own")
	t.Setenv("KEPT", "yes")
	tk := task(t, "p.sh", `env; pwd; ls -d "$SCALEOUT_TASK_DIR"; exit 4`,
		wire.Parameter{ObjectType: 30, Name: "Load date", Type: "DateTime", Value: "2026-01-02T00:00:00"},
		wire.Parameter{ObjectType: 20, Name: "Count", Type: "Int64", Value: "9007199254740993"},
		wire.Parameter{ObjectType: 20, Name: "CM.a.b", Type: "String", Value: "first"},
		wire.Parameter{ObjectType: 20, Name: "CM.a b", Type: "String", Value: "second"},
		wire.Parameter{ObjectType: 20, Name: "cm_a_b", Type: "String", Value: "declared"},
		wire.Parameter{ObjectType: 30, Name: "Secret", Type: "String", Value: "hush", Sensitive: true},
		wire.Parameter{ObjectType: 30, Name: "Real", Type: "Double", Value: "NaN"},
		wire.Parameter{ObjectType: 30, Name: "On", Type: "Boolean", Value: "true"},
	)
	c, err := newSet(t, Config{}).Prepare(tk)
	if err != nil {
		t.Fatal(err)
	}
	if args := strings.Join(c.Args, " "); strings.Contains(args, "hush") {
		t.Errorf("a secret in %q", args)
	}
	out, code := execute(t, c)
	lines := strings.Split(out, "\n")
	for _, want := range []string{
		"SCALEOUT_EXECUTION_ID=8", "SCALEOUT_TASK_ID=7", "SCALEOUT_ATTEMPT=2", "SCALEOUT_FOLDER=My Folder",
		"SCALEOUT_PROJECT=P", "SCALEOUT_PACKAGE=p.sh", "KEPT=yes", "PARAM_LOAD_DATE=2026-01-02T00:00:00",
		"PROJECT_PARAM_COUNT=9007199254740993", "PROJECT_PARAM_CM_A_B=declared", "PARAM_SECRET=hush",
		tk.ProjectDir, filepath.Join(tk.Folder, scratchDir),
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "the worker's own") || code != 4 {
		t.Errorf("exit %d, output\n%s", code, out)
	}
	path := filepath.Join(tk.Folder, parametersFile)
	if !slices.Contains(c.Remove, path) {
		t.Errorf("the parameters are not removed: %v", c.Remove)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Project []parameterJSON `json:"project_parameters"`
		Package []parameterJSON `json:"package_parameters"`
		Options []parameterJSON `json:"options"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	value := func(list []parameterJSON, name string) string {
		for _, p := range list {
			if p.Name == name {
				return p.Type + " " + string(p.Value)
			}
		}
		return "missing"
	}
	for _, c := range []struct{ got, want string }{
		{value(doc.Project, "Count"), "Int64 9007199254740993"}, {value(doc.Package, "Real"), `Double "NaN"`},
		{value(doc.Package, "On"), "Boolean true"}, {value(doc.Package, "Load date"), `DateTime "2026-01-02T00:00:00"`},
		{value(doc.Options, "LOGGING_LEVEL"), "Int32 1"}, {value(doc.Project, "CM.a b"), `String "second"`},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

// fakeDtexec is a program that notes its command line as others see it, and keeps a copy of its command file.
func fakeDtexec(t *testing.T, exit string) (path, seen string) {
	t.Helper()
	dir := t.TempDir()
	path, seen = filepath.Join(dir, "dtexec"), filepath.Join(dir, "seen")
	script := `#!/bin/sh
tr '\0' ' ' < /proc/$$/cmdline > ` + seen + `.ps 2>/dev/null || echo "$@" > ` + seen + `.ps
[ "$1" = /CommandFile ] || exit 6
cp "$2" ` + seen + `
exit ` + exit + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, seen
}

func TestDtexec(t *testing.T) {
	path, seen := fakeDtexec(t, "5")
	s := newSet(t, Config{Runners: map[string][]string{Dtsx: {path}}})
	if !slices.Contains(s.Extensions(), Dtsx) || !slices.Equal(s.Bitness(), []int{64}) {
		t.Fatalf("%v %v", s.Extensions(), s.Bitness())
	}
	tk := task(
		t,
		"My Load.dtsx",
		"<xml/>",
		wire.Parameter{ObjectType: 30, Name: "Plain", Type: "Int32", Value: "5"},
		wire.Parameter{ObjectType: 20, Name: "Quoted", Type: "String", Value: `say "a;b" c:\dir\`},
		wire.Parameter{ObjectType: 20, Name: "Path", Type: "String", Value: `c:\dir\`},
		wire.Parameter{ObjectType: 20, Name: "Empty", Type: "String", Value: ""},
		wire.Parameter{ObjectType: 30, Name: "Option", Type: "String", Value: "/De x", Sensitive: true},
		wire.Parameter{
			ObjectType: 30,
			Name:       "CM.my.db.ConnectionString",
			Type:       "String",
			Value:      "Data Source=x;Password=hush",
			Sensitive:  true,
		},
	)
	tk.Grant.ProjectPassword = "ssis 123"
	c, err := s.Prepare(tk)
	if err != nil {
		t.Fatal(err)
	}
	rsp := filepath.Join(tk.Folder, commandFile)
	if info, err := os.Stat(rsp); err != nil || info.Mode().Perm() != 0o600 || !slices.Contains(c.Remove, rsp) {
		t.Errorf("%v %v, removed: %v", info, err, c.Remove)
	}
	_, code := execute(t, c)
	got, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	want := `/Project "/cache/project file.ispac"
/Package "My Load.dtsx"
/De "ssis 123"
/Set \Package.Variables[$Package::Plain];5
/Set \Package.Variables[$Project::Quoted];"say ""a;b"" c:\dir\\"
/Set \Package.Variables[$Project::Path];c:\dir\
/Set \Package.Variables[$Project::Empty];""
/Set \Package.Variables[$Package::Option];"/De x"
/Set \Package.Connections[my.db].Properties[ConnectionString];"Data Source=x;Password=hush"
`
	if string(got) != want {
		t.Errorf("command file\n%s\nwant\n%s", got, want)
	}
	ps, err := os.ReadFile(seen + ".ps")
	if err != nil || strings.Contains(string(ps), "hush") || strings.Contains(string(ps), "ssis 123") ||
		!strings.Contains(string(ps), commandFile) {
		t.Errorf("others see %q, %v", ps, err)
	}
	if outcome, text := Outcome("My Load.dtsx", code, false); outcome != wire.OutcomeFailed ||
		!strings.Contains(text, "load") {
		t.Errorf("%s %s", outcome, text)
	}
}

func TestDtexecCannotHoldALineBreak(t *testing.T) {
	path, _ := fakeDtexec(t, "0")
	s := newSet(t, Config{Runners: map[string][]string{Dtsx: {path}}})
	tk := task(t, "p.dtsx", "", wire.Parameter{ObjectType: 30, Name: "Text", Type: "String", Value: "secret\n/De x"})
	_, err := s.Prepare(tk)
	if !errors.Is(err, ErrPackage) || !strings.Contains(err.Error(), "Text") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(tk.Folder, "*.*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBitness(t *testing.T) {
	path, _ := fakeDtexec(t, "0")
	none := []string{filepath.Join(t.TempDir(), "none")}
	for name, c := range map[string]struct {
		runners map[string][]string
		dtsx    bool
		bits    []int
	}{
		"none": {map[string][]string{Dtsx: none, Dtsx32: none}, false, []int{64, 32}},
		"64":   {map[string][]string{Dtsx: {path}, Dtsx32: none}, true, []int{64}},
		"32":   {map[string][]string{Dtsx: none, Dtsx32: {path}}, true, []int{32}},
		"both": {map[string][]string{Dtsx: {path}, Dtsx32: {path}}, true, []int{64, 32}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, Config{Runners: c.runners})
			if have := slices.Contains(s.Extensions(), Dtsx); have != c.dtsx || !slices.Equal(s.Bitness(), c.bits) {
				t.Errorf("%v %v", s.Extensions(), s.Bitness())
			}
			if slices.Contains(s.Extensions(), Dtsx32) {
				t.Error("a made-up extension is offered")
			}
			tk := task(t, "p.dtsx", "")
			tk.Grant.Use32Bit = true
			_, err := s.Prepare(tk)
			wantOK := slices.Contains(c.bits, 32) && c.dtsx
			if (err == nil) != wantOK || err != nil && !errors.Is(err, ErrNoRunner) {
				t.Errorf("32 bit: %v", err)
			}
		})
	}
}

func TestRunners(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("#!/bin/sh\necho \"$1\"; basename \"$2\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := newSet(t, Config{Runners: map[string][]string{".XYZ": {mine, "-x"}, ".sh": {}}})
	if have := s.Extensions(); !slices.Contains(have, ".xyz") || slices.Contains(have, ".sh") {
		t.Errorf("extensions %v", have)
	}
	c, err := s.Prepare(task(t, "Some Thing.XyZ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := execute(t, c); out != "-x\nSome Thing.XyZ\n" {
		t.Errorf("%q", out)
	}
	// The program is removed after the grant.
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(task(t, "p.xyz", "")); !errors.Is(err, ErrNoRunner) {
		t.Errorf("%v", err)
	}
	if got := s.Missing(); len(got) != 1 || !strings.Contains(got[0], mine) {
		t.Errorf("missing: %v", got)
	}
}

func TestBadConfig(t *testing.T) {
	for _, test := range []struct{ name, extension, program string }{
		{"no extension", "", "x"},
		{"no dot", "py", "x"},
		{"a dot alone", ".", "x"},
		{"a blank", ".a b", "x"},
		{"a path", "./x", "x"},
		{"two extensions", ".tar.gz", "x"},
		{"no program", ".a", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(Config{Runners: map[string][]string{test.extension: {test.program}}})
			if !errors.Is(err, ErrConfig) {
				t.Errorf("%q: %v", test.extension, err)
			}
		})
	}
}

func TestBadTasks(t *testing.T) {
	s := newSet(t, Config{})
	for _, test := range []struct{ name, pkg string }{
		{"not in the project", "q.sh"}, {"outside of the project", "../p.sh"}, {"an absolute path", "/bin/x.sh"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tk := task(t, "p.sh", "")
			tk.Grant.Package = test.pkg
			if _, err := s.Prepare(tk); !errors.Is(err, ErrPackage) {
				t.Errorf("%s: %v", test.pkg, err)
			}
		})
	}
}

func TestNewestDtexec(t *testing.T) {
	root := t.TempDir()
	for _, v := range []string{"90", "160", "140", "Client SDK"} {
		if err := os.Mkdir(filepath.Join(root, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got := newestDtexec(root)
	if len(got) != 3 || !strings.Contains(got[0][0], "160") || !strings.Contains(got[2][0], "90") {
		t.Errorf("%v", got)
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		pkg     string
		code    int
		stopped bool
		outcome string
		text    string
	}{
		{"p.dtsx", 0, false, wire.OutcomeSucceeded, "successfully"},
		{"p.dtsx", 0, true, wire.OutcomeSucceeded, "successfully"},
		{"p.dtsx", 1, false, wire.OutcomeFailed, "package failed"},
		{"p.dtsx", 3, false, wire.OutcomeFailed, "canceled"},
		{"p.dtsx", 3, true, wire.OutcomeCanceled, "canceled"},
		{"p.dtsx", 4, false, wire.OutcomeFailed, "find"},
		{"p.dtsx", 5, false, wire.OutcomeFailed, "load"},
		{"p.dtsx", 6, false, wire.OutcomeFailed, "command line"},
		{"p.dtsx", 77, false, wire.OutcomeFailed, "exit code 77"},
		{"p.sh", 3, false, wire.OutcomeFailed, "exit code 3"},
		{"p.sh", 143, true, wire.OutcomeCanceled, "143"},
	} {
		t.Run(fmt.Sprintf("%s ends with %d, stopped %v", c.pkg, c.code, c.stopped), func(t *testing.T) {
			outcome, text := Outcome(c.pkg, c.code, c.stopped)
			if outcome != c.outcome || !strings.Contains(text, c.text) {
				t.Errorf("%s, %q; want %s, %q", outcome, text, c.outcome, c.text)
			}
		})
	}
}

func TestClassifier(t *testing.T) {
	type line struct {
		text   string
		stderr bool
		want   int
	}
	for _, test := range []struct {
		name, pkg string
		lines     []line
	}{
		{"dtexec, an error", "p.dtsx", []line{
			{"Started:  10:00:00", false, TypeInformation},
			{"Error: 2026-01-02 10:00:00.00", false, TypeError},
			{"   Code: 0xC0014023", false, TypeError},
			{"   Description: it broke", false, TypeError},
			{"End Error", false, TypeError},
			{"DTExec: The package execution returned DTSER_FAILURE (1).", false, TypeInformation},
		}},
		{"dtexec, a warning", "p.dtsx", []line{
			{"Warning: 2026-01-02", false, TypeWarning},
			{"   Description: beware", false, TypeWarning},
			{"End Warning", false, TypeWarning},
			{"Elapsed:  1 seconds", false, TypeInformation},
		}},
		{"dtexec, an error without an end", "p.dtsx", []line{
			{"Error: one", false, TypeError},
			{"Progress: 2026", false, TypeInformation},
			{"   Source: x", false, TypeInformation},
		}},
		{"dtexec, standard error", "p.DTSX", []line{{"x", true, TypeError}}},
		{"another program", "p.sh", []line{
			{"Error: x", false, TypeInformation},
			{"x", true, TypeError},
			{"x", false, TypeInformation},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Classifier
			for _, l := range test.lines {
				if got := c.Type(test.pkg, l.stderr, l.text); got != l.want {
					t.Errorf("%q: %d, want %d", l.text, got, l.want)
				}
			}
		})
	}
}
