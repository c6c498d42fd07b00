package main

import (
	"path/filepath"
	"strings"
	"testing"

	"scaleout/testcluster"
)

// With most masters dead nobody leads. That is when somebody looks: status says who does not answer and what is needed,
// and a bundle has what the one that is left knows.
func TestLookingAtAClusterWithoutALeader(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c := testcluster.Start(t, 3)
	c.Deploy("ETL", "Jobs", map[string]string{"a.sh": "exit 0\n"})
	left := c.Others(c.Leader())[0]
	for _, i := range c.Others(left) {
		c.Kill(i)
	}
	soon := func(args ...string) []string { return append(at(c, args...), "--connect-timeout", "3s") }
	code, out, errs := execute(t, soon("cluster", "status")...)
	if code != exitUnreachable || !strings.Contains(errs, "no master leads") ||
		!strings.Contains(out, "none: 1 of 3 voters answer, 2 are needed") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	for _, i := range c.Others(left) {
		if !strings.Contains(out, c.Name(i)+": does not answer: dial tcp "+c.Address(i)) {
			t.Errorf("it does not say that %s is gone:\n%s", c.Name(i), out)
		}
	}
	if code, out, _ := execute(t, soon("cluster", "members", "-o", "json")...); code != exitUnreachable ||
		!strings.Contains(out, `"does not answer: `) {
		t.Errorf("exit %d\n%s", code, out)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	must(t, soon("cluster", "debug", bundle)...)
	seen := unpack(t, bundle)
	for _, name := range []string{"cluster.json", "views/masters.json", "events.json", "masters/" + c.Name(left) +
		"/log.txt"} {
		if len(seen["scaleout-debug/"+name]) < 3 {
			t.Errorf("the bundle lacks %s", name)
		}
	}
	if failed := string(seen["scaleout-debug/failed.txt"]); strings.Contains(failed, "views/") {
		t.Errorf("not in the bundle: %s", failed)
	}
}
