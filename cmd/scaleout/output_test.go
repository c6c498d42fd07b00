package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"scaleout/cmd/scaleout/show"
	"scaleout/fsm/view"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// on runs a command line against the fake, with a terminal as wide as the screen says.
func (f *fakeMaster) on(t *testing.T, screen show.Screen, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := f.client(t)
	root := (&app{dial: func() (*client.Client, error) { return c, nil }}).root()
	out, errs := new(bytes.Buffer), new(bytes.Buffer)
	root.SetOut(show.NewWriter(out, screen))
	root.SetErr(show.NewWriter(errs, screen))
	root.SetArgs(args)
	code = run(t.Context(), root)
	return code, out.String(), errs.String()
}

// everyView answers each view with rows that have all of its columns: texts are text, numbers 7, and so on. What set
// gives for "view.column" or "column" comes in place of that.
func everyView(text string, set map[string]any) map[string]func(*http.Request) ([]map[string]any, string) {
	out := map[string]func(*http.Request) ([]map[string]any, string){}
	for _, v := range view.All() {
		row := map[string]any{}
		for _, c := range v.Columns {
			var value any = text
			switch kind := c.Type.String(); {
			case strings.HasSuffix(kind, "int"):
				value = 7
			case kind == "bit":
				value = true
			case strings.HasPrefix(kind, "datetimeoffset"):
				value = "2026-01-31T02:03:04.5678901Z"
			}
			for _, key := range []string{c.Name, v.Name + "." + c.Name} {
				if x, ok := set[key]; ok {
					value = x
				}
			}
			row[c.Name] = value
		}
		out[v.Name] = func(*http.Request) ([]map[string]any, string) { return []map[string]any{row}, "" }
	}
	return out
}

const hostile = "a\x1b[2J\u009b31m\u202eexe.\rb\nforged\x7f\u200b\U000e0041"

// hostileMaster says hostile things wherever it says something.
func hostileMaster() *fakeMaster {
	answer := func(v any) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	member := wire.Member{ID: hostile, Name: hostile, Address: hostile, Role: wire.RoleVoter, Health: hostile + ": " +
		hostile, Version: hostile}
	return &fakeMaster{
		views: everyView(hostile, map[string]any{"message_source_type": sourcePackage}),
		call: func(fakeCall) (map[string]any, *wire.Problem) {
			return nil, &wire.Problem{Status: 422, Code: hostile, Detail: hostile}
		},
		pages: map[string]func(http.ResponseWriter, *http.Request){
			"/v1/cluster": answer(wire.ClusterStatus{
				ClusterID: hostile, Members: []wire.Member{member}, Warnings: []string{hostile},
				Settings: []wire.SettingDifference{{Name: hostile, Values: map[string]string{hostile: hostile}}},
			}),
			"/v1/catalog/views":      answer(wire.Views{Views: []wire.View{{Name: hostile, Doc: hostile}}}),
			"/v1/catalog/procedures": answer(wire.Procedures{Procedures: []wire.Procedure{{Name: hostile, Doc: hostile}}}),
			"/v1/events": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				b, _ := json.Marshal(wire.Event{ID: "1.0", Type: "execution_ended", Time: time.Unix(1, 0), Name: hostile,
					Detail: hostile})
				fmt.Fprintf(w, "id: 1.0\nevent: execution_ended\ndata: %s\n\n", b)
			},
		},
	}
}

