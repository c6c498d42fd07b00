package view

import (
	"strings"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// pattern is the pattern of a LIKE in parts. It compares by the collation: without case, but blanks at the end count,
// as in SQL Server.
type pattern []patternPart

// patternPart matches one character: of a set of ranges, or not of it. any text is the part that matches every length.
type patternPart struct {
	anyText bool
	not     bool
	ranges  [][2]rune
}

func parsePattern(column, text string) (pattern, error) {
	bad := func(want string) (pattern, error) {
		return nil, command.Refuse(command.CodeColumnValue, column, text, "pattern", want)
	}
	runes := foldedRunes(text)
	if len(runes) > maxPattern {
		return bad("a shorter one was expected")
	}
	var p pattern
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '%':
			p = append(p, patternPart{anyText: true})
		case '_':
			p = append(p, patternPart{not: true})
		case '[':
			end := i + 1
			for end < len(runes) && runes[end] != ']' {
				end++
			}
			if end == len(runes) {
				return bad("a ] behind each [ was expected; [[] is a [ itself")
			}
			p = append(p, parseSet(runes[i+1:end]))
			i = end
		default:
			p = append(p, patternPart{ranges: [][2]rune{{r, r}}})
		}
	}
	return p, nil
}

func parseSet(runes []rune) (part patternPart) {
	if len(runes) > 1 && runes[0] == '^' {
		part.not, runes = true, runes[1:]
	}
	for i := 0; i < len(runes); i++ {
		r := [2]rune{runes[i], runes[i]}
		if i+2 < len(runes) && runes[i+1] == '-' {
			r[1] = runes[i+2]
			i += 2
		}
		part.ranges = append(part.ranges, r)
	}
	return part
}

// foldedRunes are the characters of a text as the collation compares them, blanks at the end included.
func foldedRunes(s string) []rune {
	folded := []rune(sqltype.Fold(s))
	for range len(s) - len(strings.TrimRight(s, " ")) {
		folded = append(folded, ' ')
	}
	return folded
}

func (p *patternPart) takes(r rune) bool {
	for _, x := range p.ranges {
		if x[0] <= r && r <= x[1] {
			return !p.not
		}
	}
	return p.not
}

// matches goes back to the last % alone, so that it takes at most the product of both lengths.
func (p pattern) matches(text string) bool {
	runes := foldedRunes(text)
	at, i, star, mark := 0, 0, -1, 0
	for i < len(runes) {
		switch {
		case at < len(p) && p[at].anyText:
			star, mark = at, i
			at++
		case at < len(p) && p[at].takes(runes[i]):
			at++
			i++
		case star >= 0:
			mark++
			at, i = star+1, mark
		default:
			return false
		}
	}
	for at < len(p) && p[at].anyText {
		at++
	}
	return at == len(p)
}
