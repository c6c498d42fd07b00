package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scaleout/cmd/scaleout/show"
)

var update = flag.Bool("update", false, "write testdata anew")

// execute runs a command line without a cluster.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	root := newRoot()
	out, errs := new(bytes.Buffer), new(bytes.Buffer)
	root.SetOut(out)
	root.SetErr(errs)
	root.SetArgs(args)
	code = run(t.Context(), root)
	return code, out.String(), errs.String()
}

func TestTreeOfCommands(t *testing.T) {
	var b strings.Builder
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "%s\n    %s\n", cmd.UseLine(), cmd.Short)
		var flags []string
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { flags = append(flags, "--"+f.Name) })
		if sort.Strings(flags); len(flags) > 0 && !strings.HasSuffix(cmd.CommandPath(), "master start") &&
			!strings.HasSuffix(cmd.CommandPath(), "worker start") {
			fmt.Fprintf(&b, "    %s\n", strings.Join(flags, " "))
		}
		if cmd.Short == "" {
			t.Errorf("%s does not say what it does", cmd.CommandPath())
		}
		cobras := cmd.Name() == "help" || strings.Contains(cmd.CommandPath(), " completion")
		if cmd.Example == "" && !cmd.HasSubCommands() && !cmd.Hidden && !cobras {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		// The private key's flag must stay reachable everywhere.
		if f := cmd.LocalNonPersistentFlags().Lookup("key"); f != nil {
			t.Errorf("%s hides --key", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() == string(want) {
		return
	}
	had, have := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
	for _, line := range had {
		if !slices.Contains(have, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range have {
		if !slices.Contains(had, line) {
			t.Errorf("new:  %s", line)
		}
	}
	t.Errorf("the commands differ from %s; if that is meant, 'go test ./cmd/scaleout -update' writes it anew", golden)
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for _, k := range []string{"SCALEOUT_ADDR", "SCALEOUT_CACERT", "SCALEOUT_CERT", "SCALEOUT_KEY"} {
		t.Setenv(k, "")
	}
	for _, args := range [][]string{
		{"fly"}, {"execution", "run"}, {"execution", "run", "a/b"}, {"execution", "run", "a/b/c", "--timeout", "3s"},
		{"execution", "wait", "x"},
		{"execution", "wait", "0"}, {"execution", "fly"}, {"execution", "list", "--status", "odd"},
		{"execution", "list", "--limit", "0"},
		{"cluster", "remove"}, {"cluster", "transfer-leadership", "a", "b"}, {"dev", "--masters", "2"}, {"dev", "extra"},
		{"demo", "--executions", "0"},
		{"demo", "--workers", "0", "--data", t.TempDir()}, {"master", "start", "--no-such"}, {"folder", "list", "-o", "xml"},
		{"execution", "list"}, // no certificate is given
		{"config", "check", writeFile(t, "x.config", "{}"), "--kind", "clerk"},
	} {
		if code, _, stderr := execute(t, args...); code != exitUsage || !strings.Contains(stderr, "--help") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
	}
}

// TestMistakesAreNamedInWordsForPeople holds the sentences about the command line itself against what they shall say.
func TestMistakesAreNamedInWordsForPeople(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		{"nothing given", "execution stop", "an argument is missing: 'scaleout execution stop ID'"},
		{"too few", "ca issue user --ca ca", `with the argument "user" alone: want 'scaleout ca issue master|worker|user ` +
			`NAME --ca DIR --out FOLDER'`},
		{"too many", "execution stop 1 2", `with 2 arguments, the last of them "2": want 'scaleout execution stop ID'`},
		{"none wanted", "project list ETL", `with the argument "ETL" alone: want 'scaleout project list'`},
		{"number", "execution run a/b/c --retry many", `--retry "many": want a whole number`},
		{"time", "execution run a/b/c --run-timeout 2d", `--run-timeout "2d": want a time such as 90s, 30m or 4h`},
		{"truth value", "execution run a/b/c --wait=perhaps", `--wait "perhaps": want true or false`},
		{"too many retries", "execution run a/b/c --retry 101", "--retry 101: want 0 to 100"},
		{"too many retries of a start", "execution start 1 --retry 101", "--retry 101: want 0 to 100"},
		{"negative timeout", "execution run a/b/c --wait --timeout=-3s", "--timeout -3s: want a time such as 30m"},
		{"a key that a script left empty", "execution run a/b/c --request-key=", "--request-key is empty"},
		{"a parameter twice", "execution run a/b/c --param Day=1 --param day=2", "--param day is given twice"},
		{"a bound twice", "execution run a/b/c --run-timeout 3s --option RUN_TIMEOUT=4",
			"--run-timeout and --option RUN_TIMEOUT set the same option: give one of them"},
		{"a kind of service", "service status boss", `"boss" is no kind of service: want master or worker`},
		{"an option twice", "execution run a/b/c --option LOGGING_LEVEL=1 --option logging_level=2",
			"--option logging_level is given twice"},
		{"no rows wanted", "catalog view folders --limit 0", "--limit 0: want 1 or more"},
		{"fewer than none", "catalog view folders --limit=-1", "--limit -1: want 1 or more"},
		{"a place among events", "events --after noon", `--after "noon": want the id of an event, such as 1042.0, or 0`},
		{"another product's word", "cluster snapshot", "did you mean backup?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := withOrders("")
			code, out, errs := f.on(t, show.Screen{}, strings.Fields(test.line)...)
			if code != exitUsage || !strings.Contains(errs, test.want) || out != "" {
				t.Errorf("exit %d, %q is missing in: %s", code, test.want, errs)
			}
			if len(f.calls) > 0 {
				t.Errorf("%s was called", f.calls[0].procedure)
			}
		})
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodWorker = `{"MasterEndpoint": "https://m1:8391", "DataDirectory": "d", "CACertFile": "c", "CertFile": "x", ` +
	`"KeyFile": "k", "MaxTaskCount": 3}`

func TestConfigCheck(t *testing.T) {
	code, out, errs := execute(t, "config", "check",
		writeFile(t, "MasterSettings.config", "{\n\"PortNumbr\": 1,\n\"GossipPort\": \"x\"\n}"))
	if code != exitError || !strings.Contains(out,
		`MasterSettings.config:2: unknown key "PortNumbr"; did you mean PortNumber?`) ||
		!strings.Contains(out, "MasterSettings.config:3: GossipPort") ||
		!strings.Contains(errs, "2 problems as master settings") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	// The name says nothing; the keys do.
	t.Setenv("SCALEOUT_WORKER_DISPLAY_NAME", "from-env")
	code, out, errs = execute(t, "config", "check", writeFile(t, "settings.json", goodWorker))
	if code != exitOK || !strings.Contains(errs, "warning:") || !strings.Contains(errs, "CertFile") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	for setting, origin := range map[string]string{"MaxTaskCount": "file", "DisplayName": "environment",
		"LeaseInterval": "default"} {
		found := false
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			found = found || len(f) > 1 && f[0] == setting && f[len(f)-1] == origin
		}
		if !found {
			t.Errorf("%s from %s is missing in\n%s", setting, origin, out)
		}
	}
	var report struct {
		Kind     string
		Problems []struct{ Where, Text string }
		Settings []struct{ Key, Value, Origin string }
	}
	code, out, _ = execute(t, "config", "check", writeFile(t, "worker.json", `{"MaxTaskCount": 0}`), "-o", "json")
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitError || report.Kind != "worker" ||
		len(report.Problems) == 0 || len(report.Settings) == 0 {
		t.Errorf("%d %v %+v", code, err, report)
	}
	if code, _, _ := execute(t, "config", "check", "/no/such/file"); code != exitError {
		t.Error(code)
	}
}

func TestMasterLogFindsItsFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"master-1.log", "master-1-2026-01-31T02-03-04.000.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("in "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := execute(t, "master", "log", "--log-folder", dir); code != exitOK || out != "in master-1.log\n" {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "master-2.log"), []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := execute(t, "master", "log", "--log-folder", dir); code != exitUsage ||
		!strings.Contains(errs, "--node-name") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ := execute(t, "master", "log", "--log-folder", dir, "--node-name", "master-2"); code != exitOK ||
		out != "two\n" {
		t.Errorf("%d %s", code, out)
	}
}

// Wrong settings end a service for good: a manager that started it again would only repeat the error. 2 would not do,
// for a process that panics ends with it too, and must be started again.
func TestServicesEndForGoodOnWrongSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Settings.config")
	if err := os.WriteFile(file, []byte(`{"NoSuchSetting": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, noun := range []string{"master", "worker"} {
		code, _, stderr := execute(t, noun, "start", "--config", file)
		if code != exitOperator || !strings.Contains(stderr, "NoSuchSetting") {
			t.Errorf("%s start: code %d, %s", noun, code, stderr)
		}
		unit, err := os.ReadFile("../service/unit/scaleout-" + noun + ".service")
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("\nRestartPreventExitStatus=%d\n", exitOperator); !strings.Contains(string(unit), want) {
			t.Errorf("the unit of the %s has no line %q", noun, want)
		}
	}
}
