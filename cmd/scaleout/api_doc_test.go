//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// block is a fenced block of a document.
type block struct {
	kind, text string
	line       int // of its first line
}

func blocksOf(t *testing.T, path string) (list []block) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(raw), "\n") {
		kind, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{kind: kind, line: i + 2}
		case fence:
			list = append(list, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block does not end", path, open.line)
	}
	return list
}

// The commands of docs/api.md do what the document says, in the order in which they stand there.
func TestTheHTTPGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, tool := range []string{"curl", "jq", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the guide uses %s: %v", tool, err)
		}
	}
	const guide, mark = "../../docs/api.md", "@@@ the next block"
	blocks := blocksOf(t, guide)
	var script strings.Builder
	for _, b := range blocks {
		if b.kind == "sh" {
			fmt.Fprintf(&script, "%s\necho; echo %q\n", b.text, mark)
		}
	}
	dir, env := workFolder(t)
	runDev(t, dir, env, "bin/scaleout dev")

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-eu")
	shell.Dir, shell.Env, shell.Stdin = dir, env, strings.NewReader(script.String())
	var complaints bytes.Buffer
	shell.Stderr = &complaints
	out, err := shell.Output()
	answers := strings.Split(string(out), mark+"\n")
	at := 0
	for i, b := range blocks {
		if b.kind != "sh" {
			continue
		}
		if at == len(answers)-1 {
			t.Fatalf("%s:%d: %v\n%s%s", guide, b.line, err, answers[at], complaints.String())
		}
		got := answers[at]
		at++
		if i+1 == len(blocks) || blocks[i+1].kind == "sh" {
			continue
		}
		want := blocks[i+1]
		if diff := compare(want, got); len(diff) > 0 {
			t.Errorf("%s:%d: %s\nthe answer was\n%s", guide, want.line, strings.Join(diff, "\n"), got)
		}
	}
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%v\n%s", err, complaints.String())
	}
}

// compare says where an answer differs from what a document shows.
func compare(want block, got string) []string {
	if want.kind != "json" {
		return compareLines(strings.Split(strings.TrimSpace(want.text), "\n"), strings.Split(strings.TrimSpace(got), "\n"))
	}
	var w, g any
	if err := json.Unmarshal([]byte(want.text), &w); err != nil {
		return []string{"what is shown is no JSON: " + err.Error()}
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return []string{"the answer is no JSON: " + err.Error()}
	}
	return compareJSON("", w, g)
}

// compareLines takes a line of "…" alone for any number of lines.
func compareLines(want, got []string) []string {
	for i, w := range want {
		if w == "…" {
			for skip := range len(got) + 1 {
				if compareLines(want[i+1:], got[skip:]) == nil {
					return nil
				}
			}
			return []string{fmt.Sprintf("%q does not follow", want[i+1:])}
		}
		if len(got) == 0 || !similar(w, strings.TrimRight(got[0], "\r")) {
			return []string{fmt.Sprintf("%q is not there", w)}
		}
		got = got[1:]
	}
	if len(got) > 0 {
		return []string{fmt.Sprintf("there is more: %q", got)}
	}
	return nil
}

// exact are the numbers that a document means as they stand there.
var exact = []string{"return_value", "status", "attempt", "exit_code", "missing", "lost_attempts", "next_seq"}

// compareJSON compares the members of objects, strings with … for anything, and of other values the kind. A list may
// end with "…" for more of them.
func compareJSON(path string, want, got any) (diff []string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T instead of an object", path, got)}
		}
		have, names := slices.Sorted(maps.Keys(g)), slices.Sorted(maps.Keys(w))
		if !slices.Equal(have, names) {
			return []string{fmt.Sprintf("%s: members %v instead of %v", path, have, names)}
		}
		for _, name := range names {
			diff = append(diff, compareJSON(path+"/"+name, w[name], g[name])...)
		}
	case []any:
		g, ok := got.([]any)
		more := len(w) > 0 && w[len(w)-1] == "…"
		if more {
			w = w[:len(w)-1]
		}
		if !ok || len(g) < len(w) || !more && len(g) > len(w) {
			return []string{fmt.Sprintf("%s: %v instead of %d elements", path, got, len(w))}
		}
		for i := range w {
			diff = append(diff, compareJSON(fmt.Sprintf("%s/%d", path, i), w[i], g[i])...)
		}
	case string:
		if g, ok := got.(string); !ok || !similar(w, g) {
			return []string{fmt.Sprintf("%s: %v instead of %q", path, got, w)}
		}
	case float64:
		g, ok := got.(float64)
		if name := path[strings.LastIndex(path, "/")+1:]; !ok || slices.Contains(exact, name) && g != w {
			return []string{fmt.Sprintf("%s: %v instead of %v", path, got, w)}
		}
	default: // a Boolean that differs from run to run is the leader's mark alone
		if _, both := got.(bool); both && strings.HasSuffix(path, "/leader") {
			return nil
		}
		if got != want {
			return []string{fmt.Sprintf("%s: %v instead of %v", path, got, want)}
		}
	}
	return diff
}

func similar(pattern, s string) bool {
	parts := strings.Split(pattern, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*") + "$").MatchString(s)
}

func TestGuideComparison(t *testing.T) {
	for name, c := range map[string]struct {
		kind, want, got string
		same            bool
	}{
		"equal":          {"json", `{"a":"x","n":1}`, `{"n":2,"a":"x"}`, true},
		"a member more":  {"json", `{"a":"x"}`, `{"a":"x","b":1}`, false},
		"another string": {"json", `{"a":"x"}`, `{"a":"y"}`, false},
		"a pattern":      {"json", `{"a":"x…z"}`, `{"a":"xyz"}`, true},
		"an exact one":   {"json", `{"status":7}`, `{"status":4}`, false},
		"another kind":   {"json", `{"a":null}`, `{"a":1}`, false},
		"a longer list":  {"json", `[1]`, `[1,2]`, false},
		"a list and …":   {"json", `[1,"…"]`, `[1,2]`, true},
		"lines":          {"text", "a\n…\nc\n", "a\nb\nb\nc\n", true},
		"a line missing": {"text", "a\n…\nd\n", "a\nb\nc\n", false},
		"a line more":    {"text", "a\n", "a\nb\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := compare(block{kind: c.kind, text: c.want}, c.got); (diff == nil) != c.same {
				t.Error(diff)
			}
		})
	}
}
