package command

import "time"

// Time is an instant of the replicated state in nanoseconds since 1970 UTC; zero means "not set". It is a number so
// that every node encodes, compares and hashes it alike.
type Time int64

// At converts t; the zero time becomes the zero Time.
func At(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixNano())
}

// Time converts to UTC; the zero Time becomes the zero time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// MaxSpanMs bounds the spans of time that workers and settings bring into the state, about 34 years: sums and multiples
// of them with a time of ours, and what a leader adds to a lease, are far from an overflow.
const MaxSpanMs = 1 << 40

// MaxAttemptMessages bounds how many messages an attempt can be said to have.
const MaxAttemptMessages = 1 << 40

// Span is a number of milliseconds as a duration, within 0 and MaxSpanMs.
func Span(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), MaxSpanMs)) * time.Millisecond
}

// Sealed is a secret under a key of the cluster's key ring (AES-256-GCM). Its associated data names the row and the
// column that it belongs to, so that a sealed value copied elsewhere does not open.
type Sealed struct {
	KeyID      string `cbor:"1,keyasint"`
	Nonce      []byte `cbor:"2,keyasint"`
	Ciphertext []byte `cbor:"3,keyasint"`
}

// Value is one typed value of a parameter. Type is the SSISDB data type name ("Int32", "String", "Boolean",
// "DateTime", …); Text its canonical form (package ispac, FormatValue). A sensitive value has Sealed instead of Text.
type Value struct {
	Type   string  `cbor:"1,keyasint"`
	Text   string  `cbor:"2,keyasint,omitempty"`
	Sealed *Sealed `cbor:"3,keyasint,omitempty"`
}

// Role names of SSISDB that a user's certificate can carry.
const (
	RoleAdmin    = "ssis_admin"
	RoleExecutor = "ssis_cluster_executor"
	RoleWorker   = "ssis_cluster_worker"
	RoleReader   = "ssis_logreader"
	RoleMonitor  = "ssis_monitor"
)

// Caller is the verified identity behind a command: the kind of its certificate ("user", "worker", "master"), the
// name in it and a user's SSISDB roles.
type Caller struct {
	Kind  string   `cbor:"1,keyasint"`
	Name  string   `cbor:"2,keyasint"`
	Roles []string `cbor:"3,keyasint,omitempty"`
}

// Is reports whether the caller is a user with one of the roles. An administrator has every role.
func (c Caller) Is(roles ...string) bool {
	if c.Kind != "user" {
		return false
	}
	for _, have := range c.Roles {
		if have == RoleAdmin {
			return true
		}
		for _, want := range roles {
			if have == want {
				return true
			}
		}
	}
	return false
}

// String is the caller as it appears in caller_name columns.
func (c Caller) String() string { return c.Name }
