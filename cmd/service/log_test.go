package service

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFolderOfServiceLogs(t *testing.T) {
	for _, x := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"windows", map[string]string{"LOCALAPPDATA": `C:\a`}, `C:\a`},
		{"linux", map[string]string{"HOME": "/home/a"}, "/home/a/.local/share"},
		{"linux", map[string]string{"HOME": "/home/a", "XDG_DATA_HOME": "/x"}, "/x"},
		{"linux", map[string]string{"HOME": "/home/a", "XDG_DATA_HOME": "relative"}, "/home/a/.local/share"},
		{"linux", map[string]string{"STATE_DIRECTORY": "/var/lib/scaleout:/var/lib/b", "HOME": "/"}, "/var/lib/scaleout"},
		{"darwin", map[string]string{"HOME": "/Users/a", "XDG_DATA_HOME": "/x"}, "/Users/a/Library/Application Support"},
		{"linux", nil, ""}, {"windows", map[string]string{"HOME": "/a"}, ""},
	} {
		got, err := applicationData(x.goos, func(name string) string { return x.env[name] })
		if filepath.ToSlash(got) != filepath.ToSlash(x.want) || (err != nil) != (x.want == "") {
			t.Errorf("%s %v: %q, %v", x.goos, x.env, got, err)
		}
	}
	if got := FileName("a/b\\c:d\n"); got != "a_b_c_d_" {
		t.Error(got)
	}
}

func TestServiceLogHoldsWhatStderrHolds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "logs")
	stderr := new(bytes.Buffer)
	log, closer, err := OpenLog(stderr, dir, "master-1", slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello", "node", "master-1")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "master-1.log"))
	if err != nil || !strings.Contains(stderr.String(), "hello") || stderr.String() != string(file) {
		t.Errorf("%v\nstderr %s\nfile %s", err, stderr, file)
	}
	// A folder that cannot be is an error before anything starts.
	if _, _, err := OpenLog(stderr, filepath.Join(dir, "master-1.log"), "x", slog.LevelInfo); err == nil {
		t.Error("a file was taken as LogFolder")
	}
}
