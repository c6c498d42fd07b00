package pki

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeyRing(t *testing.T) {
	k := NewKeyRing()
	id, nonce, sealed, err := k.Seal([]byte("secret"), []byte("row 7"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Fatal("not encrypted")
	}
	newID, err := k.AddKey(time.Unix(0, 0)) // a clock that went back
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _, _ := k.Seal(nil, nil); got != newID {
		t.Errorf("sealed with %s, the newest is %s", got, newID)
	}
	path := filepath.Join(t.TempDir(), "keyring.json")
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadKeyRing(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := loaded.Open(id, nonce, sealed, []byte("row 7")); err != nil || string(plain) != "secret" {
		t.Fatalf("%q %v", plain, err)
	}
	for what, try := range map[string]func() error{
		"place": func() error { _, err := loaded.Open(id, nonce, sealed, []byte("row 8")); return err },
		"nonce": func() error { _, err := loaded.Open(id, nonce[1:], sealed, []byte("row 7")); return err },
		"text":  func() error { _, err := loaded.Open(id, nonce, sealed[1:], []byte("row 7")); return err },
		"key":   func() error { _, err := loaded.Open(newID, nonce, sealed, []byte("row 7")); return err },
	} {
		if err := try(); !errors.Is(err, ErrSealBroken) {
			t.Errorf("changed %s: %v", what, err)
		}
	}
	if _, err := NewKeyRing().Open(id, nonce, sealed, nil); !errors.Is(err, ErrUnknownKey) ||
		!strings.Contains(err.Error(), id) {
		t.Errorf("another ring: %v", err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ring", k)
	log.WriteString(fmt.Sprintf("%v %+v %#v", k, k, k))
	for _, key := range k.keys {
		if text := base64.StdEncoding.EncodeToString(key.Key); strings.Contains(log.String(), text) ||
			strings.Contains(log.String(), string(key.Key)) {
			t.Errorf("printing shows a key: %s", &log)
		}
	}
}

func TestKeyRingMerge(t *testing.T) {
	a, b := NewKeyRing(), NewKeyRing()
	if changed, err := a.Merge(b); err != nil || !changed || a.Len() != 2 {
		t.Fatal(changed, err, a.Len())
	}
	if changed, err := a.Merge(b); err != nil || changed {
		t.Fatal(changed, err)
	}
	if changed, err := b.Merge(a); err != nil || !changed || !slices.Equal(keyIDs(a), keyIDs(b)) {
		t.Fatal(keyIDs(a), keyIDs(b), err)
	}
	forged := NewKeyRing()
	forged.keys[0].ID = keyIDs(a)[0]
	forged.keys[0].Key = bytes.Repeat([]byte{1}, 32)
	before := keyIDs(a)
	if _, err := a.Merge(forged); !errors.Is(err, ErrKeyConflict) || !slices.Equal(keyIDs(a), before) {
		t.Errorf("conflicting key: %v", err)
	}
	if changed, err := a.Merge(a); changed || err != nil {
		t.Error(changed, err)
	}
}

func TestGossipKey(t *testing.T) {
	a := newAuthority(t)
	if key, err := LoadGossipKey(filepath.Join(a.dir, FileGossipKey)); err != nil || len(key) != GossipKeySize {
		t.Fatal(key, err)
	}
	path := filepath.Join(t.TempDir(), "k")
	for _, bad := range []string{"", "c2hvcnQ=", "not base64!"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadGossipKey(path); err == nil || (bad != "" && strings.Contains(err.Error(), bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzKeyRing(f *testing.F) {
	good, err := NewKeyRing().MarshalJSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"keys":[{"id":"a","key":"AA=="}]}`))
	f.Add([]byte(`{"format":1,"keys":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var k KeyRing
		if k.UnmarshalJSON(data) != nil {
			if k.Len() != 0 {
				t.Fatal("a refused ring was taken up in part")
			}
			return
		}
		id, nonce, sealed, err := k.Seal(data, nil)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := k.Open(id, nonce, sealed, nil); err != nil || !bytes.Equal(plain, data) {
			t.Fatal(err)
		}
	})
}
