package registry_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
)

func TestNames(t *testing.T) {
	split := func(s string) []string { return strings.Fields(s) }
	table := registry.NewNames(command.CodeViewNotFound, []string{"tasks work", "folders"}, split)
	if !slices.Equal(table.All(), []string{"folders", "tasks work"}) {
		t.Errorf("in the order %q", table.All())
	}
	for _, c := range []struct{ name, ask, want string }{
		{"its own name", "tasks", "tasks work"},
		{"an alias", "work", "tasks work"},
		{"any case", "FOLDERS", "folders"},
		{"blanks behind it", "folders ", "folders"},
		{"no such name", "folder", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := table.Find(c.ask)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Fatalf("found %q, %v", got, err)
			}
			var no *command.Rejection
			if err != nil && (!errors.As(err, &no) || no.Code != command.CodeViewNotFound ||
				!slices.Equal(no.Args, []string{"folder", "folders", "tasks"})) {
				t.Errorf("refused with %v", err)
			}
		})
	}
	t.Run("a name twice", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("it was taken")
			}
		}()
		registry.NewNames("x", []string{"a b", "B"}, split)
	})
}
