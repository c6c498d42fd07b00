package service

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units that are shipped are the ones that 'service install' writes. UPDATE=1 writes them anew.
func TestShippedUnits(t *testing.T) {
	for kind, config := range map[string]string{"master": defaultMasterConfig, "worker": defaultWorkerConfig} {
		s := Service{Kind: kind, Config: config, User: defaultUser, Executable: defaultExecutable}
		path := filepath.Join("..", "..", "deploy", "systemd", "scaleout-"+kind+".service")
		want := s.Unit()
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, []byte(want)) {
			t.Errorf("%s is not what 'service install' writes; run this test with UPDATE=1", path)
		}
		if strings.Contains(want, "@EXEC") || strings.Contains(want, "@CONFIG") || strings.Contains(want, "@USER") {
			t.Errorf("%s: a placeholder is left:\n%s", kind, want)
		}
	}
}

// systemd itself reads the units without a word; the SCALEOUT_SYSTEMD variable makes its absence an error.
func TestUnitsPleaseSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("SCALEOUT_SYSTEMD") != "" {
			t.Fatal("systemd-analyze is missing: install Debian's systemd")
		}
		t.Skip("no systemd-analyze here")
	}
	// A path with everything that a unit's command line could take for something else.
	dir := filepath.Join(t.TempDir(), `100% "odd" $HOME`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"master", "worker"} {
		s := Service{Kind: kind, Config: filepath.Join(dir, "Settings.config"), User: "root", Executable: "/bin/true"}
		path := filepath.Join(t.TempDir(), "scaleout-"+kind+".service")
		if err := os.WriteFile(path, []byte(s.Unit()), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
		// Only what is said of this unit: the machine's own ones are not ours to judge.
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "scaleout-") {
				t.Error(strings.TrimSpace(line))
			}
		}
		show := exec.Command("systemd-analyze", "cat-config", path)
		if out, err := show.CombinedOutput(); err == nil && !bytes.Contains(out, []byte("Type=notify")) {
			t.Errorf("%s is no notify unit", kind)
		}
	}
}

func TestUnitWord(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/a": "/etc/a", "/etc/a b": `"/etc/a b"`, "/a%b": "/a%%b", "/a$b": "/a$$b", `/a"b`: `"/a\"b"`, `/a\b`: `"/a\\b"`,
	} {
		if got := unitWord(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestServiceRefusesWhatCannotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "MasterSettings.config")
	for text, want := range map[string]string{
		`{"PortNumber": 0}`: "PortNumber",
		`{"DataDirectory":"data","CACertFile":"/c","CertFile":"/c","KeyFile":"/k","GossipKeyFile":"/g",` +
			`"BootstrapExpect":1}`: "relative",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := Service{Kind: Master, Config: file}
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
