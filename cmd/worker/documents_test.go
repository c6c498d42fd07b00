package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"scaleout/cmd/worker/guard"
)

// docs/packages.md and docs/limits.md say what holds on a worker.
func TestBoundsInDocuments(t *testing.T) {
	c := Config{Masters: struct{ Masters }{}, DataDirectory: t.TempDir(), DisplayName: "w"}
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	for file, lines := range map[string][]string{
		"packages.md": {
			fmt.Sprintf("is killed %d s later", guard.DefaultGrace/time.Second),
			fmt.Sprintf("the tree is asked %d s before the lease's end", guardMargin/time.Second),
			fmt.Sprintf("but for its last %d lines", lastLines),
			fmt.Sprintf("| that file | %d MiB: ", guard.DefaultMaxOutputBytes>>20),
			fmt.Sprintf("nothing runs from them | %d GiB |", c.CacheBytes>>30),
			fmt.Sprintf("| folders of ended attempts | %d, for %d days at most |", c.KeepTasks, c.KeepFor/(24*time.Hour)),
			"each sensitive value of six bytes or more", // guard.MinSecret, below
		},
		"limits.md": {
			fmt.Sprintf("| from a stop's request to the kill | %d s |", guard.DefaultGrace/time.Second),
			fmt.Sprintf("| output of an attempt in its task folder | %d MiB |", guard.DefaultMaxOutputBytes>>20),
			fmt.Sprintf("but for its last %d lines", lastLines),
			fmt.Sprintf("| a sensitive value that is masked in the output | %d bytes at least |", guard.MinSecret),
			fmt.Sprintf("| task folders on a worker | %d, for %d days |", c.KeepTasks, c.KeepFor/(24*time.Hour)),
			fmt.Sprintf("that nothing runs from | %d GiB |", c.CacheBytes>>30),
		},
	} {
		raw, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(strings.ReplaceAll(string(raw), "\n", " "), line) {
				t.Errorf("docs/%s does not say %q", file, line)
			}
		}
	}
}
