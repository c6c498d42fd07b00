package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
)

// cli runs one command line and returns its exit code and what it printed.
func cli(t *testing.T, args ...string) (int, string) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	return run(context.Background(), root), out.String()
}

func TestRotateRenewRetire(t *testing.T) {
	dir := t.TempDir()
	ca, certs := filepath.Join(dir, "certs", "ca"), filepath.Join(dir, "certs")
	must := func(args ...string) string {
		t.Helper()
		code, out := cli(t, args...)
		if code != exitOK {
			t.Fatalf("%v: exit %d\n%s", args, code, out)
		}
		return out
	}
	must("ca", "init", ca)
	master, user := filepath.Join(certs, "m1"), filepath.Join(certs, "anna")
	if out := must("ca", "issue", "master", "m1", "--ca", ca, "--out", master, "--host", "m1.example", "--host",
		"10.0.0.7",
		"--lifetime", "240h"); !strings.Contains(out, "reached as m1.example, m1, 10.0.0.7\n") {
		t.Error(out)
	}
	if out := must("ca", "issue", "user", "bob", "--ca", ca, "--out", filepath.Join(dir, "bob")); !strings.Contains(out,
		"roles none") {
		t.Error(out)
	}
	if out := must("ca", "issue", "user", "anna", "--ca", ca, "--out", user, "--role", "ssis_admin", "--role",
		"ssis_logreader"); !strings.Contains(out, "roles ssis_admin, ssis_logreader\n") {
		t.Error(out)
	}
	if err := os.WriteFile(filepath.Join(certs, "env"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := func(folder string) *x509.Certificate {
		t.Helper()
		c, err := pki.ReadCertificate(filepath.Join(folder, pki.FileCert))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	all, err := filepath.Glob(filepath.Join(certs, "*"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(args ...string) []string { return append(append(args, "--ca", ca), all...) }

	// Only what ends soon.
	before, anna := leaf(master), leaf(user)
	must(with("ca", "renew", "--within", "720h")...)
	if leaf(master).Equal(before) || !leaf(user).Equal(anna) {
		t.Error("--within renewed the wrong ones")
	}
	must("ca", "rotate", "--ca", ca)
	if code, out := cli(t, with("ca", "retire")...); code == exitOK || !strings.Contains(out, "ca renew") {
		t.Errorf("retired while it is in use: %d %s", code, out)
	}
	must(with("ca", "renew")...)
	after := leaf(master)
	if time.Until(after.NotAfter) < 300*24*time.Hour {
		t.Errorf("valid until %v", after.NotAfter)
	}
	if err := after.VerifyHostname("m1.example"); err != nil {
		t.Error(err)
	}
	if err := after.VerifyHostname("10.0.0.7"); err != nil {
		t.Error(err)
	}
	id, err := pki.IdentityOf(leaf(user))
	if err != nil || !slices.Equal(id.Roles, []string{"ssis_admin", "ssis_logreader"}) || id.Name != "anna" {
		t.Errorf("%+v %v", id, err)
	}
	if out := must(with("ca", "list")...); strings.Count(out, "ca ") < 2 || !strings.Contains(out, "anna") {
		t.Errorf("list:\n%s", out)
	}
	must(with("ca", "retire")...)
	if code, _ := cli(t, "ca", "retire", "--ca", ca); code == exitOK {
		t.Error("the last CA was retired")
	}
	// Another cluster's certificates are not this authority's to renew.
	other := filepath.Join(dir, "other")
	must("ca", "init", other)
	if code, out := cli(t, "ca", "renew", "--ca", other, user); code == exitOK || !strings.Contains(out, "cluster") {
		t.Errorf("%d %s", code, out)
	}
}
