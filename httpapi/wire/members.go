package wire

import (
	"bytes"
	"encoding/json"
)

// maxMemberName bounds the bytes of a member's name, as it is written in the JSON text.
const maxMemberName = 1024

// Members splits an object into its members in one pass. The values share the memory of b. Each value is valid JSON of
// at most MaxDepth levels. The object has at most MaxMembers members, and no name occurs twice: encoding/json would
// silently keep the last one. The error of a bad input is a *BadInput.
func Members(b []byte) (map[string]json.RawMessage, error) {
	trimmed, err := trimToObject(b)
	if err != nil {
		return nil, err
	}
	w := scanner{b: b, at: len(b) - len(trimmed) + 1}
	members := map[string]json.RawMessage{}
	if w.blanks(); w.next() == '}' {
		w.at++
		return members, w.end()
	}
	for {
		name, err := w.name()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, bad(CodeInvalidArgument, "%.64q is given twice", name)
		}
		if len(members) == MaxMembers {
			return nil, bad(CodeTooManyValues, "the object has more than %d members", MaxMembers)
		}
		if members[name], err = w.value(); err != nil {
			return nil, err
		}
		switch w.blanks(); w.next() {
		case ',':
			w.at++
			w.blanks()
		case '}':
			w.at++
			return members, w.end()
		default:
			return nil, w.unexpected("a comma or the end of the object")
		}
	}
}

// scanner is a position in a JSON text.
type scanner struct {
	b  []byte
	at int
}

// next returns the byte at the position, and 0 at the end. Outside of strings a 0 in the text is invalid, too, so the
// callers need not distinguish the two.
func (w *scanner) next() byte {
	if w.at < len(w.b) {
		return w.b[w.at]
	}
	return 0
}

func (w *scanner) blanks() {
	for w.at < len(w.b) {
		switch w.b[w.at] {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return
		}
	}
}

func (w *scanner) unexpected(want string) error {
	if w.at >= len(w.b) {
		return bad(CodeInvalidJSON, "the JSON ends at byte %d before it is complete", len(w.b))
	}
	return bad(CodeInvalidJSON, "not JSON at byte %d: %q where %s was expected", w.at+1, w.b[w.at], want)
}

func (w *scanner) end() error {
	if w.blanks(); w.at < len(w.b) {
		return bad(CodeTrailingData, "something follows the JSON object at byte %d", w.at)
	}
	return nil
}

// name reads the name of a member and the colon after it.
func (w *scanner) name() (string, error) {
	if w.next() != '"' {
		return "", w.unexpected("the name of a member")
	}
	from := w.at
	if err := w.text(); err != nil {
		return "", err
	}
	if n := w.at - from; n > maxMemberName {
		return "", bad(CodeInvalidArgument, "a name has %d bytes; at most %d are taken", n, maxMemberName)
	}
	var name string
	if err := json.Unmarshal(w.b[from:w.at], &name); err != nil {
		return "", bad(CodeInvalidJSON, "not JSON at byte %d: %s", from+1, err)
	}
	if w.blanks(); w.next() != ':' {
		return "", w.unexpected("a colon")
	}
	w.at++
	w.blanks()
	return name, nil
}

// text skips a string.
func (w *scanner) text() error {
	for w.at++; w.at < len(w.b); w.at++ {
		switch c := w.b[w.at]; {
		case c == '"':
			w.at++
			return nil
		case c < ' ':
			return w.unexpected("an escape")
		case c == '\\':
			if w.at++; w.next() == 'u' {
				for range 4 {
					if w.at++; !hexDigit(w.next()) {
						return w.unexpected("a hexadecimal digit")
					}
				}
			} else if bytes.IndexByte([]byte(`"\/bfnrt`), w.next()) < 0 {
				return w.unexpected("an escaped character")
			}
		}
	}
	return w.unexpected("the end of the string")
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// value skips a value and returns it.
func (w *scanner) value() (json.RawMessage, error) {
	from := w.at
	switch w.next() {
	case '"':
		err := w.text()
		return w.b[from:w.at:w.at], err
	case '{', '[':
		if err := w.composite(); err != nil {
			return nil, err
		}
	default:
		for w.at < len(w.b) && bytes.IndexByte([]byte(",}] \t\r\n"), w.b[w.at]) < 0 {
			w.at++
		}
		if w.at == from {
			return nil, w.unexpected("a value")
		}
	}
	raw := json.RawMessage(w.b[from:w.at:w.at])
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, bad(CodeInvalidJSON, "not JSON from byte %d on: %s", from+1, err)
	}
	return raw, nil
}

// composite skips a list or an object, up to and including the bracket that ends it.
func (w *scanner) composite() error {
	for depth := 1; ; { // the object of the members is the first level
		switch w.next() {
		case '"':
			if err := w.text(); err != nil {
				return err
			}
			continue
		case '{', '[':
			if depth++; depth > MaxDepth {
				return tooDeep()
			}
		case '}', ']':
			depth--
		case 0:
			return w.unexpected("the end of the value")
		}
		if w.at++; depth == 1 {
			return nil
		}
	}
}
