package fsmtest

import (
	"os"
	"strings"
	"testing"
)

// Golden compares text with the file of that name in testdata, line by line.
func Golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(strings.TrimSpace(got), "\n"), strings.Split(strings.TrimSpace(string(want)), "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s, line %d:\n have %v\n want %v", name, i+1, a[min(i, len(a)):min(i+1, len(a))],
				b[min(i, len(b)):min(i+1, len(b))])
		}
	}
}
