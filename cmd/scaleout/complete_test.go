package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"scaleout/cmd/scaleout/show"
	"scaleout/httpapi/client"
)

// offers is what completion offers for a command line whose last word is begun, and its directive.
func (f *fakeMaster) offers(t *testing.T, line ...string) (words []string, directive string) {
	t.Helper()
	_, out, _ := f.on(t, show.Screen{}, append([]string{cobra.ShellCompNoDescRequestCmd}, line...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func TestCompletion(t *testing.T) {
	f := happyMaster()
	for _, c := range []struct{ line, want string }{
		{"folder delete ", "ETL"}, {"project versions ", "ETL/"}, {"project versions ETL/", "ETL/Sales"},
		{"project delete ETL/", "ETL/Sales"},
		{"execution run ", "ETL/"}, {"execution run ETL/", "ETL/Sales/"}, {"execution run ETL/Sales/", "ETL/Sales/Load.dtsx"},
		{"execution run ETL/Sales/text --param ", "text="}, {"execution run ETL/Sales/text --option ", "LOGGING_LEVEL="},
		{"execution run x/y/z --worker ", "worker-1"},
		{"execution show ", "17"}, {"execution logs ", "17"}, {"execution why ", "17"}, {"execution start ", "17"},
		{"execution stop ", "17"}, {"execution wait ", "17"},
		{"execution list --status ", "failed"}, {"execution list --status failed,", "failed,canceled"},
		{"execution list --folder ", "ETL"},
		{"execution list --project ", "ETL/"}, {"execution list --folder ETL --project ", "Sales"},
		{"execution list --caller ", "text"}, {"execution list --since ", "24h"},
		{"worker enable ", "worker-1"}, {"worker show ", "worker-1"}, {"worker remove ", "worker-1"},
		{"cluster leave ", "master-1"}, {"cluster transfer-leadership ", "master-1"}, {"project deploy x --folder ", "ETL"},
		{"catalog view ", "executions"}, {"catalog view executions ", "status="},
		{"catalog view executions --order ", "status"}, {"catalog view executions --columns ", "status"},
		{"catalog call ", "create_folder"}, {"catalog call create_folder ", "folder_name="},
		{"events --type ", "execution_ended"}, {"folder list -o ", "wide"}, {"config check x --kind ", "worker"},
		{"ca issue ", "user"},
		{"ca issue user x --role ", "ssis_admin"}, {"service start ", "master"}, {"execution ", "run"}, {"", "worker"},
		{"master start --timing-profile ", "wan"},
	} {
		t.Run(c.line, func(t *testing.T) {
			got, directive := f.offers(t, strings.Split(c.line, " ")...)
			if !slices.Contains(got, c.want) {
				t.Errorf("%q is not among %q (%s)", c.want, got, directive)
			}
		})
	}
	if got, directive := f.offers(t, "project", "deploy", ""); !slices.Equal(got, []string{"ispac"}) || directive != ":8" {
		t.Errorf("%q %s", got, directive)
	}
}

// Names that a terminal would act on are not offered, and without masters nothing is, soon.
func TestCompletionOffersNothingHostileAndNothingLate(t *testing.T) {
	for _, line := range [][]string{{"folder", "delete", ""}, {"worker", "show", ""}, {"cluster", "leave", ""},
		{"catalog", "view", ""}} {
		if got, _ := hostileMaster().offers(t, line...); len(got) != 0 {
			t.Errorf("%v: %q", line, got)
		}
	}
	release := make(chan struct{})
	f := &fakeMaster{pages: map[string]func(http.ResponseWriter, *http.Request){
		"/v1/cluster": func(http.ResponseWriter, *http.Request) { <-release },
	}}
	c := f.client(t)
	t.Cleanup(func() { close(release) }) // before the server closes, which waits for its handlers
	root := (&app{dial: func() (*client.Client, error) { return c, nil }}).root()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs([]string{cobra.ShellCompNoDescRequestCmd, "cluster", "leave", ""})
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.HasPrefix(out.String(), ":4") {
		t.Errorf("%v %q", err, out.String())
	}
}

// Every flag that has a value, and every verb that has arguments, says what may stand there.
func TestEverythingIsCompleted(t *testing.T) {
	// What a person makes up.
	free := []string{"--addr", "--name", "--request-key", "--host", "--after", "--description", "--display-name",
		"--node-name", "--user"}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || strings.HasPrefix(cmd.CommandPath(), "scaleout completion") {
			return
		}
		each := func(f *pflag.Flag) {
			if _, ok := cmd.GetFlagCompletionFunc(f.Name); ok || f.Value.Type() == "bool" || slices.Contains(free, "--"+f.Name) {
				return
			}
			// Settings: the documents say what they may be.
			if path := cmd.CommandPath(); path == "scaleout master start" || path == "scaleout worker start" {
				return
			}
			t.Errorf("%s --%s: completion does not know what it may be", cmd.CommandPath(), f.Name)
		}
		cmd.LocalNonPersistentFlags().VisitAll(each)
		cmd.PersistentFlags().VisitAll(each)
		if !cmd.HasSubCommands() && cmd.ValidArgsFunction == nil {
			t.Errorf("%s: completion does not know its arguments", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

func TestDidYouMean(t *testing.T) {
	f := happyMaster()
	f.views["folders"] = func(r *http.Request) ([]map[string]any, string) {
		if name := r.URL.Query().Get("name"); name != "" && name != "ETL" {
			return nil, ""
		}
		return []map[string]any{{"folder_id": 1, "name": "ETL"}}, ""
	}
	f.views["projects"] = func(r *http.Request) ([]map[string]any, string) {
		if name := r.URL.Query().Get("name"); name != "" && name != "Sales" {
			return nil, ""
		}
		return []map[string]any{{"project_id": 1, "folder_id": 1, "name": "Sales"}}, ""
	}
	f.views["executions"] = func(*http.Request) ([]map[string]any, string) { return nil, "" }
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"excution list", "did you mean execution?", exitUsage}, {"execution lst", "did you mean list?", exitUsage},
		{"cluster backup sve", "did you mean save?", exitUsage},
		{"execution list --limt 3", "did you mean --limit?", exitUsage},
		{"execution list --status faild", "did you mean failed?", exitUsage},
		{"events --type execution_endd", "did you mean execution_ended?", exitUsage},
		{"worker enable worker-2", "did you mean worker-1?", exitError},
		{"cluster leave master-2", "did you mean master-1?", exitError},
		{"execution list --folder ETLL", "did you mean ETL?", exitOK},
		{"execution list --project Salse", "did you mean Sales?", exitOK},
		{"execution list --project ETL/Salse", "did you mean Sales?", exitOK}, {"execution list --folder ETL", "", exitOK},
		{"project versions ETLL/Sales", "did you mean ETL?", exitError},
		{"project versions ETL/Salse", "did you mean Sales?", exitError},
	} {
		t.Run(c.line, func(t *testing.T) {
			if code, _, errs := f.on(t, show.Screen{}, strings.Fields(c.line)...); code != c.code ||
				!strings.Contains(errs, c.want) {
				t.Errorf("%d %q, want %d and %q", code, errs, c.code, c.want)
			}
		})
	}
}

func TestVersionAndManPages(t *testing.T) {
	code, out, _ := execute(t, "--version")
	if code != exitOK || !strings.HasPrefix(out, "scaleout version "+version) {
		t.Errorf("%d %q", code, out)
	}
	dir := t.TempDir()
	if code, out, errs := execute(t, "man", dir); code != exitOK || !strings.HasPrefix(out, "wrote ") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	page, err := os.ReadFile(filepath.Join(dir, "scaleout-execution-run.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FOLDER/PROJECT/PACKAGE", "--wait", "EXAMPLE", "SEE ALSO"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}
}
