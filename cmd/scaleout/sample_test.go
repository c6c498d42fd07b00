package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSampleRuns runs the packages as a worker would, with nothing on the PATH: only the shell itself.
func TestSampleRuns(t *testing.T) {
	dir, err := fs.Sub(sampleFiles, "sample")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "SampleETL" || len(p.Packages) != 4 {
		t.Fatalf("%+v", p)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here: ", err)
	}
	project, out := t.TempDir(), t.TempDir()
	if err := os.CopyFS(project, dir); err != nil {
		t.Fatal(err)
	}
	run := func(pkg string, env ...string) (string, error) {
		cmd := exec.Command(sh, filepath.Join(project, pkg))
		cmd.Dir = project
		cmd.Env = append([]string{
			"PATH=/nowhere", "SCALEOUT_EXECUTION_ID=17", "PROJECT_PARAM_OUTPUTFOLDER=" + out,
			"PARAM_DAY=2026-08-09T00:00:00", "PARAM_REGION=east", "PARAM_ROWS=20",
		}, env...)
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	if text, err := run("load.sh"); err == nil ||
		!strings.Contains(text, "run transform.sh for 2026-08-09 and east first") {
		t.Errorf("%v %s", err, text)
	}
	for _, pkg := range []string{"extract.sh", "transform.sh", "load.sh"} {
		if text, err := run(pkg); err != nil {
			t.Fatalf("%s: %v\n%s", pkg, err, text)
		}
	}
	sales := filepath.Join(out, "sales-2026-08-09-east.csv")
	first, err := os.ReadFile(sales)
	if err != nil || len(strings.Split(string(first), "\n")) != 6 {
		t.Fatalf("%v %q", err, first)
	}
	text, err := run("daily.sh")
	if err != nil || !strings.Contains(text, "extracted 20 orders") ||
		!strings.Contains(text, "kept 18 orders, dropped 2") {
		t.Fatalf("%v %s", err, text)
	}
	if again, err := os.ReadFile(sales); err != nil || !slices.Equal(first, again) {
		t.Errorf("a second load differs: %v\n%s\n%s", err, first, again)
	}
	if ran, err := os.ReadFile(filepath.Join(out, "ran.txt")); err != nil || string(ran) != "17\n" {
		t.Errorf("%v %q", err, ran)
	}
	if text, err := run("extract.sh", "PARAM_REGION=moon"); err == nil || !strings.Contains(text, "moon is not one of") {
		t.Errorf("%v %s", err, text)
	}
	if text, err := run("extract.sh", "PROJECT_PARAM_OUTPUTFOLDER="+sales+"/no"); err == nil ||
		!strings.Contains(text, "cannot be made") {
		t.Errorf("%v %s", err, text)
	}
}
