package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/store"
)

// A master whose data directory is damaged says what to do and ends for good: a manager that started it again would
// only fill the log.
func TestAMasterWithADamagedDirectoryEndsForGood(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.Init(filepath.Join(dir, "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(pki.Request{Role: pki.RoleMaster, Name: "m1", Hosts: []string{"127.0.0.1"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(dir, "certs")
	if err := issued.WriteFiles(certs); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		damage func(data string) error
		says   []string
	}{
		"the log": {func(data string) error {
			return os.Truncate(filepath.Join(data, "raft.db"), 5000)
		}, []string{"raft.db", "empty one", "new node"}},
		"the identity": {func(data string) error {
			return os.WriteFile(filepath.Join(data, "node.json"), []byte("{}"), 0o600)
		}, []string{"node.json", "empty one"}},
		"a newer format": {func(data string) error {
			return os.WriteFile(filepath.Join(data, "node.json"), []byte(`{"value": {"format": 1000}}`), 0o600)
		}, []string{"format 1000"}},
		"the key ring": {func(data string) error {
			raw, err := os.ReadFile(filepath.Join(certs, pki.FileKeyRing))
			if err != nil {
				return err
			}
			at := strings.Index(string(raw), `"key": "`) + len(`"key": "`)
			if raw[at] == 'A' {
				raw[at] = 'B'
			} else {
				raw[at] = 'A'
			}
			return os.WriteFile(filepath.Join(data, "keyring.json"), raw, 0o600)
		}, []string{"keyring.json", "SHA-256", "another master"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			d, err := store.Open(data, store.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(data); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "Master.config")
			raw, err := json.Marshal(map[string]any{
				"DataDirectory": data, "CACertFile": filepath.Join(certs, pki.FileCA),
				"CertFile": filepath.Join(certs, pki.FileCert),
				"KeyFile":  filepath.Join(certs, pki.FileKey), "GossipKeyFile": filepath.Join(certs, pki.FileGossipKey),
				"KeyRingFile": filepath.Join(certs, pki.FileKeyRing), "BindAddress": "127.0.0.1", "BootstrapExpect": 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := execute(t, "master", "start", "--config", file)
			if code != exitOperator {
				t.Errorf("code %d, want %d: %s", code, exitOperator, stderr)
			}
			for _, part := range c.says {
				if !strings.Contains(stderr, part) {
					t.Errorf("it does not say %q: %s", part, stderr)
				}
			}
		})
	}
}
