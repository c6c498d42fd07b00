package ispac

import (
	"errors"
	"strconv"
	"strings"
)

// The kinds of refusal. Every error of Read, Extract, Write and the definition
// is a *PartError that wraps one of them, unless a reader, writer or visitor of
// the caller's failed: then it wraps that error instead.
var (
	// ErrFormat: the file is not a project file, or not a sound one.
	ErrFormat = errors.New("not a valid project file")
	// ErrPasswordRequired: the project is encrypted with a password and none was given.
	ErrPasswordRequired = errors.New("project password required")
	// ErrWrongPassword: the password given is not the project's.
	ErrWrongPassword = errors.New("wrong project password")
	// ErrUserKey: the project is encrypted for one Windows user; nobody else can read it.
	ErrUserKey = errors.New("project is encrypted with a user key")
	// ErrTooLarge: the file exceeds a bound of Options.
	ErrTooLarge = errors.New("project file too large")
)

// PartError says which part of a project file is at fault, and why.
type PartError struct {
	Part   string // plain name of the part, "" for the file as a whole
	Detail string // what is wrong, and what would be right
	Err    error  // the kind (one of this package's sentinels) or the caller's own error
}

// Error returns `part "NAME": detail`.
func (e *PartError) Error() string {
	var b strings.Builder
	if e.Part == "" {
		b.WriteString("project file")
	} else {
		b.WriteString("part ")
		b.WriteString(clip(e.Part))
	}
	b.WriteString(": ")
	b.WriteString(e.Detail)
	if e.Detail == "" && e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the kind of the error.
func (e *PartError) Unwrap() error { return e.Err }

func badPart(part, detail string) *PartError {
	return &PartError{Part: part, Detail: detail, Err: ErrFormat}
}

// clip quotes text from the file for an error message: short, one line, and
// with nothing in it that a terminal would obey.
func clip(s string) string {
	const most = 80
	r := []rune(s)
	if len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}
