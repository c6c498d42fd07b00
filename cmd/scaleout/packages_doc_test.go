//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// witness is a package that tells what it finds.
const witness = `env | sed -n 's/^\(SCALEOUT_[A-Z_]*\|PARAM_[A-Z_]*\|PROJECT_PARAM_[A-Z_]*\)=.*/variable \1/p'
echo "day $PARAM_DAY"
echo "scratch $(ls -A "$SCALEOUT_TASK_DIR" | wc -l) $(stat -c %a "$SCALEOUT_PARAMETERS")"
echo "input $(cat | wc -c)"
LC_ALL=C; echo "parts" *
echo "secret $PARAM_PASSWORD"
echo "file $(tr -d '\n' <"$SCALEOUT_PARAMETERS")"
echo "on standard error" >&2
`

// A package finds what docs/packages.md says: the document's own project.yaml is packed, deployed and run.
func TestThePackageContract(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	if out, err := exec.Command("stat", "-c", "%a", ".").CombinedOutput(); err != nil {
		t.Skipf("the package uses 'stat -c' of Linux: %s", out)
	}
	const path = "../../docs/packages.md"
	blocks := blocksOf(t, path)
	at := func(kind, with string) string {
		i := slices.IndexFunc(blocks, func(b block) bool { return b.kind == kind && strings.Contains(b.text, with) })
		if i < 0 {
			t.Fatalf("%s has no block of %s with %q", path, kind, with)
		}
		return blocks[i].text
	}
	dir, env := workFolder(t)
	for name, text := range map[string]string{
		"project.yaml": at("yaml", "packages:"), "daily.sh": witness, "extract.sh": "exit 3\n", "lib.sh": "",
		"orders.csv": "1\n", "left.out": "",
		"dw.conmgr": `<?xml version="1.0"?><DTS:ConnectionManager xmlns:DTS="www.microsoft.com/SqlServer/Dts" ` +
			`DTS:ObjectName="dw" ` +
			`DTS:DTSID="{0F8FAD5B-D9CB-469F-A165-70867728950E}" DTS:CreationName="OLEDB"/>`,
	} {
		file := filepath.Join(dir, "project", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runDev(t, dir, env, "bin/scaleout dev")

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-eu")
	shell.Dir, shell.Env = dir, env
	shell.Stdin = strings.NewReader(`. ./scaleout-dev/env
bin/scaleout project pack project
bin/scaleout project deploy SampleETL.ispac --folder ETL --create-folder
printf 'a long secret' >secret
bin/scaleout execution run ETL/SampleETL/daily.sh --param Day=2026-01-31 --param Password=@secret \
  --project-param OutputFolder=/srv/out --wait
echo "@@@"
bin/scaleout execution logs 2 --plain
echo "@@@"
bin/scaleout execution run ETL/SampleETL/extract.sh --project-param OutputFolder=/srv/out --wait || echo "exit code $?"
`)
	raw, err := shell.CombinedOutput()
	parts := strings.Split(string(raw), "@@@\n")
	if err != nil || len(parts) != 3 {
		t.Fatalf("%v\n%s", err, raw)
	}
	said := parts[1]

	// Names that the table has, with those of the example's parameters.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`SCALEOUT_.*?) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("`(SCALEOUT_[A-Z_]+)`").FindAllStringSubmatch(row[1], -1) {
			want = append(want, name[1])
		}
	}
	want = append(want, "PARAM_DAY", "PARAM_ROWS", "PARAM_PASSWORD", "PROJECT_PARAM_OUTPUTFOLDER")
	for _, m := range regexp.MustCompile(`(?m)^variable (.*)$`).FindAllStringSubmatch(said, -1) {
		have = append(have, m[1])
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("the package found %v,\nthe document has %v", have, want)
	}
	for _, line := range []string{
		"day 2026-01-31T00:00:00", "scratch 0 600", "input 0", "secret ***", "on standard error",
		"parts @Project.manifest Project.params daily.sh dw.conmgr extract.sh lib.sh orders.csv",
	} {
		if !strings.Contains(said, line+"\n") {
			t.Errorf("it did not say %q in\n%s", line, said)
		}
	}
	_, file, _ := strings.Cut(said, "\nfile ")
	file, _, _ = strings.Cut(file, "\n")
	if diff := compare(block{kind: "json", text: at("json", "package_parameters")}, file); len(diff) > 0 {
		t.Errorf("%s\nthe file is\n%s", strings.Join(diff, "\n"), file)
	}
	if !strings.HasSuffix(parts[2], fmt.Sprintf("exit code %d\n", exitFailed)) {
		t.Errorf("a package that fails:\n%s", parts[2])
	}
}
