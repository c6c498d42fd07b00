package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
)

// nobody is what leads a command line to two addresses where nobody listens, as a user with a certificate.
func nobody(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.Init(filepath.Join(dir, "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(pki.Request{Role: pki.RoleUser, Name: "anna", Roles: []string{pki.UserAdmin}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := issued.WriteFiles(filepath.Join(dir, "anna")); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, "https://"+l.Addr().String())
	}
	file := func(name string) string { return filepath.Join(dir, "anna", name) }
	return []string{
		"--addr", strings.Join(addresses, ","), "--connect-timeout", "100ms",
		"--cacert", file(pki.FileCA), "--cert", file(pki.FileCert), "--key", file(pki.FileKey),
	}
}

func TestEveryVerbSaysThatNobodyAnswers(t *testing.T) {
	to := nobody(t)
	_, raw, err := pack(os.DirFS("sample"))
	if err != nil {
		t.Fatal(err)
	}
	project := writeFile(t, "Sales.ispac", string(raw))
	for _, line := range []string{
		"cluster status", "cluster members", "cluster leave master-1", "cluster remove master-1", "cluster transfer-leadership",
		"cluster debug " + filepath.Join(t.TempDir(), "bundle.tar.gz"), "cluster snapshot save --no-key-ring " + filepath.Join(t.TempDir(), "backup"),
		"catalog views", "catalog procedures", "catalog view executions", "catalog call create_folder folder_name=a",
		"folder list", "folder create a", "folder delete a", "project list", "project packages a/b", "project parameters a/b",
		"project versions a/b", "project delete a/b", "project deploy --folder a " + project,
		"execution run a/b/c", "execution run a/b/c --param x=y --wait", "execution create a/b/c", "execution start 1", "execution stop 1",
		"execution stop 1 --wait", "execution wait 1", "execution show 1", "execution logs 1", "execution logs 1 --follow", "execution why 1",
		"execution list", "worker list", "worker show a", "worker enable a", "worker disable a", "worker remove a",
		"events", "events --follow",
	} {
		t.Run(line, func(t *testing.T) {
			code, out, errs := execute(t, append(strings.Fields(line), to...)...)
			if code != exitUnreachable || out != "" {
				t.Errorf("exit %d: %s", code, out)
			}
			first, rest, _ := strings.Cut(errs, "\n")
			for _, address := range strings.Split(to[1], ",") {
				if !strings.Contains(first, address+": connect: ") {
					t.Errorf("it does not say at once that %s was tried: %s", address, first)
				}
			}
			if !strings.Contains(rest, "scaleout: no master is reachable: ") || !strings.Contains(rest, "scaleout doctor") {
				t.Errorf("its end: %s", rest)
			}
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	to := nobody(t)
	for _, test := range []struct {
		name, env string
		flag      []string
		code      int
		says      string
	}{
		{"variable", "0.1s", nil, exitUnreachable, "no master is reachable"},
		{"variable that is no duration", "3", nil, exitUsage, `SCALEOUT_CONNECT_TIMEOUT "3": want a duration such as 10s`},
		{"flag over variable", "3", []string{"--connect-timeout", "100ms"}, exitUnreachable, "no master is reachable"},
		{"too short", "", []string{"--connect-timeout", "1ms"}, exitUsage, "--connect-timeout 1ms: want 100ms or more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("SCALEOUT_CONNECT_TIMEOUT", test.env)
			args := append([]string{"folder", "list"}, to[:2]...)
			code, _, errs := execute(t, append(append(args, to[4:]...), test.flag...)...)
			if code != test.code || !strings.Contains(errs, test.says) {
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
}
