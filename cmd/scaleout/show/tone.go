package show

import "strings"

// Tone is the colour of a value, by what it means. Without colours it says nothing, so a word must say it too.
type Tone int

// What a value can mean.
const (
	Plain Tone = iota
	Good
	Bad
	Warn
	Busy
	Faint
	heading
)

var codes = map[Tone]string{Good: "32", Bad: "31", Warn: "33", Busy: "36", Faint: "2", heading: "1"}

// colour is s in the colour of its tone. s must be visible already, as Text makes it.
func colour(screen Screen, tone Tone, s string) string {
	code := codes[tone]
	if !screen.Colour || code == "" || s == "" {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = "\x1b[" + code + "m" + line + "\x1b[0m"
	}
	return strings.Join(lines, "\n")
}
