package catalog

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"scaleout/fsm/sqltype"
)

func thousands(n int) string {
	if n >= 1_000_000 {
		return fmt.Sprintf("%d,%03d,%03d", n/1_000_000, n/1000%1000, n%1000)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// What the documents say of this package's own bounds is so.
func TestBoundsInDocuments(t *testing.T) {
	days := map[string]string{}
	for _, p := range defaults {
		days[p.Name] = p.Value
	}
	for file, lines := range map[string][]string{
		"limits.md": {
			fmt.Sprintf("| life of a key that a caller chose | %d h |", chosenLifetime/time.Hour),
			fmt.Sprintf("passes a call on | %d min |", libraryLifetime/time.Minute),
			"| keys of callers that are kept | " + thousands(chosenLimit) + ", half of them for one caller |",
			"| keys of libraries that are kept | " + thousands(libraryLimit) + ", half of them for one caller |",
			"| events | the newest " + thousands(keptEvents) + " |",
			"with their messages and values | " + days["RETENTION_WINDOW"] + " days |",
			"| versions of a project | " + days["MAX_PROJECT_VERSIONS"] + ", the current one",
			"| names of packages in metrics | the first " + thousands(mostTallies) + " |",
			fmt.Sprintf("| `RUN_TIMEOUT` | none; %d days at most |", maxTimeout/(24*time.Hour)),
			fmt.Sprintf("| text of a `sql_variant` | %s characters |", thousands(sqltype.MaxVariant)),
			fmt.Sprintf("| Tags of a worker | %d KiB |", mostTags>>10),
			fmt.Sprintf("it doubles from %d s to %d min |", shortestReturnWait/time.Second, longestReturnWait/time.Minute),
		},
		"api.md": {
			fmt.Sprintf("A key that a caller chose is kept for %d h, one with `Scaleout-Key-Origin: library` for %d min",
				chosenLifetime/time.Hour, libraryLifetime/time.Minute),
			"Kept are " + thousands(chosenLimit) + " chosen keys and " + thousands(libraryLimit) +
				" others; half of each for one caller",
			"The newest " + thousands(keptEvents) + " events are kept",
		},
		"reliability.md": {
			fmt.Sprintf("| %d min | %s | %s |", libraryLifetime/time.Minute, thousands(libraryLimit), thousands(libraryLimit/2)),
			fmt.Sprintf("| %d h | %s | %s |", chosenLifetime/time.Hour, thousands(chosenLimit), thousands(chosenLimit/2)),
		},
	} {
		raw, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(strings.ReplaceAll(string(raw), "\n", " "), line) {
				t.Errorf("docs/%s does not have %q", file, line)
			}
		}
	}
	for _, o := range options {
		raw, err := os.ReadFile("../../docs/api.md")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), "`"+o.Name+"`") {
			t.Errorf("docs/api.md does not have the option %s", o.Name)
		}
	}
}
