package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scaleout/cluster/pki"
	"scaleout/testcluster"
)

// Each thing that can be wrong between a machine and the masters is named, at the step where it is wrong.
func TestDoctorNamesWhatIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 1)
	w := c.Worker(testcluster.WorkerConfig{})
	master := "https://" + c.Address(0)
	certs := filepath.Join(c.Dir(), "certs")
	issue := func(ca *pki.Authority) (folder, print string) {
		issued, err := ca.Issue(pki.Request{Role: pki.RoleUser, Name: "stranger", Roles: []string{"ssis_admin"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		folder = filepath.Join(t.TempDir(), "certs")
		if err := issued.WriteFiles(folder); err != nil {
			t.Fatal(err)
		}
		_, print = pki.Thumbprints(issued.Leaf)
		return folder, print
	}
	other, err := pki.Init(filepath.Join(t.TempDir(), "ca"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, _ := issue(other)
	// Of this cluster, and signed by a CA that the masters have not heard of.
	copied := filepath.Join(t.TempDir(), "ca")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(c.Dir(), "ca"))); err != nil {
		t.Fatal(err)
	}
	ahead, err := pki.OpenAuthority(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := ahead.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	unheard, print := issue(ahead)
	chain, err := os.ReadFile(filepath.Join(unheard, pki.FileCert))
	if err != nil {
		t.Fatal(err)
	}
	const end = "-----END CERTIFICATE-----\n" // without what links the new CA to the old one
	leaf, _, _ := strings.Cut(string(chain), end)
	if err := os.WriteFile(filepath.Join(unheard, pki.FileCert), []byte(leaf+end), 0o600); err != nil {
		t.Fatal(err)
	}

	as := func(folder, addr string) []string {
		return []string{"doctor", "--addr", addr, "--cacert", filepath.Join(folder, "ca.pem"), "--cert",
			filepath.Join(folder, "cert.pem"), "--key", filepath.Join(folder, "key.pem")}
	}
	// The settings of a worker as operations.md has them: without AgentId and DisplayName.
	config := func(folder string, extra map[string]any) []string {
		settings := map[string]any{
			"DataDirectory": filepath.Join(c.Dir(), "worker-1"), "TasksRootFolder": t.TempDir(), "MasterEndpoint": master,
			"CACertFile": filepath.Join(folder, "ca.pem"), "CertFile": filepath.Join(folder, "cert.pem"),
			"KeyFile": filepath.Join(folder, "key.pem"),
		}
		for k, v := range extra {
			settings[k] = v
		}
		raw, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "WorkerSettings.config")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return append(at(c, "doctor"), "--config", path)
	}
	c.Admin()
	for _, x := range []struct {
		name  string
		args  []string
		wrong bool
		says  []string
	}{
		{"nothing", as(filepath.Join(certs, "admin"), master), false,
			[]string{"port: ", "clock: within", "your certificate: the master takes it", "leader: master-1", "version: "}},
		{"the name", as(filepath.Join(certs, "admin"), "https://nobody.invalid:8391"), true,
			[]string{"WRONG  https://nobody.invalid:8391  name resolution: ", "DNS"}},
		{"the port", as(filepath.Join(certs, "admin"), fmt.Sprintf("https://127.0.0.1:%d", c.FreePort())), true,
			[]string{"  port: ", "refused", "firewalls"}},
		{"this side's CA", as(foreign, master), true,
			[]string{"this side does not trust the master's certificate", "ca.pem"}},
		{"the master's CA", as(unheard, master), true, []string{"the master does not take your certificate " + print}},
		{"no files", as("/nowhere", master), true, []string{"certificate files: ", "/nowhere"}},
		{"the role", config(filepath.Join(certs, "admin"), nil), true,
			[]string{"role: the certificate is user/admin", "role worker"}},
		{"the pin", config(filepath.Join(certs, "worker-1"),
			map[string]any{"MasterHttpsCertThumbprint": strings.Repeat("ab", 20)}), true,
			[]string{"pinning: ", "MasterHttpsCertThumbprint"}},
		{"nothing of the worker", config(filepath.Join(certs, "worker-1"), nil), false,
			[]string{"worker " + w.ID() + " is enabled and online"}},
	} {
		code, out, errs := execute(t, x.args...)
		if wrong := code != exitOK; wrong != x.wrong || wrong != strings.Contains(out, "WRONG") {
			t.Errorf("%s: exit %d\n%s%s", x.name, code, out, errs)
		}
		for _, s := range x.says {
			if !strings.Contains(out, s) {
				t.Errorf("%s: it does not say %q\n%s%s", x.name, s, out, errs)
			}
		}
	}
	if _, err := c.Admin().Call(t.Context(), "disable_worker_agent", map[string]any{"WorkerAgentId": w.ID()}); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := execute(t, config(filepath.Join(certs, "worker-1"), nil)...); code != exitError ||
		!strings.Contains(out, "worker "+w.ID()+" is disabled; 'scaleout worker enable") {
		t.Errorf("disabled: exit %d\n%s", code, out)
	}
}

func TestDoctorReadsClocks(t *testing.T) {
	for off, wrong := range map[time.Duration]bool{0: false, -10 * time.Second: false, 2 * time.Minute: true,
		-2 * time.Minute: true} {
		var p target
		p.clock("m", &http.Response{Header: http.Header{"Date": {time.Now().Add(off).UTC().Format(http.TimeFormat)}}})
		if len(p.findings) != 1 || p.findings[0].OK == wrong {
			t.Errorf("%v off: %+v", off, p.findings)
		}
	}
}
