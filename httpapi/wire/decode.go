package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a request's JSON, whatever its size in bytes.
const (
	MaxDepth   = 32      // levels
	MaxValues  = 100_000 // of all its lists and objects
	MaxMembers = 256     // of a flat object: Members
)

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

// Shape tells whether b is an object, nests no deeper than MaxDepth and holds no more than MaxValues values; it runs
// before anything that takes memory for what b holds.
func Shape(b []byte) error {
	trimmed, err := object(b)
	if err != nil {
		return err
	}
	depth, values, inString, escaped := 0, 0, false, false
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
				return tooDeep()
			}
			values++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > MaxValues {
			return bad(CodeTooManyValues, "the body holds more than %d values", MaxValues)
		}
	}
	return nil
}

// object cuts leading blanks off and says whether an object follows.
func object(b []byte) ([]byte, error) {
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, bad(CodeInvalidJSON, "the body is empty; a JSON object was expected")
	}
	if trimmed[0] != '{' {
		return nil, bad(CodeInvalidJSON, "the body begins with %q; a JSON object was expected", trimmed[0])
	}
	return trimmed, nil
}

func tooDeep() error { return bad(CodeTooDeep, "the body nests deeper than %d levels", MaxDepth) }

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
