package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"scaleout/fsm/ispac"
	"scaleout/testcluster"
)

// at adds the flags that reach a cluster as its administrator.
func at(c *testcluster.Cluster, args ...string) []string {
	c.Admin() // makes the certificate
	certs := filepath.Join(c.Dir(), "certs", "admin")
	return append(args, "--connect-timeout", "30s", "--addr", strings.Join(c.Masters(), ","), "--cacert",
		filepath.Join(certs, "ca.pem"),
		"--cert", filepath.Join(certs, "cert.pem"), "--key", filepath.Join(certs, "key.pem"))
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := execute(t, args...)
	if code != exitOK {
		t.Fatalf("%s: exit %d\n%s%s", strings.Join(args[:min(4, len(args))], " "), code, out, errs)
	}
	return out
}

// An operator backs a cluster up, restores it, looks at it and recovers it with the command line alone.
func TestOperatorsCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	folder := t.TempDir()
	passphrase := filepath.Join(folder, "passphrase")
	if err := os.WriteFile(passphrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testcluster.Start(t, 1)
	c.Deploy("ETL", "Jobs", map[string]string{"a.sh": "exit 0\n"},
		ispac.ParameterDefinition{Name: "Password", Type: "String", Required: true, Sensitive: true})
	c.Create("ETL/Jobs/a.sh", map[string]any{"Password": "s3cret!"})
	file := filepath.Join(folder, "monday.tar")

	if code, _, errs := execute(t, at(c, "cluster", "backup", "save", file)...); code != exitUsage ||
		!strings.Contains(errs, "--no-key-ring") {
		t.Errorf("a backup without a word on the key ring: %d %s", code, errs)
	}
	out := must(t, at(c, "cluster", "backup", "save", file, "--passphrase-file", passphrase)...)
	if !strings.Contains(out, "locked with a passphrase") || !regexp.MustCompile(`(?i)blobs +1\n`).MatchString(out) {
		t.Errorf("saved: %s", out)
	}
	if out := must(t, "cluster", "backup", "verify", file, "--passphrase-file", passphrase); !strings.Contains(out,
		"the key ring opens") {
		t.Errorf("verified: %s", out)
	}
	must(t, "cluster", "backup", "inspect", file, "-o", "json")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/3] ^= 1
	damaged := filepath.Join(folder, "damaged.tar")
	if err := os.WriteFile(damaged, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := execute(t, "cluster", "backup", "verify", damaged); code != exitError ||
		!strings.Contains(errs, "damaged") {
		t.Errorf("a damaged file: %d %s", code, errs)
	}

	fresh := testcluster.Start(t, 1)
	restore := at(fresh, "cluster", "backup", "restore", file, "--passphrase-file", passphrase)
	if code, _, errs := execute(t, restore...); code != exitUsage || !strings.Contains(errs, "--yes") {
		t.Errorf("without --yes: %d %s", code, errs)
	}
	if out := must(t, append(restore, "--yes")...); !regexp.MustCompile(`(?i)key ring +yes`).MatchString(out) {
		t.Errorf("restored: %s", out)
	}
	if out := must(t, at(fresh, "events")...); !strings.Contains(out, "state_restored") ||
		strings.Contains(out, "folder_created") {
		t.Errorf("events after a restore: %s", out)
	}
	if out := must(t, at(c, "events", "--type", "project_deployed", "-o", "json")...); !strings.Contains(out,
		`"name":"ETL/Jobs"`) {
		t.Errorf("events: %s", out)
	}

	bundle := filepath.Join(folder, "bundle.tar.gz")
	must(t, at(c, "cluster", "debug", bundle)...)
	seen := unpack(t, bundle)
	for _, name := range []string{"cluster.json", "views/masters.json", "events.json", "masters/master-1/metrics.txt",
		"masters/master-1/log.txt",
		"masters/master-1/goroutines.txt", "masters/master-1/debug.json", "masters/master-1/state-hash.json"} {
		if len(seen["scaleout-debug/"+name]) == 0 {
			t.Errorf("the bundle lacks %s", name)
		}
	}
	if failed := seen["scaleout-debug/failed.txt"]; len(failed) > 0 {
		t.Errorf("not in the bundle: %s", failed)
	}
	secrets := []string{"s3cret!", "PRIVATE KEY"}
	for _, name := range []string{"keyring.json", "gossip.key"} {
		raw, err := os.ReadFile(filepath.Join(c.Certificates(0), name))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, regexp.MustCompile(`[A-Za-z0-9+/]{40,}=*`).FindAllString(string(raw), -1)...)
	}
	if len(secrets) < 4 {
		t.Fatal("no keys to look for")
	}
	for name, content := range seen {
		for _, s := range secrets {
			if bytes.Contains(content, []byte(s)) {
				t.Errorf("%s holds a secret", name)
			}
		}
	}

	data := c.Data(0)
	if code, _, errs := execute(t, "cluster", "recover", "--data", data); code != exitError ||
		!strings.Contains(errs, "stop the master first") || strings.Contains(errs, "of its own") {
		t.Errorf("a running master: %d %s", code, errs)
	}
	c.Stop(0)
	if out := must(t, "cluster", "recover", "--data", data); !strings.Contains(out, "Nothing was changed") ||
		!strings.Contains(out, "may be lost") {
		t.Errorf("without --yes: %s", out)
	}
	copied := filepath.Join(folder, "copy")
	must(t, "cluster", "recover", "--data", data, "--copy", copied, "--yes")
	if _, err := os.Stat(filepath.Join(copied, "node.json")); err != nil {
		t.Error(err)
	}
	c.Restart(0)
	c.Leader()
}

func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}
