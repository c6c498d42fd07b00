package registry

import (
	"fmt"
	"strings"
)

// Hint ends a sentence that says that there is no such name: with the one that was probably meant, else with those that
// there are.
func Hint(name string, names []string) string {
	bare := strings.TrimPrefix(strings.ToLower(name), "@")
	bare = strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(bare, "[", ""), "]", ""), "catalog.")
	best, distance := "", 3
	for _, n := range names {
		if d := edits(bare, strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	switch {
	case best != "" && distance == 0:
		return fmt.Sprintf("; write %s, without a prefix", best)
	case best != "":
		return fmt.Sprintf("; did you mean %s?", best)
	case len(names) == 0:
		return "; it has none"
	}
	return "; there are " + strings.Join(names, ", ")
}

// edits is the Levenshtein distance, cut off for what is obviously far apart.
func edits(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
