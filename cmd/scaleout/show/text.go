package show

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"scaleout/fsm/sqltype"
)

// Text is s as one line in which everything can be seen: control and format characters (Cc, Cf), line and paragraph
// separators and bytes that are not UTF-8 are written as escapes. A name, a message or an error that came from outside
// can so neither move the cursor, nor colour what follows, nor turn the direction of writing around, nor pretend to be
// a line of its own.
func Text(s string) string { return escape(s, "") }

// Lines is Text of each line of s: line ends and tabs stay.
func Lines(s string) string { return escape(s, "\n\t") }

// Indented is Lines with the lines after the first indented by n blanks, so that none of them looks like a new entry.
func Indented(s string, n int) string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	return strings.ReplaceAll(Lines(s), "\n", "\n"+strings.Repeat(" ", n))
}

// Clean reports whether Text would change nothing.
func Clean(s string) bool { return clean(s, "") }

func clean(s, keep string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
		if sqltype.Hidden(r) && !strings.ContainsRune(keep, r) {
			return false
		}
	}
	return true
}

func escape(s, keep string) string {
	if clean(s, keep) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\r' && strings.Contains(keep, "\n") && strings.HasPrefix(s[i+1:], "\n"):
			b.WriteByte('\r') // a line end of Windows
		case sqltype.Hidden(r) && !strings.ContainsRune(keep, r):
			b.WriteString(visible(r))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// visible is a character in the escapes of JSON: JSON that is printed on a terminal stays JSON of the same meaning, for
// such characters stand in its strings alone.
func visible(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if r >= 0x10000 {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
