package archive

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestKeyRingIsEncrypted(t *testing.T) {
	for derivation, secret := range map[string]string{
		FromPassphrase: "correct horse", FromKeyFile: strings.Repeat("k", 44),
	} {
		t.Run(derivation, func(t *testing.T) {
			l := NewLock(derivation)
			if derivation == FromPassphrase {
				l.Iterations = minIterations
			}
			key, err := l.Key([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			wrapped, err := Wrap([]byte("ring"), key, l, "c1")
			if err != nil || bytes.Contains(wrapped, []byte("ring")) {
				t.Fatal(string(wrapped), err)
			}
			read, err := LockOf(wrapped)
			if err != nil {
				t.Fatal(err)
			}
			again, err := read.Key([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			if ring, err := Unwrap(wrapped, again, "c1"); err != nil || string(ring) != "ring" {
				t.Error(string(ring), err)
			}
			wrong, err := read.Key([]byte(secret + "x"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Unwrap(wrapped, wrong, "c1"); !errors.Is(err, ErrWrongKey) {
				t.Error("another secret:", err)
			}
			if _, err := Unwrap(wrapped, again, "c2"); !errors.Is(err, ErrWrongKey) {
				t.Error("another cluster:", err)
			}
		})
	}
}

func TestLocksThatAreRefused(t *testing.T) {
	salt := make([]byte, saltSize)
	for name, l := range map[string]Lock{
		"empty":              {},
		"too few iterations": {Derivation: FromPassphrase, Salt: salt, Iterations: 1},
		"endless iterations": {Derivation: FromPassphrase, Salt: salt, Iterations: 1 << 40},
		"unknown derivation": {Derivation: "none", Salt: salt},
		"short salt":         {Derivation: FromKeyFile, Salt: salt[:15]},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := l.Key(bytes.Repeat([]byte("k"), minKeyFile)); !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
		})
	}
	if _, err := NewLock(FromKeyFile).Key([]byte("short")); err == nil {
		t.Error("a short key file is accepted")
	}
}
