package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Caller is an identity on its way between two masters.
type Caller struct {
	Kind  string   `json:"kind"` // "user", "worker" or "master"
	Name  string   `json:"name"`
	Roles []string `json:"roles,omitempty"`
}

// EncodeCaller writes an identity as a header value: names may hold what a header may not.
func EncodeCaller(c Caller) string {
	b, err := json.Marshal(c)
	if err != nil { // strings and lists of strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCaller reads what EncodeCaller wrote.
func DecodeCaller(s string) (Caller, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Caller{}, fmt.Errorf("identity header: %w", err)
	}
	var c Caller
	if err := Unmarshal(b, &c); err != nil {
		return Caller{}, fmt.Errorf("identity header: %w", err)
	}
	if c.Kind == "" || c.Name == "" {
		return Caller{}, fmt.Errorf("identity header: kind %q and name %q must both be set", c.Kind, c.Name)
	}
	return c, nil
}
