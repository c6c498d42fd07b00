package view

import (
	"strings"
	"unicode/utf8"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// pattern is the pattern of a LIKE. It compares by the collation: without case, but blanks at the end count, as in SQL
// Server. It belongs to one query, and one goroutine: matches writes to it.
//
// A place is a number of parts that are matched already. All places that a text can have reached are followed together,
// one bit each, so that a character costs a few instructions however long and mean the pattern is.
type pattern struct {
	parts []patternPart
	anyAt places // the places at which any text may stand
	now   places
	ascii [utf8.RuneSelf]places // masks of characters, as far as they are known
	masks map[rune]places       // of all others
}

// places is a set of places of a pattern.
type places []uint64

func (p places) set(i int)      { p[i/64] |= 1 << (i % 64) }
func (p places) has(i int) bool { return p[i/64]>>(i%64)&1 != 0 }

// maxMasks bounds the memory of one pattern: a text may have any number of characters.
const maxMasks = 1024

// patternPart matches one character: of a set of ranges, or not of it.
type patternPart struct {
	not    bool
	ranges [][2]rune
}

func parsePattern(column, text string) (*pattern, error) {
	bad := func(want string) (*pattern, error) {
		return nil, command.Refuse(command.CodeColumnValue, column, text, "pattern", want)
	}
	runes := foldedRunes(text)
	if len(runes) > maxPattern {
		return bad("a shorter one was expected")
	}
	set := func() places { return make(places, len(runes)/64+1) }
	p := &pattern{anyAt: set(), masks: map[rune]places{}, now: set()}
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '%':
			p.anyAt.set(len(p.parts))
		case '_':
			p.parts = append(p.parts, patternPart{not: true})
		case '[':
			end := i + 1
			for end < len(runes) && runes[end] != ']' {
				end++
			}
			if end == len(runes) {
				return bad("a ] behind each [ was expected; [[] is a [ itself")
			}
			p.parts = append(p.parts, parseSet(runes[i+1:end]))
			i = end
		default:
			p.parts = append(p.parts, patternPart{ranges: [][2]rune{{r, r}}})
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

// mask is the places whose next part takes a character.
func (p *pattern) mask(r rune) places {
	if r < utf8.RuneSelf && p.ascii[r] != nil {
		return p.ascii[r]
	}
	if m, ok := p.masks[r]; ok {
		return m
	}
	m := make(places, len(p.now))
	for i := range p.parts {
		if p.parts[i].takes(r) {
			m.set(i)
		}
	}
	if r < utf8.RuneSelf {
		p.ascii[r] = m
		return m
	}
	if len(p.masks) == maxMasks {
		clear(p.masks)
	}
	p.masks[r] = m
	return m
}

// step goes on by one character. It reports whether the rest of the text can still make a difference.
func (p *pattern) step(r rune) bool {
	mask, carry, left := p.mask(r), uint64(0), uint64(0)
	for i, now := range p.now {
		moved := now & mask[i]
		next := moved<<1 | carry | now&p.anyAt[i]
		p.now[i] = next
		carry = moved >> 63
		left |= next
	}
	all := len(p.parts)
	return left != 0 && !(p.now.has(all) && p.anyAt.has(all))
}

// matches takes a time that grows with the text alone, but for the first time that it meets a character.
func (p *pattern) matches(text string) bool {
	clear(p.now)
	p.now.set(0)
	for _, r := range sqltype.Fold(text) {
		if !p.step(r) {
			return p.now.has(len(p.parts))
		}
	}
	for range len(text) - len(strings.TrimRight(text, " ")) {
		if !p.step(' ') {
			break
		}
	}
	return p.now.has(len(p.parts))
}
