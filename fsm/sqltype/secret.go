package sqltype

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not leave the program by accident. Printing and logging show that there is one, not what
// it is; every way of marshalling it is an error, since what was stored as a placeholder would be lost. Reveal alone
// gives the value away. Package fmt reads unexported fields without asking their methods, and follows a pointer to a
// map or to bytes when a verb does not fit; it never follows a pointer to a pointer.
//
// Secret[string] is a text, such as a password; Secret[any] the Go value of a sql_variant.
type Secret[T any] struct{ value **T }

// NewSecret keeps a value.
func NewSecret[T any](value T) Secret[T] {
	at := &value
	return Secret[T]{&at}
}

// Reveal is the value; the zero value of the zero Secret.
func (s Secret[T]) Reveal() (value T) {
	if s.value != nil {
		value = **s.value
	}
	return value
}

const secretShown = "[secret]"

var errSecret = errors.New("a secret cannot be marshalled: seal it first")

// String hides the value.
func (s Secret[T]) String() string { return secretShown }

// Format hides the value from every verb.
func (s Secret[T]) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secretShown) }

// LogValue hides the value.
func (s Secret[T]) LogValue() slog.Value { return slog.StringValue(secretShown) }

// MarshalText fails, and so do encoding/xml and keys of encoding/json.
func (s Secret[T]) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalJSON fails.
func (s Secret[T]) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalBinary fails.
func (s Secret[T]) MarshalBinary() ([]byte, error) { return nil, errSecret }

// MarshalCBOR fails.
func (s Secret[T]) MarshalCBOR() ([]byte, error) { return nil, errSecret }

// GobEncode fails.
func (s Secret[T]) GobEncode() ([]byte, error) { return nil, errSecret }
