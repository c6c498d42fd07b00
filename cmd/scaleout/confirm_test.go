package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"scaleout/testcluster"
)

func TestAsk(t *testing.T) {
	for answer, yes := range map[string]bool{"y\n": true, "YES\n": true, "y": true, "\n": false, "": false, "n\n": false,
		"yesterday\n": false} {
		var out bytes.Buffer
		err := ask(strings.NewReader(answer), &out, "it is healthy", "remove it")
		if (err == nil) != yes || out.String() != "it is healthy.\nRemove it? [y/N] " {
			t.Errorf("%q: %v\n%s", answer, err, out.String())
		}
	}
}

func TestNobodyThereToConfirm(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.SetIn(strings.NewReader("y\n"))
	if err := confirm(cmd, "master-3 is healthy", "remove it all the same"); err == nil ||
		!strings.Contains(err.Error(), "--yes: remove it all the same") {
		t.Errorf("%v", err)
	}
}

// A healthy master is not removed by a slip of the pen; a script says that it means it.
func TestRemovingAHealthyMaster(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3)
	name := c.Name(c.Others(c.Leader())[0])
	c.Eventually("all three masters are healthy", time.Minute, func() bool {
		return strings.Count(must(t, at(c, "cluster", "members", "-o", "json")...), `"health": "healthy"`) == 3
	})
	code, _, errs := execute(t, at(c, "cluster", "remove", name)...)
	if code != exitError || !strings.Contains(errs, "scaleout cluster leave "+name) || !strings.Contains(errs, "--yes") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if out := must(t, at(c, "cluster", "members")...); !strings.Contains(out, name) {
		t.Errorf("%s is gone:\n%s", name, out)
	}
	must(t, at(c, "cluster", "remove", name, "--yes")...)
}

func TestIssuingIntoAForeignFolder(t *testing.T) {
	dir := t.TempDir()
	ca, other, out := filepath.Join(dir, "ca"), filepath.Join(dir, "other"), filepath.Join(dir, "out")
	must(t, "ca", "init", ca)
	must(t, "ca", "init", other)
	must(t, "ca", "issue", "worker", "worker-1", "--ca", ca, "--out", out)
	for _, test := range []struct {
		name string
		args []string
		says string // "" when it is allowed
	}{
		{"again", []string{"worker", "worker-1", "--ca", ca}, ""},
		{"another name", []string{"worker", "worker-2", "--ca", ca},
			"is of worker/worker-1, this one is for worker/worker-2"},
		{"another role", []string{"user", "worker-1", "--ca", ca}, "is of worker/worker-1, this one is for user/worker-1"},
		{"another cluster", []string{"worker", "worker-1", "--ca", other}, "another cluster"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, _, errs := execute(t, append([]string{"ca", "issue", "--out", out}, test.args...)...)
			if (code == exitOK) != (test.says == "") || !strings.Contains(errs, test.says) {
				t.Errorf("exit %d: %s", code, errs)
			}
		})
	}
	if code, _, errs := execute(t, "ca", "issue", "worker", "w", "--ca", ca, "--out", ca); code != exitError ||
		!strings.Contains(errs, "certificate authority itself") {
		t.Errorf("into the authority: exit %d: %s", code, errs)
	}
}
