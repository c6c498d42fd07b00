package archive

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrWrongKey: the passphrase or the key file is not the one that the key ring was wrapped with.
var ErrWrongKey = errors.New("the passphrase or key file is not the one of this backup")

// How a wrapping key is derived from a secret.
const (
	FromPassphrase = "pbkdf2-sha256" // from a passphrase that a person remembers: slow on purpose
	FromKeyFile    = "hkdf-sha256"   // from a file with at least 32 random bytes
)

// KeySize is the length of a wrapping key (AES-256).
const KeySize = 32

const (
	iterations    = 1_000_000
	minIterations = 100_000
	maxIterations = 20_000_000 // a file must not keep its reader busy for ever
	saltSize      = 32
	minKeyFile    = 32
)

// Lock says how the key that encrypts a key ring is derived. It is not secret.
type Lock struct {
	Derivation string `json:"derivation"`
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations,omitempty"`
}

// NewLock returns a lock with a new random salt.
func NewLock(derivation string) Lock {
	l := Lock{Derivation: derivation, Salt: make([]byte, saltSize)}
	if derivation == FromPassphrase {
		l.Iterations = iterations
	}
	_, _ = rand.Read(l.Salt) // never fails
	return l
}

// Key derives the wrapping key from a passphrase or from the content of a key file.
func (l Lock) Key(secret []byte) ([]byte, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	switch {
	case len(secret) == 0:
		return nil, errors.New("the passphrase or key file is empty")
	case l.Derivation == FromPassphrase:
		return pbkdf2.Key(sha256.New, string(secret), l.Salt, l.Iterations, KeySize)
	case len(secret) < minKeyFile:
		return nil, fmt.Errorf("the key file has %d bytes; at least %d random ones are needed (openssl rand -base64 32)",
			len(secret), minKeyFile)
	}
	return hkdf.Key(sha256.New, secret, l.Salt, "scaleout backup", KeySize)
}

// Check returns an error for a lock that this version would not make.
func (l Lock) Check() error {
	switch {
	case len(l.Salt) < 16:
		return fmt.Errorf("%w: a salt of %d bytes", ErrDamaged, len(l.Salt))
	case l.Derivation == FromKeyFile && l.Iterations == 0:
	case l.Derivation == FromPassphrase && l.Iterations >= minIterations && l.Iterations <= maxIterations:
	default:
		return fmt.Errorf("%w: a key made by %.40q with %d iterations", ErrDamaged, l.Derivation, l.Iterations)
	}
	return nil
}

// wrapped is the content of the entry NameKeyRing.
type wrapped struct {
	Lock   Lock   `json:"lock"`
	Sealed []byte `json:"sealed"` // the nonce, then the ciphertext
}

func gcm(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a wrapping key of %d bytes; %d were expected", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block) // FIPS 140 mode permits no other nonces
}

// associated returns the associated data that ties an encrypted key ring to its cluster and lock.
func associated(l Lock, cluster string) ([]byte, error) {
	return json.Marshal(struct {
		Lock    Lock
		Cluster string
	}{l, cluster})
}

// Wrap encrypts a key ring for an archive of the cluster.
func Wrap(ring, key []byte, l Lock, cluster string) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	data, err := associated(l, cluster)
	if err != nil {
		return nil, err
	}
	return json.Marshal(wrapped{Lock: l, Sealed: aead.Seal(nil, nil, ring, data)})
}

// LockOf returns the lock of a key ring that Wrap has encrypted.
func LockOf(wrappedRing []byte) (Lock, error) {
	var w wrapped
	if err := json.Unmarshal(wrappedRing, &w); err != nil {
		return Lock{}, fmt.Errorf("%w: its key ring: %w", ErrDamaged, err)
	}
	return w.Lock, w.Lock.Check()
}

// Unwrap decrypts what Wrap has encrypted. It returns ErrWrongKey if the key is another one.
func Unwrap(wrappedRing, key []byte, cluster string) ([]byte, error) {
	var w wrapped
	if err := json.Unmarshal(wrappedRing, &w); err != nil {
		return nil, fmt.Errorf("%w: its key ring: %w", ErrDamaged, err)
	}
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	data, err := associated(w.Lock, cluster)
	if err != nil {
		return nil, err
	}
	if len(w.Sealed) < aead.Overhead() {
		return nil, fmt.Errorf("%w: its key ring is sealed in %d bytes", ErrDamaged, len(w.Sealed))
	}
	ring, err := aead.Open(nil, nil, w.Sealed, data)
	if err != nil {
		return nil, ErrWrongKey
	}
	return ring, nil
}
