package view_test

import (
	"fmt"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/registry"
	"scaleout/fsm/view"
)

// The golden file was typed from the product's documentation, not printed from the code.
func TestViewsAreTheProducts(t *testing.T) {
	var out strings.Builder
	for _, v := range view.All() {
		for _, c := range v.Columns {
			fmt.Fprintf(&out, "%s.%s %s\n", v.Name, c.Name, c.Type)
		}
	}
	fsmtest.Golden(t, "views.golden", out.String())
}

func TestViewsAreFoundInAnyCase(t *testing.T) {
	if v, ok := view.Named("Worker_Agents"); !ok || v.Name != "worker_agents" {
		t.Fatal("worker_agents is not found in another case")
	}
	_, err := view.Find("catalog.executions")
	if r := fsmtest.Rejected(t, err, command.CodeViewNotFound); !strings.Contains(registry.Detail(registry.HTTP, r),
		"write executions") {
		t.Errorf("no hint in %q", registry.Detail(registry.HTTP, r))
	}
}
