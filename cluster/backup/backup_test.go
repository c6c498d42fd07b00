package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sample(t testing.TB, blobs ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	put := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	err := w.Document(TypeMetadata, Metadata{Format: Format, Created: time.Unix(1, 0).UTC(), Cluster: "c1", Index: 7, Blobs: true})
	for _, step := range []func() error{
		func() error { return w.Part(TypeState, "", put(strings.Repeat("state ", 9))) },
		func() error {
			for _, b := range blobs {
				if err := w.Part(TypeBlob, digest(b), put(b)); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return w.Close([]string{"gone"}) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	big := strings.Repeat("0123456789", chunkSize/5)
	var seen []string
	meta, end, err := Read(bytes.NewReader(sample(t, big, "")), func(p Part, r io.Reader) error {
		raw, err := io.ReadAll(r)
		seen = append(seen, fmt.Sprint(p.Type, " ", len(raw)))
		if p.Type == TypeBlob && digest(string(raw)) != p.Name {
			t.Errorf("the blob %s has other bytes", p.Name)
		}
		return err
	})
	if err != nil || meta.Cluster != "c1" || meta.Index != 7 || !slices.Equal(end.Missing, []string{"gone"}) || len(end.Parts) != 4 {
		t.Fatal(meta, end, err)
	}
	if !slices.Equal(seen[1:], []string{"state 54", fmt.Sprint("blob ", len(big)), "blob 0"}) {
		t.Errorf("seen %q", seen)
	}
	half, _, err := Read(bytes.NewReader(sample(t, big)), func(p Part, r io.Reader) error {
		_, err := io.CopyN(io.Discard, r, 3) // who does not read to the end does no harm
		return err
	})
	if err != nil || half.Cluster != "c1" {
		t.Error(half, err)
	}
	want := errors.New("enough")
	if _, _, err := Read(bytes.NewReader(sample(t)), func(Part, io.Reader) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

// Each byte counts.
func TestDamageIsTold(t *testing.T) {
	good := sample(t, "a", "bc")
	for n := range good {
		if _, _, err := Verify(bytes.NewReader(good[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", n, len(good), err)
		}
		flipped := bytes.Clone(good)
		flipped[n] ^= 0x04
		if _, _, err := Verify(bytes.NewReader(flipped)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("a bit flipped at %d of %d: %v", n, len(good), err)
		}
	}
	if _, _, err := Verify(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrDamaged) {
		t.Error("a byte too many:", err)
	}
}

func TestTheKeyRingIsLocked(t *testing.T) {
	for derivation, secret := range map[string]string{FromPassphrase: "correct horse", FromKeyFile: strings.Repeat("k", 44)} {
		l := NewLock(derivation)
		if derivation == FromPassphrase {
			l.Iterations = minIterations
		}
		key, err := l.Key([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		part, err := Wrap([]byte("ring"), key, l, "c1")
		if err != nil || bytes.Contains(part, []byte("ring")) {
			t.Fatal(string(part), err)
		}
		read, err := LockOf(part)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read.Key([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		if ring, err := Unwrap(part, again, "c1"); err != nil || string(ring) != "ring" {
			t.Error(string(ring), err)
		}
		wrong, _ := read.Key([]byte(secret + "x"))
		if _, err := Unwrap(part, wrong, "c1"); !errors.Is(err, ErrWrongKey) {
			t.Error("another secret:", err)
		}
		if _, err := Unwrap(part, again, "c2"); !errors.Is(err, ErrWrongKey) {
			t.Error("another cluster:", err)
		}
	}
	for _, l := range []Lock{{}, {Derivation: FromPassphrase, Salt: make([]byte, 32), Iterations: 1}, {Derivation: FromPassphrase, Salt: make([]byte, 32), Iterations: 1 << 40}, {Derivation: "none", Salt: make([]byte, 32)}} {
		if _, err := l.Key([]byte("secret")); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if _, err := NewLock(FromKeyFile).Key([]byte("short")); err == nil {
		t.Error("a short key file is taken")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(f, "a"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, err := Verify(bytes.NewReader(b))
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
