package pki

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// GossipKeySize is the length in bytes of a gossip key (AES-256).
const GossipKeySize = 32

const (
	ringKeySize = 32
	nonceSize   = 12 // of what the cipher puts before a sealed text
)

// Errors of a key ring.
var (
	ErrUnknownKey  = errors.New("the key ring has no such key")
	ErrSealBroken  = errors.New("the sealed value cannot be opened")
	ErrKeyConflict = errors.New("two different keys have the same id")
	ErrBadKeyRing  = errors.New("the key ring is malformed")
)

// KeyRing holds AES-256-GCM keys by id. The newest seals, all of them open. It is
// safe for concurrent use. It never prints its keys.
type KeyRing struct {
	mu   sync.RWMutex
	keys []ringKey // oldest first
}

type ringKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`

	aead cipher.AEAD
}

// String hides the keys from log lines and error texts.
func (k *KeyRing) String() string { return fmt.Sprintf("key ring (%d keys)", k.Len()) }

// GoString hides the keys from %#v.
func (k *KeyRing) GoString() string { return k.String() }

// LogValue hides the keys from handlers that would otherwise log the ring as JSON.
func (k *KeyRing) LogValue() slog.Value { return slog.StringValue(k.String()) }

// NewKeyRing makes a ring with one random key.
func NewKeyRing() *KeyRing { return newKeyRing(time.Now()) }

func newKeyRing(now time.Time) *KeyRing {
	k := &KeyRing{}
	if _, err := k.AddKey(now); err != nil {
		// Only a broken cipher implementation could get here: the key's length is
		// a constant and crypto/rand does not fail.
		panic(err)
	}
	return k
}

// LoadKeyRing reads a ring from a file that Save wrote.
func LoadKeyRing(path string) (*KeyRing, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	k := &KeyRing{}
	if err := k.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// Save writes the ring to path: mode 0600, atomically.
func (k *KeyRing) Save(path string) error {
	data, err := k.MarshalJSON()
	if err != nil {
		return err
	}
	if err := writeFile(path, data, privateKeyMode); err != nil {
		return fmt.Errorf("key ring: %w", err)
	}
	return nil
}

// ringFile is a ring as it is kept and handed on. Without the sum a flipped bit would make another key of a key: all
// that was sealed with the right one could not be opened, and what the wrong one seals is lost when it goes.
type ringFile struct {
	Format int       `json:"format"`
	Keys   []ringKey `json:"keys"`
	SHA256 string    `json:"sha256"` // of the keys, as compact JSON
}

func (f *ringFile) sum() (string, error) {
	raw, err := json.Marshal(f.Keys)
	if err != nil {
		return "", errors.New("the keys could not be encoded")
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// MarshalJSON gives the ring with its keys in clear: for a 0600 file or a
// connection between masters, nowhere else.
func (k *KeyRing) MarshalJSON() ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	f := ringFile{Format: 1, Keys: k.keys}
	var err error
	if f.SHA256, err = f.sum(); err != nil {
		return nil, err
	}
	return json.MarshalIndent(f, "", "  ")
}

// UnmarshalJSON replaces the ring by what MarshalJSON gave.
func (k *KeyRing) UnmarshalJSON(data []byte) error {
	var f ringFile
	if err := json.Unmarshal(data, &f); err != nil {
		// The decoder's error may quote the input, and the input is keys.
		return fmt.Errorf("%w: not the expected JSON", ErrBadKeyRing)
	}
	if f.Format != 1 {
		return fmt.Errorf("%w: format %d; this program reads format 1", ErrBadKeyRing, f.Format)
	}
	if len(f.Keys) == 0 {
		return fmt.Errorf("%w: it holds no key", ErrBadKeyRing)
	}
	if sum, err := f.sum(); err != nil || sum != f.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is not the one that it names; take the file of another master, or of a backup",
			ErrBadKeyRing)
	}
	fresh := &KeyRing{}
	for _, key := range f.Keys {
		if _, err := fresh.add(key); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = fresh.keys
	return nil
}

// AddKey adds a random key, which seals from now on, and returns its id.
func (k *KeyRing) AddKey(now time.Time) (string, error) {
	id := make([]byte, 8)
	key := make([]byte, ringKeySize)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	created := now.UTC()
	// A clock that went back must not leave the new key behind an older one.
	if n := len(k.keys); n > 0 && !created.After(k.keys[n-1].Created) {
		created = k.keys[n-1].Created.Add(time.Nanosecond)
	}
	_, err := k.add(ringKey{ID: hex.EncodeToString(id), Created: created, Key: key})
	return hex.EncodeToString(id), err
}

// add puts a key in its place; the caller holds the lock.
func (k *KeyRing) add(key ringKey) (added bool, err error) {
	if key.ID == "" || len(key.ID) > 64 {
		return false, fmt.Errorf("%w: a key id of %d characters", ErrBadKeyRing, len(key.ID))
	}
	if len(key.Key) != ringKeySize {
		return false, fmt.Errorf("%w: key %s has %d bytes; want %d", ErrBadKeyRing, key.ID, len(key.Key), ringKeySize)
	}
	for _, have := range k.keys {
		if have.ID == key.ID {
			if !bytes.Equal(have.Key, key.Key) {
				return false, fmt.Errorf("%w: %s", ErrKeyConflict, key.ID)
			}
			return false, nil
		}
	}
	block, err := aes.NewCipher(key.Key)
	if err != nil {
		return false, err
	}
	// The library's own nonces are the only ones that FIPS 140 mode permits.
	if key.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return false, err
	}
	k.keys = append(slices.Clone(k.keys), key)
	slices.SortStableFunc(k.keys, func(a, b ringKey) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return bytes.Compare([]byte(a.ID), []byte(b.ID))
	})
	return true, nil
}

// Merge takes the keys of other that this ring lacks and reports whether there
// were any. The same id with another key is ErrKeyConflict and changes nothing.
func (k *KeyRing) Merge(other *KeyRing) (changed bool, err error) {
	if other == nil || other == k {
		return false, nil
	}
	other.mu.RLock()
	theirs := slices.Clone(other.keys)
	other.mu.RUnlock()

	k.mu.Lock()
	defer k.mu.Unlock()
	merged := &KeyRing{keys: k.keys}
	for _, key := range theirs {
		added, err := merged.add(key)
		if err != nil {
			return false, err
		}
		changed = changed || added
	}
	k.keys = merged.keys
	return changed, nil
}

// Len is the number of keys.
func (k *KeyRing) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.keys)
}

// Seal encrypts plaintext with the newest key under a random nonce. The same
// associated data must be given to Open: it ties the value to its place, so that
// a sealed value copied to another row does not open there.
func (k *KeyRing) Seal(plaintext, associated []byte) (keyID string, nonce, ciphertext []byte, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.keys) == 0 {
		return "", nil, nil, fmt.Errorf("%w: the ring is empty", ErrUnknownKey)
	}
	key := k.keys[len(k.keys)-1]
	sealed := key.aead.Seal(nil, nil, plaintext, associated)
	return key.ID, sealed[:nonceSize:nonceSize], sealed[nonceSize:], nil
}

// Open decrypts what Seal gave. ErrUnknownKey names a key that the ring lacks;
// ErrSealBroken means that the value, its nonce or its place was changed.
func (k *KeyRing) Open(keyID string, nonce, ciphertext, associated []byte) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.keys {
		if key.ID != keyID {
			continue
		}
		if len(nonce) != nonceSize {
			return nil, fmt.Errorf("%w: the nonce has %d bytes; want %d", ErrSealBroken, len(nonce), nonceSize)
		}
		plaintext, err := key.aead.Open(nil, nil, slices.Concat(nonce, ciphertext), associated)
		if err != nil {
			return nil, fmt.Errorf("%w with key %s: it was changed or belongs elsewhere", ErrSealBroken, keyID)
		}
		return plaintext, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownKey, keyID)
}

// LoadGossipKey reads the 32-byte key with which gossip is encrypted.
func LoadGossipKey(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("gossip key: %w", err)
	}
	key, err := decodeGossipKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func newGossipKey() ([]byte, error) {
	key := make([]byte, GossipKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return append([]byte(base64.StdEncoding.EncodeToString(key)), '\n'), nil
}

func decodeGossipKey(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(data)
	key, err := base64.StdEncoding.AppendDecode(nil, data)
	if err != nil {
		return nil, errors.New("the gossip key is not base64")
	}
	if len(key) != GossipKeySize {
		return nil, fmt.Errorf("the gossip key has %d bytes; want %d", len(key), GossipKeySize)
	}
	return key, nil
}
