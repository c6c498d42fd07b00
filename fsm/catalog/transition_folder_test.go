package catalog

import (
	"strings"
	"testing"

	"scaleout/fsm/command"
)

func TestRenameFolder(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new string
		code     string
	}{
		{"another name", "F", "Warehouse", ""},
		{"found in any case", "f", "Warehouse", ""},
		{"the same in another case", "F", "f", ""},
		{"itself", "F", "F", ""},
		{"no such folder", "nope", "Warehouse", command.CodeFolderNotFound},
		{"the name of another", "F", "g", command.CodeFolderExists},
		{"no name", "F", "", command.CodeNameEmpty},
		{"a name that is not allowed", "F", "a/b", command.CodeNameCharacter},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready(t) // the folder F with the project P
			w.ok(&command.CreateFolder{Name: "G"})
			id := w.create("Load.dtsx")
			w.ok(&command.StartExecution{ExecutionID: id})
			cmd := &command.RenameFolder{Old: c.old, New: c.new}
			if c.code != "" {
				w.refused(c.code, cmd)
				return
			}
			w.ok(cmd)
			r := w.s.Reader()
			f, ok := r.Folder(c.new)
			if !ok || f.Name != c.new {
				t.Fatalf("the folder is %+v", f)
			}
			if old, ok := r.Folder("F"); ok && old.Name != c.new {
				t.Errorf("the old name finds %+v", old)
			}
			if _, ok := r.Project(c.new, "P"); !ok {
				t.Error("the project is not in the folder any more")
			}
			// What is counted goes on under the new name; the execution keeps the one that it had.
			w.ok(&command.StopOperation{OperationID: id})
			for tally := range w.s.Reader().Tallies() {
				if tally.Folder != c.new || tally.Ended[2] != 1 {
					t.Errorf("counted: %+v", tally)
				}
			}
			if x := w.execution(id); x.Folder != "F" {
				t.Errorf("the execution is of the folder %s", x.Folder)
			}
		})
	}
}

func TestSetFolderDescription(t *testing.T) {
	for _, c := range []struct {
		name, folder, description, code string
	}{
		{"a text", "f", "all of it", ""},
		{"none", "F", "", ""},
		{"as long as the column", "F", strings.Repeat("ä", mostDescription), ""},
		{"longer", "F", strings.Repeat("x", mostDescription+1), command.CodeDescription},
		{"no such folder", "nope", "x", command.CodeFolderNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ready(t)
			w.ok(&command.SetFolderDescription{Folder: "F", Description: "before"})
			cmd := &command.SetFolderDescription{Folder: c.folder, Description: c.description}
			if c.code != "" {
				w.refused(c.code, cmd)
				return
			}
			w.ok(cmd)
			if f, _ := w.s.Reader().Folder("F"); f.Description != c.description {
				t.Errorf("described as %q", f.Description)
			}
		})
	}
}
