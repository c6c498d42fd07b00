package spool

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The documents say how much is recorded of a package's output.
func TestLimitsInDocuments(t *testing.T) {
	var l Limits
	l.fill()
	recorded := fmt.Sprintf("| messages of an attempt | %d,%03d, and %d MiB", l.Messages/1000, l.Messages%1000,
		l.Bytes>>20)
	for file, lines := range map[string][]string{
		"packages.md": {recorded},
		"limits.md":   {recorded, fmt.Sprintf("| messages that wait on a worker for the masters | %d MiB |", l.Total>>20)},
	} {
		raw, err := os.ReadFile("../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(raw), line) {
				t.Errorf("docs/%s does not say %q", file, line)
			}
		}
	}
}
