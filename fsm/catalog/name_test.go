package catalog

import (
	"testing"

	"scaleout/fsm/command"
)

// Names of packages and parameters reach terminals, logs and file names; a project file may hold any.
func TestNamesInAProjectAreShownAsTheyAre(t *testing.T) {
	parameter := func(name string) []command.Parameter { return []command.Parameter{{Name: name}} }
	for _, x := range []struct {
		name     string
		manifest command.Manifest
		code     string
	}{
		{"plain", command.Manifest{Packages: []command.Package{{Name: "Größe 日本.dtsx"}}}, ""},
		{"a package", command.Manifest{Packages: []command.Package{{Name: "Load\u202excod.dtsx"}}}, command.CodeNamePackage},
		{"a parameter of a package",
			command.Manifest{Packages: []command.Package{{Name: "a.dtsx", Parameters: parameter("x\u009b2J")}}},
			command.CodeNameParameter},
		{"a parameter of the project", command.Manifest{Parameters: parameter("x\u200d")},
			command.CodeNameParameter},
	} {
		t.Run(x.name, func(t *testing.T) {
			no := checkManifest(&x.manifest)
			if (no == nil) != (x.code == "") || no != nil && no.Code != x.code {
				t.Fatal(no)
			}
		})
	}
}
