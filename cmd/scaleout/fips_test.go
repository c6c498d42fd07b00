package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"scaleout/cluster/archive"
	"scaleout/cluster/pki"
	"scaleout/fsm/ispac"
)

// inFIPS marks the process that TestFIPSOnly starts.
const inFIPS = "SCALEOUT_TEST_IN_FIPS"

// Where only FIPS 140 is permitted, a cluster's certificates and keys can be made and used.
func TestFIPSOnly(t *testing.T) {
	if os.Getenv(inFIPS) != "" {
		t.Skip("it is the other one")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestInFIPSMode$", "-test.v")
	cmd.Env = append(os.Environ(), inFIPS+"=1", "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestInFIPSMode") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestInFIPSMode(t *testing.T) {
	if os.Getenv(inFIPS) == "" {
		t.Skip("TestFIPSOnly runs it in a process of its own")
	}
	dir := t.TempDir()
	ca, folder := filepath.Join(dir, "ca"), filepath.Join(dir, "master-1")
	for _, args := range [][]string{
		{"ca", "init", ca}, {"ca", "issue", "master", "master-1", "--ca", ca, "--out", folder, "--host", "localhost"},
		{"ca", "issue", "user", "anna", "--ca", ca, "--out", filepath.Join(dir, "anna"), "--role", "ssis_admin"},
	} {
		if code, _, errs := execute(t, args...); code != exitOK {
			t.Fatalf("%v: %d %s", args, code, errs)
		}
	}
	rings, err := filepath.Glob(filepath.Join(folder, "*ring*"))
	if err != nil || len(rings) != 1 {
		t.Fatal(rings, err)
	}
	ring, err := pki.LoadKeyRing(rings[0])
	if err != nil {
		t.Fatal(err)
	}
	id, nonce, sealed, err := ring.Seal([]byte("secret"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := ring.Open(id, nonce, sealed, []byte("place")); err != nil || string(plain) != "secret" {
		t.Errorf("%q, %v", plain, err)
	}
	if err := underPassword(); err == nil || !strings.Contains(err.Error(), "DontSaveSensitive") {
		t.Errorf("a project under a password: %v", err)
	}
	for _, how := range []string{archive.FromPassphrase, archive.FromKeyFile} {
		lock := archive.NewLock(how)
		key, err := lock.Key([]byte(strings.Repeat("a long secret ", 4)))
		if err != nil {
			t.Fatal(how, err)
		}
		part, err := archive.Wrap([]byte("ring"), key, lock, "cluster")
		if err != nil {
			t.Fatal(how, err)
		}
		if got, err := archive.Unwrap(part, key, "cluster"); err != nil || string(got) != "ring" {
			t.Errorf("%s: %q, %v", how, got, err)
		}
	}
}

// underPassword reads a project file with a password.
func underPassword() error {
	d := ispac.Definition{Name: "P", Packages: []ispac.PackageDefinition{{Name: "a.sh"}}}
	p, err := d.Project(uuid.NewString, []string{"a.sh"})
	if err != nil {
		return err
	}
	var file bytes.Buffer
	if err := ispac.Write(&file, p, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("true")),
			nil
	}); err != nil {
		return err
	}
	_, err = ispac.Read(bytes.NewReader(file.Bytes()), int64(file.Len()), ispac.Options{Password: "ssis"})
	return err
}
