package registry_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"scaleout/fsm/registry"
)

// Each code stands once in Codes or StateCodes.
func TestEveryCodeIsDescribed(t *testing.T) {
	listed := map[string]int{}
	for _, c := range append(registry.Codes(), registry.StateCodes()...) {
		listed[c.Name]++
	}
	packages, err := filepath.Glob("../command/*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal(packages, err)
	}
	constant := regexp.MustCompile(`(?m)^\s+Code[A-Z]\w*\s*= "(\w+)"$`)
	found := 0
	for _, name := range packages {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
			found++
			if listed[m[1]] != 1 {
				t.Errorf("the code %s of %s is described %d times", m[1], name, listed[m[1]])
			}
		}
	}
	if found != len(listed) {
		t.Errorf("%d codes are described, %d exist", len(listed), found)
	}
}
