//go:build unix

package worker

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scaleout/cmd/worker/guard"
	"scaleout/httpapi/wire"
)

// The values of sensitive parameters are in nothing that is recorded of an attempt: not in its messages, however a
// package says them, not in its report, not in its folder.
func TestSecretsAreNotRecorded(t *testing.T) {
	t.Parallel()
	m := newFakeMaster(t)
	w := m.worker(m.config(t.TempDir()))
	const secret = "correct horse\nbattery staple"
	g := m.script(1, `echo "in a line: $PARAM_KEY."
printf 'in two'; printf ' pieces: batt' ; printf 'ery staple.\n'
echo "batt" >&2; echo "on stderr: $PARAM_KEY" >&2; cat "$SCALEOUT_PARAMETERS"; echo "plain: $PARAM_PLAIN"; exit 3`,
		wire.Parameter{ObjectType: 30, Name: "key", Type: "String", Value: secret, Sensitive: true},
		wire.Parameter{ObjectType: 30, Name: "plain", Type: "String", Value: "nothing secret"})
	if e := m.ended(g); e.Outcome != wire.OutcomeFailed || e.ExitCode != 3 {
		t.Errorf("%+v", e)
	}
	m.until("messages", func() bool {
		return slices.ContainsFunc(m.messages[g.attemptRef()],
			func(msg wire.Message) bool { return msg.Text == "exit code 3" })
	})
	said := strings.Join(m.texts(g), "\n")
	for _, want := range []string{"in a line: ***.", "in two pieces: ***.", "on stderr: ***", "plain: nothing secret",
		`"***"`} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
	leak := func(where, text string) {
		for _, part := range []string{"correct", "horse", "battery", "staple"} {
			if strings.Contains(text, part) {
				t.Errorf("%q is in %s", part, where)
			}
		}
	}
	leak("the messages", said)
	w.stop()
	if err := w.wait(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(w.cfg.TasksRootFolder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		leak(path, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTooMuchToKeepSecret(t *testing.T) {
	m := newFakeMaster(t)
	m.worker(m.config(t.TempDir()))
	much := wire.Parameter{
		ObjectType: 30,
		Name:       "key",
		Type:       "String",
		Value:      strings.Repeat("x", maxSecrets+1),
		Sensitive:  true,
	}
	if e := m.ended(m.script(1, "exit 0", much)); e.Outcome != wire.OutcomeFailed ||
		!strings.Contains(e.Message, "sensitive values have 2097153 bytes") {
		t.Errorf("%+v", e)
	}
}

func TestSecretsOfAGrant(t *testing.T) {
	got := secretsOf(wire.Grant{Parameters: []wire.Parameter{
		{Name: "a", Value: "sensitive", Sensitive: true}, {Name: "b", Value: "not sensitive"},
		{
			Name:      "c",
			Value:     strings.Repeat("x", guard.MinSecret-1),
			Sensitive: true,
		}, {Name: "d", Value: strings.Repeat("x", guard.MinSecret), Sensitive: true},
	}})
	if want := []string{"sensitive", "xxxxxx"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
