package procedure_test

import (
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/procedure"
	"scaleout/fsm/registry"
	"scaleout/fsm/sqltype"
)

// The golden file was typed from the product's documentation, not printed from the code.
func TestProceduresAreTheProducts(t *testing.T) {
	var out strings.Builder
	for _, p := range procedure.All() {
		var list []string
		for _, par := range p.Parameters {
			s := par.Name + " " + par.Type.String()
			switch {
			case par.Output:
				s += " OUTPUT"
			case !par.Required:
				s += " = " + sqltype.Text(par.Type, par.Default)
			}
			list = append(list, s)
		}
		fmt.Fprintf(&out, "%s(%s)\n", p.Name, strings.Join(list, ", "))
	}
	fsmtest.Golden(t, "procedures.golden", out.String())
}

func TestRegistryIsSound(t *testing.T) {
	for _, p := range procedure.All() {
		if p.Doc == "" || strings.HasPrefix(p.Name, "catalog.") {
			t.Errorf("procedure %s lacks a description or a plan, or has a prefix", p.Name)
		}
		for _, par := range p.Parameters {
			if par.Doc == "" {
				t.Errorf("parameter %s of %s lacks a description", par.Name, p.Name)
			}
			if par.Default != nil {
				if _, err := sqltype.Encode(par.Type, par.Default); err != nil {
					t.Errorf("default of %s.%s: %v", p.Name, par.Name, err)
				}
			}
		}
	}
}

func TestNamesAreFoundInAnyCase(t *testing.T) {
	if p, ok := procedure.Named("Create_EXECUTION"); !ok || p.Name != "create_execution" {
		t.Fatal("create_execution is not found in another case")
	}
	for name, want := range map[string]string{
		"catalog.create_execution":     "write create_execution, without a prefix",
		"[catalog].[create_execution]": "write create_execution, without a prefix",
		"create_exection":              "did you mean create_execution?",
		"nothing_like_it":              "there are add_execution_worker",
	} {
		_, err := procedure.Find(name)
		if r := fsmtest.Rejected(t, err, command.CodeProcedureNotFound); !strings.Contains(registry.Detail(registry.HTTP,
			r), want) {
			t.Errorf("%s: %q does not say %q", name, registry.Detail(registry.HTTP, r), want)
		}
	}
}
