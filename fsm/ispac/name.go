package ispac

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"scaleout/fsm/sqltype"
)

// The parts that every project file has. Content types are the zip package's
// own bookkeeping and no part of the project.
const (
	manifestPart     = "@Project.manifest"
	paramsPart       = "Project.params"
	contentTypesPart = "[Content_Types].xml"

	packageExt    = ".dtsx"
	connectionExt = ".conmgr"
)

func reservedPart(name string) bool {
	k := fold(name)
	return k == fold(manifestPart) || k == fold(paramsPart) || k == fold(contentTypesPart)
}

// fold is the key of a name by the catalog's collation.
func fold(name string) string { return sqltype.Fold(name) }

func ext(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 && i < len(name)-1 {
		return name[i:]
	}
	return ""
}

func hasExt(name, want string) bool { return sqltype.EqualText(ext(name), want) }

// unescapeName turns a zip entry's name into the plain name of the part.
func unescapeName(raw string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", fmt.Errorf("the name ends within a percent escape")
		}
		n, err := strconv.ParseUint(raw[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("the name has a %% that begins no escape; a plain one is written %%25")
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}

// escapeName is the inverse: what may stand in a part name of the packaging
// conventions stays, everything else becomes percent escapes of its UTF-8.
func escapeName(name string) string {
	const kept = "-._~!$&'()*+,;=:@"
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(kept, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// checkPartName refuses names that could not become one plain file, the same
// one, on every system that a worker runs on.
func checkPartName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("the name is not valid UTF-8")
	case len(name) > 255:
		return fmt.Errorf("the name has %d bytes; 255 is the most", len(name))
	case name == ".", name == "..":
		return fmt.Errorf("the name means a folder")
	case strings.ContainsAny(name, `/\`):
		return fmt.Errorf("the name leads to another folder; parts lie flat in the root")
	case strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
		return fmt.Errorf("the name ends with a dot or a blank, which Windows drops")
	}
	for _, r := range name {
		if unicode.IsControl(r) || strings.ContainsRune(`<>:"|?*`, r) {
			return fmt.Errorf("the name contains %s, which no Windows file name may", strconv.QuoteRune(r))
		}
	}
	if deviceName(name) {
		return fmt.Errorf("the name is a Windows device")
	}
	return nil
}

func deviceName(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, device := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(base, device); ok && utf8.RuneCountInString(n) == 1 {
			return strings.Contains("0123456789¹²³", n)
		}
	}
	return false
}

// checkProjectName applies the catalog's rule for names of projects.
func checkProjectName(name string) error {
	n := len(utf16.Encode([]rune(name)))
	switch {
	case name == "":
		return fmt.Errorf("the project has no name")
	case n > 128:
		return fmt.Errorf("the project name %s has %d characters; 128 is the most", clip(name), n)
	case strings.HasPrefix(name, "@"):
		return fmt.Errorf("the project name %s begins with '@'", clip(name))
	case strings.HasPrefix(name, " "), strings.HasSuffix(name, " "):
		return fmt.Errorf("the project name %s begins or ends with a blank", clip(name))
	}
	for _, r := range name {
		if r < 32 || strings.ContainsRune(`"<>|`, r) {
			return fmt.Errorf("the project name %s contains %s", clip(name), strconv.QuoteRune(r))
		}
	}
	return nil
}

// checkParameterName applies the catalog's rule for declared parameters.
func checkParameterName(name string) error {
	if name == "" {
		return fmt.Errorf("a parameter has no name")
	}
	if n := len(utf16.Encode([]rune(name))); n > 128 {
		return fmt.Errorf("the parameter name %s has %d characters; 128 is the most", clip(name), n)
	}
	for i, r := range name {
		if r == '_' || unicode.IsLetter(r) || i > 0 && unicode.IsDigit(r) {
			continue
		}
		return fmt.Errorf("the parameter name %s is not a letter or '_' followed by letters, digits and '_'", clip(name))
	}
	return nil
}

// parseGUID reads a GUID with or without braces as upper case without them.
func parseGUID(text string) (string, error) {
	bad := fmt.Errorf("%s is not a GUID", clip(text))
	s := text
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") && len(s) > 1 {
		s = s[1 : len(s)-1]
	}
	if len(s) != 36 {
		return "", bad
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return "", bad
			}
		} else if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return "", bad
		}
	}
	return strings.ToUpper(s), nil
}
