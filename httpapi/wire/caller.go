package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Caller is the identity of a caller as one master sends it to another.
type Caller struct {
	Kind  string   `json:"kind"` // "user", "worker" or "master"
	Name  string   `json:"name"`
	Roles []string `json:"roles,omitempty"`
}

// EncodeCaller encodes an identity as a header value: names may contain characters that a header may not.
func EncodeCaller(c Caller) string {
	b, err := json.Marshal(c)
	if err != nil { // impossible: strings and lists of strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCaller decodes what EncodeCaller returned.
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
