package catalog

import (
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// checkName holds the catalog's rules for the names of folders and projects; parameter is how the caller named it.
func checkName(parameter, name string) *command.Rejection {
	switch {
	case name == "":
		return command.Refuse(command.CodeNameEmpty, parameter)
	case sqltype.Characters(name) > 128:
		return command.Refuse(command.CodeNameLong, parameter, name)
	case name[0] == '@':
		return command.Refuse(command.CodeNameAt, parameter, name)
	case strings.TrimFunc(name, sqltype.Blank) != name:
		return command.Refuse(command.CodeNameBlank, parameter, name)
	}
	for _, r := range name {
		// The slashes part the names in FOLDER/PROJECT/PACKAGE and in \SSISDB\folder\project\package.
		if sqltype.Hidden(r) || strings.ContainsRune(`"<>|/\`, r) {
			return command.Refuse(command.CodeNameCharacter, parameter, name, string(r))
		}
	}
	return nil
}

// checkShown refuses, with the code, a name with such a character. What says whose name it is, for a code that needs
// it.
func checkShown(code, name string, what ...string) *command.Rejection {
	for _, r := range name {
		if sqltype.Hidden(r) {
			return command.Refuse(code, append(what, name, string(r)))
		}
	}
	return nil
}

// checkManifest refuses a manifest whose packages or parameters have such names: they reach terminals and file names.
func checkManifest(m *command.Manifest) *command.Rejection {
	parameters := func(list []command.Parameter) *command.Rejection {
		for i := range list {
			if no := checkShown(command.CodeNameParameter, list[i].Name); no != nil {
				return no
			}
		}
		return nil
	}
	if no := parameters(m.Parameters); no != nil {
		return no
	}
	for i := range m.Packages {
		if no := checkShown(command.CodeNamePackage, m.Packages[i].Name); no != nil {
			return no
		}
		if no := parameters(m.Packages[i].Parameters); no != nil {
			return no
		}
	}
	return nil
}
