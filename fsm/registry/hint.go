package registry

import (
	"fmt"
	"strings"

	"scaleout/fsm/sqltype"
)

// Hint ends a sentence that says that there is no such name: with the names that were probably meant, else with those
// that there are.
func Hint(name string, names []string) string {
	if meant := Meant(name, names); meant != "" {
		return meant
	}
	switch len(names) {
	case 0:
		return "; it has none"
	case 1:
		return "; there is " + names[0]
	}
	return "; there are " + strings.Join(names, ", ")
}

// mostMeant is how many names a hint offers. When more are equally near, the name tells nothing about what was meant.
const mostMeant = 3

// Meant is Hint for a sentence that does not list the names: "" when no name is near, or too many are.
func Meant(name string, names []string) string {
	bare := strings.TrimPrefix(sqltype.Fold(name), "@")
	bare = strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(bare, "[", ""), "]", ""), "catalog.")
	var nearest []string
	least := mostEdits + 1
	for _, n := range names {
		key := sqltype.Fold(n)
		d := edits(bare, key)
		if d > tolerance(bare, key) || d > least {
			continue
		}
		if d < least {
			least, nearest = d, nil
		}
		nearest = append(nearest, n)
	}
	switch n := len(nearest); {
	case n == 0 || n > mostMeant:
		return ""
	case least == 0 && bare != sqltype.Fold(name):
		return fmt.Sprintf("; write %s, without a prefix", nearest[0])
	case n == 1:
		return fmt.Sprintf("; did you mean %s?", nearest[0])
	default:
		return fmt.Sprintf("; did you mean %s or %s?", strings.Join(nearest[:n-1], ", "), nearest[n-1])
	}
}

const mostEdits = 3

// tolerance is how many edits may lie between two names of which one was meant: in a short name, a few edits make
// another name. The dashes before a flag do not count.
func tolerance(a, b string) int {
	switch n := min(len(strings.TrimLeft(a, "-")), len(strings.TrimLeft(b, "-"))); {
	case n < 2:
		return 0
	case n < 5:
		return 1
	case n < 12:
		return 2
	}
	return mostEdits
}

// edits is how many characters must be inserted, left out, replaced or swapped with their neighbour to make b of a:
// the Levenshtein distance with swaps. It is cut off for what is obviously far apart.
func edits(a, b string) int {
	from, to := []rune(a), []rune(b)
	if d := len(from) - len(to); d > mostEdits || d < -mostEdits {
		return mostEdits + 1
	}
	before, last, row := make([]int, len(to)+1), make([]int, len(to)+1), make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range from {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range to {
			cost := 1
			if from[i] == to[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(to)]
}
