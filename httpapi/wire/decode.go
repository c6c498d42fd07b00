package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bounds of a request's JSON, apart from its size in bytes.
const (
	MaxDepth   = 32      // levels of nesting
	MaxValues  = 100_000 // values in all lists and objects together
	MaxMembers = 256     // members of an object that Members splits
)

// BadInput says what is wrong with a request: one of the Code constants, and a sentence that names the value.
type BadInput struct {
	Code   string
	Detail string
}

func (e *BadInput) Error() string { return e.Code + ": " + e.Detail }

func bad(code, format string, args ...any) *BadInput {
	return &BadInput{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// ReadAll reads at most limit bytes of r. If there are more, the error is a *BadInput with CodeBodyTooLarge. It returns
// other errors of r unchanged.
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(b)) > limit {
		return nil, bad(CodeBodyTooLarge, "the body is larger than the %d bytes that this route takes", limit)
	}
	return b, err
}

// Decode reads one JSON object from r into v, strictly: at most limit bytes and MaxDepth levels, no field that v does
// not have, and nothing after the object. The error of a bad input is a *BadInput.
func Decode(r io.Reader, limit int64, v any) error {
	b, err := ReadAll(r, limit)
	if err != nil {
		return err
	}
	return Unmarshal(b, v)
}

// Unmarshal is Decode for bytes.
func Unmarshal(b []byte, v any) error {
	if err := checkShape(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return explain(err, len(b))
	}
	return checkEnd(d)
}

// checkShape checks that b is an object, nests no deeper than MaxDepth and has at most MaxValues values. It runs before
// any code that allocates memory for the values.
func checkShape(b []byte) error {
	trimmed, err := trimToObject(b)
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
			return bad(CodeTooManyValues, "the body has more than %d values", MaxValues)
		}
	}
	return nil
}

// trimToObject removes leading blanks and checks that an object begins.
func trimToObject(b []byte) ([]byte, error) {
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

// checkEnd refuses what follows the object.
func checkEnd(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad(CodeTrailingData, "something follows the JSON object at byte %d", d.InputOffset())
	}
	return nil
}

// explain turns errors of encoding/json into sentences for the author of the request. The standard library has no type
// for the error of an unknown field, only this text.
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
		field := strings.TrimPrefix(err.Error(), "json: unknown field ")
		return bad(CodeUnknownField, "%s is not a field of this request", field)
	}
	return bad(CodeInvalidJSON, "%s", strings.TrimPrefix(err.Error(), "json: "))
}
