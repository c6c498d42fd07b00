package testcluster_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scaleout/testcluster"
)

const secretDefinition = `name: Secrets
parameters:
  - {name: Token, type: String, sensitive: true, required: true}
  - {name: Out, type: String, required: true}
packages:
  - name: use.sh
    parameters:
      - {name: Pin, type: Int32, sensitive: true, required: true}
`

// The value of a sensitive parameter reaches its package and nobody else: no view, no log line, and no file that a
// master or a worker leaves contains it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	w := c.Worker(testcluster.WorkerConfig{})
	c.DeployFile("F", "Secrets", c.Pack(secretDefinition, map[string]string{"use.sh": `
printf '%s %s' "$PROJECT_PARAM_TOKEN" "$PARAM_PIN" > "$PROJECT_PARAM_OUT"
grep -c tok-9f3e1c77 "$SCALEOUT_PARAMETERS"
`}))
	const token, pin = "tok-9f3e1c77-d0", "1934871265"
	out := filepath.Join(t.TempDir(), "out")
	s := &scriptProject{Cluster: c, t: t}
	id := c.Create("F/Secrets/use.sh", map[string]any{"Token": token, "Out": out})
	s.call("set_execution_parameter_value",
		map[string]any{"execution_id": id, "object_type": 30, "parameter_name": "Pin", "parameter_value": 1934871265})
	// A refused value must not be shown either.
	for name, value := range map[string]any{"Token": 12345, "Pin": token} {
		kind := 20
		if name == "Pin" {
			kind = 30
		}
		_, err := c.Admin().Call(t.Context(), "set_execution_parameter_value", map[string]any{
			"execution_id": id, "object_type": kind, "parameter_name": name, "parameter_value": value})
		if err == nil || strings.Contains(err.Error(), fmt.Sprint(value)) {
			t.Errorf("a bad value of %s: %v", name, err)
		}
	}
	c.Begin(id, 0)
	c.WaitStatus(id, 20*time.Second, 7)
	raw, err := os.ReadFile(out)
	if err != nil || string(raw) != token+" "+pin {
		t.Fatalf("the package got %q, %v", raw, err)
	}
	// The parameters file contains it once.
	c.Eventually("its count", 10*time.Second, func() bool { return slices.Contains(s.texts(id), "1") })

	views, err := c.Admin().Views(t.Context())
	if err != nil || len(views) < 10 {
		t.Fatalf("%d views, %v", len(views), err)
	}
	for _, v := range views {
		for _, r := range s.rows(v.Name, nil) {
			if text := fmt.Sprint(r); strings.Contains(text, token) || strings.Contains(text, pin) {
				t.Errorf("view %s shows a secret: %s", v.Name, text)
			}
		}
	}
	for _, r := range s.rows("execution_parameter_values", map[string]any{"execution_id": id}) {
		if name := r.Text("parameter_name"); (name == "Token" || name == "Pin") &&
			(!r.Bool("sensitive") || !r.Bool("value_set")) {
			t.Errorf("%v", r)
		}
	}
	if c.Said(token) || c.Said(pin) {
		t.Error("a log has a secret")
	}
	for i := range 3 {
		clean(t, c.Data(i), token, pin)
	}
	clean(t, w.Data(), token, pin)
}

// clean checks that no file contains one of the texts.
func clean(t *testing.T, dir string, texts ...string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(raw, []byte(text)) {
				t.Errorf("%s has a secret", path)
			}
		}
		seen++
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%s: %d files, %v", dir, seen, err)
	}
}
