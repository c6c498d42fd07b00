package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(strings.TrimSpace(got), "\n"), strings.Split(strings.TrimSpace(string(want)), "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s, line %d:\n have %v\n want %v", name, i+1, a[min(i, len(a)):min(i+1, len(a))], b[min(i, len(b)):min(i+1, len(b))])
		}
	}
}

// The golden files were typed from the product's documentation, not printed from the code.
func TestViewsAreTheProducts(t *testing.T) {
	var out strings.Builder
	for _, v := range Views() {
		for _, c := range v.Columns {
			fmt.Fprintf(&out, "%s.%s %s\n", v.Name, c.Name, c.Type)
		}
	}
	golden(t, "views.golden", out.String())
}

func TestProceduresAreTheProducts(t *testing.T) {
	var out strings.Builder
	for _, p := range Procedures() {
		var list []string
		for _, par := range p.Parameters {
			s := par.Name + " " + par.Type.String()
			switch {
			case par.Output:
				s += " OUTPUT"
			case !par.Required:
				s += " = " + Text(par.Type, par.Default)
			}
			list = append(list, s)
		}
		fmt.Fprintf(&out, "%s(%s)\n", p.Name, strings.Join(list, ", "))
	}
	golden(t, "procedures.golden", out.String())
}

func TestRegistryIsSound(t *testing.T) {
	for _, v := range Views() {
		if v.Doc == "" || v.Rows == nil || len(v.Key) == 0 {
			t.Errorf("view %s lacks a description, rows or a key", v.Name)
		}
		live := false
		for _, c := range v.Columns {
			if c.Doc == "" || c.Type.String() == "invalid" {
				t.Errorf("column %s.%s lacks a description or a type", v.Name, c.Name)
			}
			live = live || c.Live
		}
		if live && v.Source != FromLive {
			t.Errorf("view %s has a live column, but its source is %d", v.Name, v.Source)
		}
		for _, name := range append(slices.Clone(v.Key), v.Rising...) {
			if _, ok := v.Column(name); !ok {
				t.Errorf("view %s: its key or rising column %s does not exist", v.Name, name)
			}
		}
	}
	for _, p := range Procedures() {
		if p.Doc == "" || p.Plan == nil || strings.HasPrefix(p.Name, "catalog.") {
			t.Errorf("procedure %s lacks a description or a plan, or has a prefix", p.Name)
		}
		for _, par := range p.Parameters {
			if par.Doc == "" {
				t.Errorf("parameter %s of %s lacks a description", par.Name, p.Name)
			}
			if par.Default != nil {
				if _, err := Encode(par.Type, par.Default); err != nil {
					t.Errorf("default of %s.%s: %v", p.Name, par.Name, err)
				}
			}
		}
	}
}

func TestNamesAreFoundInAnyCase(t *testing.T) {
	if p, ok := ProcedureNamed("Create_EXECUTION"); !ok || p.Name != "create_execution" {
		t.Fatal("create_execution is not found in another case")
	}
	if v, ok := ViewNamed("Worker_Agents"); !ok || v.Name != "worker_agents" {
		t.Fatal("worker_agents is not found in another case")
	}
	for name, want := range map[string]string{
		"catalog.create_execution":     "write create_execution, without a prefix",
		"[catalog].[create_execution]": "write create_execution, without a prefix",
		"create_exection":              "did you mean create_execution?",
		"nothing_like_it":              "there are add_execution_worker",
	} {
		_, err := FindProcedure(name)
		if r := rejected(t, err, CodeProcedureNotFound); !strings.Contains(r.Detail, want) {
			t.Errorf("%s: %q does not say %q", name, r.Detail, want)
		}
	}
	_, err := FindView("catalog.executions")
	if r := rejected(t, err, CodeViewNotFound); !strings.Contains(r.Detail, "write executions") {
		t.Errorf("no hint in %q", r.Detail)
	}
}

// rejected requires a refusal with that code, which Codes describes.
func rejected(t *testing.T, err error, code string) *command.Rejection {
	t.Helper()
	r, ok := err.(*command.Rejection)
	if !ok || r.Code != code {
		t.Fatalf("got %v, want the code %s", err, code)
	}
	if !slices.ContainsFunc(append(Codes(), StateCodes()...), func(c Code) bool { return c.Name == code && c.Class.String() != "unknown" && c.Doc != "" }) {
		t.Fatalf("the code %s is not described", code)
	}
	return r
}

// Each code of this package stands once in Codes or StateCodes.
func TestEveryCodeIsDescribed(t *testing.T) {
	listed := map[string]int{}
	for _, c := range append(Codes(), StateCodes()...) {
		listed[c.Name]++
	}
	packages, err := filepath.Glob("*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal(packages, err)
	}
	constant := regexp.MustCompile(`(?m)^\s+Code[A-Z]\w*\s*= "(\w+)"$`)
	found := 0
	for _, name := range packages {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
			found++
			if listed[m[1]] != 1 {
				t.Errorf("the code %s of %s is described %d times", m[1], name, listed[m[1]])
			}
		}
	}
	if found != len(listed) {
		t.Errorf("%d codes are described, %d exist", len(listed), found)
	}
}