// What a master, a worker or a package says reaches no terminal as anything but text, whichever verb prints it: in
// tables, objects, JSON, logs, events and errors.
func TestTextFromOutsideIsVisibleOnATerminal(t *testing.T) {
	lines := [][]string{
		{"folder", "list"}, {"folder", "create", "x"}, {"folder", "delete", "x"},
		{"project", "list"}, {"project", "packages", "x/y"}, {"project", "parameters", "x/y"}, {"project", "versions", "x/y"},
		{"project", "delete", "x/y"},
		{"execution", "list"}, {"execution", "show", "7"}, {"execution", "logs", "7"}, {"execution", "logs", "7", "--plain"},
		{"execution", "logs", "7", "--follow"}, {"execution", "why", "7"}, {"execution", "wait", "7"},
		{"execution", "start", "7"},
		{"execution", "stop", "7"}, {"execution", "run", "x/y/z"}, {"execution", "create", "x/y/z"},
		{"worker", "list"}, {"worker", "show", hostile}, {"worker", "enable", hostile}, {"worker", "disable", "nobody"},
		{"worker", "remove", "nobody"},
		{"cluster", "status"}, {"cluster", "members"}, {"cluster", "leave", hostile}, {"cluster", "remove", hostile, "--yes"},
		{"cluster", "remove", hostile},
		{"cluster", "transfer-leadership", hostile},
		{"catalog", "views"}, {"catalog", "procedures"}, {"catalog", "view", "executions"}, {"catalog", "call", "x", "y=1"},
		{"events"}, {hostile}, {"folder", hostile}, {"folder", "list", "--" + hostile}, {"config", "check", hostile},
		{"events", "--type", hostile}, {"execution", "list", "--status", hostile}, {"execution", "show", hostile},
	}
	set := []string{"table", "wide", "json"}
	for _, args := range lines {
		for _, output := range set {
			t.Run(show.Text(strings.Join(args, " "))+" -o "+output, func(t *testing.T) {
				f := hostileMaster()
				_, out, errs := f.on(t, show.Screen{Terminal: true, Width: 80}, append(slices.Clone(args), "-o", output)...)
				// What moves the line of progress is ours.
				errs = strings.ReplaceAll(errs, "\r\x1b[K", "")
				for _, text := range []string{out, errs} {
					if got := show.Lines(text); got != text {
						t.Errorf("this reaches the terminal: %q", text)
					}
					if strings.Contains(text, "\nforged") && !slices.Contains(args, "--plain") {
						t.Errorf("a line is forged: %q", text)
					}
				}
				if out+errs == "" {
					t.Error("it printed nothing")
				}
			})
		}
	}
	// A new verb is in the list above or in this one.
	without := []string{"ca", "completion", "config", "demo", "dev", "doctor", "help", "man", "master", "ready", "service",
		"version", "worker start",
		"cluster backup", "cluster recover", "cluster debug", "project deploy", "project pack"}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "scaleout ")
		if slices.Contains(without, path) {
			return
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if !cmd.HasSubCommands() && !slices.ContainsFunc(lines,
			func(l []string) bool { return strings.HasPrefix(strings.Join(l, " ")+" ", path+" ") }) {
			t.Errorf("no line of this test runs %q", path)
		}
	}
	walk(newRoot())
}

// All output goes through the writers that root sets: whatever a verb prints, and however, is visible on a terminal.
func TestNobodyPrintsPastTheWriter(t *testing.T) {
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	// Who may name the streams, and who may write to a terminal what it acts on.
	streams := []string{"root.go"}
	control := []string{"demo_print.go"}
	for _, entry := range names {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					t.Errorf("%s calls %s", files.Position(n.Pos()), f.Name)
				}
			case *ast.SelectorExpr:
				x, _ := n.X.(*ast.Ident)
				in := func(pkg string, names ...string) bool {
					return x != nil && x.Name == pkg && slices.Contains(names, n.Sel.Name)
				}
				if in("os", "Stdout", "Stderr") && !slices.Contains(streams, name) || in("fmt", "Print", "Printf", "Println") ||
					in("log", "Print", "Printf", "Println", "Fatal", "Fatalf") || n.Sel.Name == "Control" &&
					!slices.Contains(control, name) {
					t.Errorf("%s: %s.%s goes past the writer that makes text visible; use cmd.OutOrStdout() or cmd.ErrOrStderr()",
						files.Position(n.Pos()), fmt.Sprint(n.X), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// --plain is what the package wrote, byte for byte, and nothing that a master or a worker said about it.
func TestPlainLogsAreThePackagesLines(t *testing.T) {
	f := &fakeMaster{views: everyView("x", nil)}
	f.views["operation_messages"] = func(*http.Request) ([]map[string]any, string) {
		var rows []map[string]any
		for i, m := range []struct {
			source int
			text   string
		}{{10, "started"}, {20, "the worker says"}, {sourcePackage, "one"}, {sourcePackage, "\x1b[1mtwo\tcells\u009b"}, {20,
			"exit code 1"}} {
			rows = append(rows, map[string]any{"operation_message_id": i + 1, "message_source_type": m.source,
				"message": m.text})
		}
		return rows, ""
	}
	if _, out, errs := f.on(t, show.Screen{}, "execution", "logs", "7",
		"--plain"); out != "one\n\x1b[1mtwo\tcells\u009b\n" || errs != "" {
		t.Errorf("%q %q", out, errs)
	}
	var lines int
	_, out, _ := f.on(t, show.Screen{}, "execution", "logs", "7", "--plain", "-o", "json")
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); lines++ {
		var row map[string]any
		if err := dec.Decode(&row); err != nil || row["message_source_type"] != float64(sourcePackage) {
			t.Errorf("%v %v", err, row)
		}
	}
	if lines != 2 {
		t.Errorf("%d lines in %s", lines, out)
	}
}
