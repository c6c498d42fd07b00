package view_test

import (
	"fmt"
	"slices"
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

func TestViewsAreSound(t *testing.T) {
	for _, v := range view.All() {
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
		if live && v.Source != view.FromLive {
			t.Errorf("view %s has a live column, but its source is %d", v.Name, v.Source)
		}
		for _, name := range append(slices.Clone(v.Key), v.Rising...) {
			if _, ok := v.Column(name); !ok {
				t.Errorf("view %s: its key or rising column %s does not exist", v.Name, name)
			}
		}
	}
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
