package procedure

import (
	"errors"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/ispac"
)

// Names of packages and parameters reach terminals, logs and file names; a project file may hold any.
func TestNamesInAProjectAreShownAsTheyAre(t *testing.T) {
	for _, x := range []struct {
		name    string
		project ispac.Project
		says    string
	}{
		{"plain", ispac.Project{Packages: []ispac.Package{{Name: "Größe 日本.dtsx"}}}, ""},
		{"a package", ispac.Project{Packages: []ispac.Package{{Name: "Load\u202excod.dtsx"}}}, "package"},
		{"a parameter of a package", ispac.Project{Packages: []ispac.Package{{Name: "a.dtsx", Parameters: []ispac.Parameter{{Name: "x\u009b2J"}}}}}, "parameter"},
		{"a parameter of the project", ispac.Project{Parameters: []ispac.Parameter{{Name: "x\u200d"}}}, "parameter"},
	} {
		t.Run(x.name, func(t *testing.T) {
			err := checkShown(&x.project)
			var no *command.Rejection
			if (err == nil) != (x.says == "") || err != nil && (!errors.As(err, &no) || no.Code != command.CodeInvalidProject || !strings.Contains(no.Detail, x.says)) {
				t.Fatal(err)
			}
		})
	}
}
