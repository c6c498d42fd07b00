package runner

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// docs/packages.md names the programs of every extension.
func TestProgramsInTheDocument(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/packages.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## What runs it\n")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`\\..*?) \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		for ext := range strings.FieldsSeq(m[1]) {
			rows[strings.Trim(ext, "`")] = m[2]
		}
	}
	for _, goos := range []string{"linux", "windows"} {
		for ext, p := range builtin(goos) {
			if ext == Dtsx32 {
				continue
			}
			row, ok := rows[ext]
			if !ok {
				t.Errorf("%s is missing", ext)
			}
			for _, line := range p.candidates {
				if name := path.Base(line[0]); !strings.Contains(row, name) {
					t.Errorf("%s: %q does not name %s", ext, row, name)
				}
			}
		}
	}
	for ext := range rows {
		if _, linux := builtin("linux")[ext]; !linux {
			if _, windows := builtin("windows")[ext]; !windows {
				t.Errorf("nothing runs %s", ext)
			}
		}
	}
	for code := range exitMeaning {
		if !regexp.MustCompile(`Exit codes [0-9, and]*\b` + string(rune('0'+code)) + `\b`).MatchString(section) {
			t.Errorf("the exit code %d of dtexec is missing", code)
		}
	}
}
