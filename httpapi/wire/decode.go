package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxDepth is how deep a request may nest.
const MaxDepth = 32

// BadInput says what is wrong with a request, as one of the Code constants and a sentence that names the value.
type BadInput struct {
	Code   string
	Detail string
}

func (e *BadInput) Error() string { return e.Code + ": " + e.Detail }

func bad(code, format string, args ...any) *BadInput {
	return &BadInput{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// ReadAll reads at most limit bytes of r; one byte more is a BadInput with CodeBodyTooLarge. Other errors are r's own.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(b)) > limit {
		return nil, bad(CodeBodyTooLarge, "the body is larger than the %d bytes that this route takes", limit)
	}
	return b, err
}

// Decode reads one JSON object from r into v, strictly: at most limit bytes and MaxDepth levels, no field that v does
// not have, nothing after the object. What is wrong with the input is a *BadInput.
func Decode(r io.Reader, limit int64, v any) error {
	b, err := ReadAll(r, limit)
	if err != nil {
		return err
	}
	return Unmarshal(b, v)
}

// Unmarshal is Decode for bytes at hand.
func Unmarshal(b []byte, v any) error {
	if err := Shape(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return explain(err, len(b))
	}
	return trailing(d)
}

// Shape tells whether b is an object and nests no deeper than MaxDepth; it runs before anything recursive sees b.
func Shape(b []byte) error {
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 {
		return bad(CodeInvalidJSON, "the body is empty; a JSON object was expected")
	}
	if trimmed[0] != '{' {
		return bad(CodeInvalidJSON, "the body begins with %q; a JSON object was expected", trimmed[0])
	}
	depth, inString, escaped := 0, false, false
	for _, c := range trimmed {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return bad(CodeTooDeep, "the body nests deeper than %d levels", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func trailing(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad(CodeTrailingData, "something follows the JSON object at byte %d", d.InputOffset())
	}
	return nil
}

// explain turns encoding/json's errors into sentences for whoever wrote the request. The standard library has no type
// for an unknown field, only this text.
func explain(err error, size int) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "the body"
		}
		return bad(CodeInvalidArgument, "%s: %s was given where %s was expected", field, kind.Value, kind.Type)
	case errors.As(err, &syntax):
		return bad(CodeInvalidJSON, "not JSON at byte %d: %s", syntax.Offset, syntax)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return bad(CodeInvalidJSON, "the JSON ends at byte %d before it is complete", size)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return bad(CodeUnknownField, "%s is not a field of this request", strings.TrimPrefix(err.Error(), "json: unknown field "))
	}
	return bad(CodeInvalidJSON, "%s", strings.TrimPrefix(err.Error(), "json: "))
}

// DuplicateKey is the first name that stands twice at the top level of an object, "" when there is none. encoding/json
// would keep the last one.
func DuplicateKey(b []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return "", explain(err, len(b))
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return "", explain(err, len(b))
		}
		name, _ := t.(string)
		if seen[name] {
			return name, nil
		}
		seen[name] = true
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return "", explain(err, len(b))
		}
	}
	return "", nil
}
