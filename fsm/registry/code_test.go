package registry_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

// Every code of package command has one sentence, whose places are arguments that it declares, and every family stands
// in the table with a number of its own.
func TestEveryCodeIsDescribed(t *testing.T) {
	source, err := os.ReadFile("../command/code.go")
	if err != nil {
		t.Fatal(err)
	}
	sentences := map[string]int{}
	for _, m := range registry.Messages() {
		sentences[m.Code]++
	}
	constant := regexp.MustCompile(`(?m)^\s+(?:Code|Note|Reason)[A-Z]\w*\s*= "([\w.]+)"`)
	found := constant.FindAllStringSubmatch(string(source), -1)
	if len(found) < 100 {
		t.Fatalf("only %d codes are read", len(found))
	}
	for _, m := range found {
		if code := m[1]; code != command.NoteDeploy && sentences[code] != 1 {
			t.Errorf("the code %s has %d sentences", code, sentences[code])
		}
	}
	numbers := map[int]string{}
	for _, c := range registry.Codes() {
		if other, twice := numbers[c.Number]; twice {
			t.Errorf("%s and %s have the number %d", other, c.Name, c.Number)
		}
		numbers[c.Number] = c.Name
		if c.Doc == "" || c.Status < 400 || c.Number < 100 {
			t.Errorf("the code %s lacks a description, a status or a number", c.Name)
		}
	}
	for code := range sentences {
		if family := command.Family(code); family != "note" && family != "reason" && registry.CodeOf(code).Doc == "" {
			t.Errorf("the family of %s is not in the table", code)
		}
	}
}

func TestSentencesNameTheirArguments(t *testing.T) {
	place := regexp.MustCompile(`\{([^}]*)\}`)
	for _, m := range registry.Messages() {
		for _, text := range []string{m.Text, m.CLI} {
			for _, f := range place.FindAllStringSubmatch(text, -1) {
				for _, name := range strings.Split(strings.TrimPrefix(f[1], "?"), "|") {
					name = strings.TrimSuffix(strings.TrimSuffix(name, "..."), "!")
					if !strings.Contains(" "+strings.ReplaceAll(m.Args, "...", "")+" ", " "+name+" ") {
						t.Errorf("%s: {%s} is no argument of %q", m.Code, f[1], m.Args)
					}
				}
			}
		}
	}
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		name string
		door registry.Door
		no   *command.Rejection
		want string
	}{
		{"quoted", registry.HTTP, command.Refuse(command.CodeFolderNotFound, "ETL"),
			`there is no folder "ETL"; the view folders lists them`},
		{"of the command line", registry.CLI, command.Refuse(command.CodeFolderNotFound, "ETL"),
			`there is no folder "ETL"; folder list shows them`},
		{"what a terminal would obey", registry.HTTP, command.Refuse(command.CodeFolderNotFound, "a\x1b[2J"),
			`there is no folder "a\x1b[2J"; the view folders lists them`},
		{"a plain argument with such", registry.HTTP, command.Refuse(command.CodeWorkerNotFound, "w\x1b[2J"),
			`no worker with the id "w\x1b[2J" has registered; worker_agents lists them`},
		{"a list", registry.CLI, command.Refuse(command.CodeValueRequired, 7, []string{"$Project::A", "$Package::B"}),
			"execution 7 needs values for required parameters: $Project::A, $Package::B; give them with --param or " +
				"--project-param"},
		{"a hint", registry.HTTP, command.Refuse(command.CodeOptionNotFound, "LOGING_LEVEL",
			[]string{"CALLER_INFO", "LOGGING_LEVEL"}),
			`there is no server option "LOGING_LEVEL"; did you mean LOGGING_LEVEL?`},
		{"missing arguments", registry.HTTP, &command.Rejection{Code: command.CodeAlreadyEnded},
			"execution  has ended: it is "},
		{"a code of a newer version", registry.HTTP, &command.Rejection{Code: "moon_full", Args: []string{"now"}},
			`moon_full "now"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := registry.Detail(c.door, c.no); got != c.want {
				t.Errorf("have %s\nwant %s", got, c.want)
			}
		})
	}
}
