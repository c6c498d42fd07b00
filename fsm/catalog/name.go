package catalog

import (
	"fmt"
	"strings"
	"unicode"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// checkName holds the catalog's rules for the names of folders and projects.
func CheckName(parameter, name string) error {
	bad := func(why string) error {
		return command.Refuse(command.CodeInvalidArgument, "%s: %s %s", parameter, sqltype.Quote(name), why)
	}
	switch {
	case name == "":
		return bad("is empty; a name has 1–128 characters")
	case sqltype.Characters(name) > 128:
		return bad("is longer than 128 characters")
	case name[0] == '@':
		return bad("begins with @")
	case strings.TrimSpace(name) != name:
		return bad("begins or ends with a blank")
	}
	for _, r := range name {
		// The slashes part the names in FOLDER/PROJECT/PACKAGE and in \SSISDB\folder\project\package.
		if hidden(r) || strings.ContainsRune(`"<>|/\`, r) {
			return bad(fmt.Sprintf(`contains the character %q; control and format characters and " < > | / \ are not allowed`, r))
		}
	}
	return nil
}

// hidden reports whether a character shows as nothing, or changes how what is around it shows: a name that holds one can
// be taken for another, and a terminal may obey it.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// hiddenIn finds the first such character and describes it.
func HiddenIn(s string) (string, bool) {
	for _, r := range s {
		if hidden(r) {
			return fmt.Sprintf("the character %q; control and format characters are not allowed in names", r), true
		}
	}
	return "", false
}
