package sqltype

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not leave the program by accident. Printing and logging show that there is one, not what
// it is; every way of marshalling it is an error, since what was stored as a placeholder would be lost. Reveal alone
// gives the value away. It holds a pointer because package fmt reads unexported fields without asking their methods.
type Secret struct{ value *string }

// NewSecret keeps a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal is the value; "" of the zero Secret.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

const secretShown = "[secret]"

var errSecret = errors.New("a secret cannot be marshalled: seal it first")

// String hides the value.
func (s Secret) String() string { return secretShown }

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secretShown) }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(secretShown) }

// MarshalText fails, and so do encoding/xml and keys of encoding/json.
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalJSON fails.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalBinary fails.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errSecret }

// MarshalCBOR fails.
func (s Secret) MarshalCBOR() ([]byte, error) { return nil, errSecret }

// GobEncode fails.
func (s Secret) GobEncode() ([]byte, error) { return nil, errSecret }
