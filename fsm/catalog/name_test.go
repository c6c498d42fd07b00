package catalog

import (
	"strings"
	"testing"

	"scaleout/fsm/command"
)

// Names of packages and parameters reach terminals, logs and file names; a project file may hold any.
func TestNamesInAProjectAreShownAsTheyAre(t *testing.T) {
	parameter := func(name string) []command.Parameter { return []command.Parameter{{Name: name}} }
	for _, x := range []struct {
		name     string
		manifest command.Manifest
		says     string
	}{
		{"plain", command.Manifest{Packages: []command.Package{{Name: "Größe 日本.dtsx"}}}, ""},
		{"a package", command.Manifest{Packages: []command.Package{{Name: "Load\u202excod.dtsx"}}}, "package"},
		{"a parameter of a package",
			command.Manifest{Packages: []command.Package{{Name: "a.dtsx", Parameters: parameter("x\u009b2J")}}}, "parameter"},
		{"a parameter of the project", command.Manifest{Parameters: parameter("x\u200d")}, "parameter"},
	} {
		t.Run(x.name, func(t *testing.T) {
			no := checkManifest(&x.manifest)
			if (no == nil) != (x.says == "") ||
				no != nil && (no.Code != command.CodeNameHidden || !strings.Contains(no.Args[0], x.says)) {
				t.Fatal(no)
			}
		})
	}
}
