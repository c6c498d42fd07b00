package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

// nobody is what leads a command line to two addresses where nobody listens, as a user with a certificate. It tries for
// so long.
func nobody(t *testing.T, timeout string) []string {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.Init(filepath.Join(dir, "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(pki.Request{Role: pki.RoleUser, Name: "anna", Roles: []string{pki.UserAdmin}},
		time.Now())
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
		"--addr", strings.Join(addresses, ","), "--connect-timeout", timeout,
		"--cacert", file(pki.FileCA), "--cert", file(pki.FileCert), "--key", file(pki.FileKey),
	}
}

func TestEveryVerbSaysThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	to := nobody(t, "10s")
	_, raw, err := pack(os.DirFS("sample"))
	if err != nil {
		t.Fatal(err)
	}
	project := writeFile(t, "Sales.ispac", string(raw))
	lines := []string{
		"cluster status", "cluster members", "cluster leave master-1", "cluster remove master-1",
		"cluster transfer-leadership",
		"cluster debug " + filepath.Join(t.TempDir(), "bundle.tar.gz"), "cluster backup save --no-key-ring " +
			filepath.Join(t.TempDir(), "backup"),
		"catalog views", "catalog procedures", "catalog view executions", "catalog call create_folder folder_name=a",
		"folder list", "folder create a", "folder delete a", "project list", "project packages a/b", "project parameters a/b",
		"project versions a/b", "project delete a/b", "project deploy --folder a " + project,
		"execution run a/b/c", "execution run a/b/c --param x=y --wait", "execution create a/b/c", "execution start 1",
		"execution stop 1",
		"execution stop 1 --wait", "execution wait 1", "execution show 1", "execution logs 1", "execution logs 1 --follow",
		"execution why 1",
		"execution list", "worker list", "worker show a", "worker enable a", "worker disable a", "worker remove a",
		"events", "events --follow",
	}
	// All at once: each tries for a time that is long enough for it to be heard on a busy machine.
	type result struct {
		code      int
		out, errs string
	}
	results := make([]result, len(lines))
	var group sync.WaitGroup
	for i, line := range lines {
		group.Go(func() {
			r := &results[i]
			r.code, r.out, r.errs = execute(t, append(strings.Fields(line), to...)...)
		})
	}
	group.Wait()
	for i, line := range lines {
		t.Run(line, func(t *testing.T) {
			r := results[i]
			if r.code != exitUnreachable || r.out != "" {
				t.Errorf("exit %d: %s", r.code, r.out)
			}
			first, rest, _ := strings.Cut(r.errs, "\n")
			for _, address := range strings.Split(to[1], ",") {
				// On a busy machine a second may pass before both have refused: then nothing was heard of them yet.
				if !strings.Contains(first, address) {
					t.Errorf("it does not say at once that %s was tried: %s", address, first)
				}
				if !strings.Contains(rest, address+": connect: ") {
					t.Errorf("it does not say in the end what %s answered: %s", address, rest)
				}
			}
			if !strings.Contains(rest, "scaleout: no master is reachable: ") || !strings.Contains(rest, "scaleout doctor") {
				t.Errorf("its end: %s", rest)
			}
		})
	}
}

// A wrong --cacert is an error that stays, and not a cluster that cannot be reached for a while.
func TestAMasterThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	to := nobody(t, "10s")
	to[1] = server.URL
	code, out, errs := execute(t, append([]string{"folder", "list"}, to...)...)
	if code != exitError || out != "" {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, want := range []string{"no master's certificate is trusted here", server.URL, "--cacert"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing in %s", want, errs)
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	to := nobody(t, "100ms")
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
			if code != test.code || strings.Count(errs, test.says) != 1 {
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
}

func TestCertificateFilesAreNamedByTheirFlags(t *testing.T) {
	t.Parallel()
	to := nobody(t, "100ms")
	key := to[len(to)-1]
	for _, test := range []struct{ flag, file, want string }{
		{"--cert", "/no/such/file", "--cert /no/such/file does not exist"},
		{"--cacert", key, "--cacert " + key + ": no PEM block of type CERTIFICATE"},
		{"--key", "/no/such/file", "--key /no/such/file does not exist"},
	} {
		t.Run(test.flag, func(t *testing.T) {
			code, _, errs := execute(t, append(append([]string{"folder", "list"}, to...), test.flag, test.file)...)
			if code != exitError || !strings.Contains(errs, test.want) || strings.Contains(errs, "File ") {
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
}

func TestNobodyLeadsIsSaidOnce(t *testing.T) {
	if text := unprefixed(&client.Error{Code: wire.CodeNoLeader, Detail: "no master leads"}); text != "no master leads" {
		t.Error(text)
	}
}
