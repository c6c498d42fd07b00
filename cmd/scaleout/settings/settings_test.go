package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

const goodMaster = `{
	"DataDirectory": "d", "CACertFile": "ca.pem", "CertFile": "c.pem", "KeyFile": "k.pem", "GossipKeyFile": "g.key",
	"BootstrapExpect": 1,
	"SqlServerName": "SERVER\\PROD", "PortNumber": 9000, "MasterHeartbeatIntervalInMs": 1000, "MaxProjectBytes": "1MiB"
}`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "MasterSettings.config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func none(string) (string, bool) { return "", false }

func TestFileOverDefaultEnvironmentOverFileFlagOverAll(t *testing.T) {
	var m Master
	s := NewMaster(&m)
	flags := pflag.NewFlagSet("t", pflag.ContinueOnError)
	s.Flags(flags)
	if err := flags.Parse([]string{"--gossip-port=7000"}); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SCALEOUT_MASTER_PORT_NUMBER": "9100", "SCALEOUT_MASTER_GOSSIP_PORT": "1"}
	err := s.Load(write(t, "\xef\xbb\xbf"+goodMaster), func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if m.PortNumber != 9100 || m.GossipPort != 7000 || m.InstanceName != `SERVER\PROD` || m.MaxProjectBytes != 1<<20 ||
		time.Duration(m.MasterHeartbeatIntervalInMs) != time.Second ||
		time.Duration(m.CleanupCompletedJobsIntervalInMs) != 12*time.Hour {
		t.Fatalf("%+v", m)
	}
	origins := map[string]string{}
	for _, x := range s.Settings() {
		origins[x.Key] = x.Origin
	}
	for key, want := range map[string]string{"PortNumber": "environment", "GossipPort": "flag", "InstanceName": "file",
		"TimingProfile": "default"} {
		if origins[key] != want {
			t.Errorf("%s comes from %s, want %s", key, origins[key], want)
		}
	}
}

func TestEveryProblemIsNamedWithItsLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{\n\"PortNumbr\": 1\n}", `:2: unknown key "PortNumbr"; did you mean PortNumber?`},
		{"{\n\n\"PortNumber\": \"x\"}", `:3: PortNumber: "x" is not a whole number`},
		{"{\"PortNumber\": 70000}", "70000 is more than 65535"},
		{"{\"MasterHeartbeatIntervalInMs\": 999}", "999 is less than 1000"},
		{"{\"InstanceName\": \"a\",\n\"SqlServerName\": \"b\"}",
			`:2: "SqlServerName" sets what "InstanceName" has set already`},
		{"{\"PortNumber\": null}", "found null"},
		{"{\"PortNumber\": true}", "want int, found true"},
		{"{\"PortNumber\": 1,}", "not valid JSON"},
		{"{\"PortNumber\": 1", "not valid JSON"},
		{"{} x", "something follows"},
		{"[]", "want a JSON object"},
		{"", "want a JSON object"},
		{"\xff\xfe{\x00", "UTF-16"},
		{"{\"TimingProfile\": \"slow\"}", `"slow" is not one of lan, fast, wan`},
	} {
		var m Master
		problems := NewMaster(&m).Parse("f", []byte(c.text))
		if len(problems) == 0 || !strings.Contains(Problems(problems).Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, problems, c.want)
		}
	}
}

func TestWholeIsChecked(t *testing.T) {
	var m Master
	err := NewMaster(&m).Load(write(t, `{"PortNumber": 8392, "BootstrapExpect": 2, "SSLCertThumbprint": "zz", `+
		`"RemoveDeadMastersAfterInMs": 5000}`), none)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for _, want := range []string{"GossipPort",
		"DataDirectory: it must be set, in the file, by --data-directory or by SCALEOUT_MASTER_DATA_DIRECTORY",
		"SSLCertThumbprint", "RetryJoin", "odd number", "at least 600000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	var w Worker
	err = NewWorker(&w).Load(write(t, `{"MasterEndpoint": "http://a:1", "LeaseInternval": "00:20:00", `+
		`"MasterHttpsCertThumbprint": "12"}`), none)
	for _, want := range []string{"https://host:port", "LeaseInterval", "DataDirectory", "MasterHttpsCertThumbprint"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestProductSpellingsOfTheWorker(t *testing.T) {
	var w Worker
	err := NewWorker(&w).Load(write(t, `{
		"MasterEndpoint": "https://a:8391, https://b:8391", "HeartbeatErrorTollerance": "00:05:00",
		"LeaseInternval": "00:00:30", "ExecutionLogRetryTimeout": "7.00:00:00", "TaskRequestMaxCPU": 70.0,
		"Runners": {".PY": ["python3", "-u"], ".sh": "bash"},
		"DataDirectory": "d", "CACertFile": "a", "CertFile": "b", "KeyFile": "c"}`), none)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.MasterEndpoint) != 2 || time.Duration(w.HeartbeatErrorTolerance) != 5*time.Minute ||
		time.Duration(w.LeaseInterval) != 30*time.Second || w.Runners[".py"][1] != "-u" || w.Runners[".sh"][0] != "bash" {
		t.Fatalf("%+v", w)
	}
}

func TestTimespansReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(9999*24*time.Hour)).Draw(t, "d"))
		got, err := ParseTimespan(formatTimespan(d))
		if err != nil || got != d {
			t.Fatalf("%v → %q → %v, %v", d, formatTimespan(d), got, err)
		}
	})
	for _, bad := range []string{"", "1", "24:00:00", "00:60:00", "-1s", "a:b:c", "00:00", "1.1.1:00:00",
		"00:00:00.1234567890"} {
		if d, err := ParseTimespan(bad); err == nil {
			t.Errorf("%q was taken as %v", bad, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodMaster))
	f.Add([]byte(`{"Runners": {".py": ["x"]}, "LeaseInterval": "00:00:01"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Master
		var w Worker
		for _, s := range []*Set{NewMaster(&m), NewWorker(&w)} {
			for _, p := range s.Parse("f", raw) {
				if !strings.HasPrefix(p.Where, "f:") || p.Text == "" {
					t.Fatalf("a problem without a place: %+v", p)
				}
			}
		}
	})
}
