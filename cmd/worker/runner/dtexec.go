package runner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"scaleout/httpapi/wire"
)

// dtexecs lists the places where dtexec may be, the best first. It ignores the PATH on Windows: a 32-bit dtexec often
// comes first there, and would run a package that was meant for 64 bits.
func dtexecs(goos, programFiles string) [][]string {
	if goos != "windows" {
		if programFiles == "ProgramFiles" {
			return [][]string{{"/opt/ssis/bin/dtexec"}}
		}
		return nil
	}
	root := os.Getenv(programFiles)
	if root == "" {
		return nil
	}
	return newestDtexec(filepath.Join(root, "Microsoft SQL Server"))
}

// newestDtexec lists the versions that are installed below a folder, the newest first.
func newestDtexec(root string) [][]string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	var versions []int
	for _, e := range entries {
		if v, err := strconv.Atoi(e.Name()); err == nil {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	var lines [][]string
	for _, v := range versions {
		lines = append(lines, []string{filepath.Join(root, strconv.Itoa(v), "DTS", "Binn", "DTExec.exe")})
	}
	return lines
}

// dtexecOptions returns the content of the command file: one option per line.
func dtexecOptions(t Task) ([]byte, error) {
	var b bytes.Buffer
	var bad error
	option := func(name string, args ...string) {
		b.WriteString(name)
		for i, a := range args {
			if strings.ContainsAny(a, unwritable) {
				what := "its argument"
				if i > 0 {
					what = "the value of " + args[0]
				}
				bad = fmt.Errorf("%w: %s: %s has a line break, a zero byte or an end-of-file character, "+
					"which dtexec's command file cannot hold", ErrPackage, name, what)
			}
			b.WriteString([]string{" ", ";"}[min(i, 1)] + quote(a))
		}
		b.WriteByte('\n')
	}
	option("/Project", t.ProjectFile)
	option("/Package", t.Grant.Package)
	if t.Grant.ProjectPassword != "" {
		option("/De", t.Grant.ProjectPassword)
	}
	for _, p := range t.Grant.Parameters {
		if path := setPath(p); path != "" {
			option("/Set", path, p.Value)
		}
	}
	return b.Bytes(), bad
}

// setPath returns the property path of a parameter: the parameter itself, or the connection's property that it stands
// for.
func setPath(p wire.Parameter) string {
	if rest, ok := strings.CutPrefix(p.Name, "CM."); ok {
		// The connection's name may contain dots, the property's name does not.
		dot := strings.LastIndexByte(rest, '.')
		if dot <= 0 {
			return ""
		}
		return `\Package.Connections[` + rest[:dot] + `].Properties[` + rest[dot+1:] + `]`
	}
	switch p.ObjectType {
	case projectParameter:
		return `\Package.Variables[$Project::` + p.Name + `]`
	case packageParameter:
		return `\Package.Variables[$Package::` + p.Name + `]`
	}
	return ""
}

// quote turns a text into one argument. It adds quotes only where they are needed, since every version of dtexec reads
// a bare text in the same way. It doubles a quote inside the text, as dtexec's documentation says.
//
// The documentation does not mention a backslash before a quote, which other parsers of command lines take for an
// escape. For such a parser the argument would not end there, and it would read the next line, or the rest of the
// value, as options. So quote doubles backslashes before a quote. A parser without escapes then sees one backslash too
// many at the end of a folder's path, which does no harm. Neither parser sees an additional option.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, needsQuotes) && s[0] != '/' && s[0] != '-' {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	run := 0 // backslashes in a row
	for i := range len(s) {
		switch s[i] {
		case '\\':
			run++
		case '"':
			b.WriteString(strings.Repeat(`\`, run))
			b.WriteByte('"')
			run = 0
		default:
			run = 0
		}
		b.WriteByte(s[i])
	}
	b.WriteString(strings.Repeat(`\`, run))
	b.WriteByte('"')
	return b.String()
}

func needsQuotes(r rune) bool {
	return strings.ContainsRune(`";'`, r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// unwritable lists the characters that some program takes for the end of a line or of the file.
const unwritable = "\r\n\v\f\x00\x1a\u0085\u2028\u2029"

// exitMeaning maps dtexec's exit codes to what its documentation says.
var exitMeaning = map[int]string{
	0: "the package ended successfully",
	1: "the package failed",
	3: "the package was canceled",
	4: "dtexec could not find the package",
	5: "dtexec could not load the package",
	6: "dtexec found an error of syntax or meaning in its command line",
}

// Outcome returns what an exit code means for the attempt: an outcome of package wire, and a message for people. The
// argument stopped says that somebody asked for a stop before the package ended.
func Outcome(pkg string, code int, stopped bool) (outcome, message string) {
	message = fmt.Sprintf("exit code %d", code)
	if Extension(pkg) == Dtsx {
		if m, ok := exitMeaning[code]; ok {
			message += ": " + m
		}
	}
	switch {
	case code == 0:
		return wire.OutcomeSucceeded, message
	case stopped:
		return wire.OutcomeCanceled, message
	}
	return wire.OutcomeFailed, message
}
