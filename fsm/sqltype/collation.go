package sqltype

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// CollationLevel numbers the collation: the tables in collation_table.go and the rules of Fold. Whether a name exists
// depends on them, so nodes must change them together: a change is a new number that the cluster's feature level
// switches on, beside the old one, never an edit. docs/decisions says why.
const CollationLevel = 1

// foldRange gives each stride-th character from low to high the key that lies delta away.
type foldRange struct{ low, high, stride, delta int32 }

// foldLow is foldRune of the characters of most names: Latin, Greek, Cyrillic.
var foldLow = func() (keys [0x530]rune) {
	for r := range keys {
		switch r := rune(r); {
		case 'A' <= r && r <= 'Z':
			keys[r] = r + 'a' - 'A'
		default:
			keys[r] = searchFold(r)
		}
	}
	return keys
}()

// foldRune is the key of a character: of all characters that differ from it in case alone the one with the smallest
// number, of the letters A to Z the small one.
func foldRune(r rune) rune {
	if 0 <= r && int(r) < len(foldLow) {
		return foldLow[r]
	}
	return searchFold(r)
}

func searchFold(r rune) rune {
	low, high := 0, len(foldRanges)
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch f := &foldRanges[middle]; {
		case r < f.low:
			high = middle
		case r > f.high:
			low = middle + 1
		default:
			if f.stride == 1 || (r-f.low)%f.stride == 0 {
				r += f.delta
			}
			return r
		}
	}
	return r
}

// trimBlanks cuts the blanks at the end of a text, which SQL Server does not see when it compares.
func trimBlanks(s string) string {
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// Fold is the key of a text: two texts are equal in the collation exactly if their keys are the same bytes, and in its
// order they stand as their keys' bytes do. It neither allocates nor copies where s is its own key already.
func Fold(s string) string {
	s = trimBlanks(s)
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return foldFrom(s, i)
		}
	}
	return s
}

// foldFrom folds s, whose first i bytes are their own key.
func foldFrom(s string, i int) string {
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for i < len(s) {
		r, n := foldAt(s, i)
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// foldAt is the key of the character at s[i], and how many bytes the character takes. What is not UTF-8 counts as
// U+FFFD.
func foldAt(s string, i int) (rune, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return rune(lowerASCII(c)), 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return foldRune(r), n
}

// EqualText reports whether two texts are equal in the collation: whether Fold makes them the same.
func EqualText(a, b string) bool {
	return a == b || compareKeys(trimBlanks(a), trimBlanks(b)) == 0
}

// CompareText orders two texts by the collation, as strings.Compare orders what Fold makes of them.
func CompareText(a, b string) int {
	if a == b {
		return 0
	}
	return compareKeys(trimBlanks(a), trimBlanks(b))
}

// compareKeys compares what is ASCII byte by byte, and leaves the rest to compareRunes.
func compareKeys(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		x, y := a[i], b[i]
		if x|y >= utf8.RuneSelf {
			return compareRunes(a[i:], b[i:])
		}
		if x == y {
			continue
		}
		if x, y = lowerASCII(x), lowerASCII(y); x != y {
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareRunes(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			if x, y = foldRune(x), foldRune(y); x != y {
				return cmp.Compare(x, y)
			}
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

// Blank reports whether a character is white space (the property White_Space, frozen with the collation).
func Blank(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r == ' ', r == 0x85, r == 0xA0, r == 0x1680, r >= 0x2000 && r <= 0x200A, r == 0x2028,
		r == 0x2029, r == 0x202F, r == 0x205F, r == 0x3000:
		return true
	}
	return false
}

// Hidden reports whether a character shows as nothing, or changes how what is around it shows: control and format
// characters and the separators of lines and paragraphs (the categories Cc, Cf, Zl and Zp, frozen with the collation).
// A name that holds one can be taken for another, and a terminal may obey it.
func Hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7F
	}
	for _, h := range hiddenRanges {
		if r <= h[1] {
			return r >= h[0]
		}
	}
	return false
}
