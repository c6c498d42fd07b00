//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/fsm/command"
)

// source takes a commit of this repository's history out of it.
func source(t *testing.T, folder, commit string) {
	t.Helper()
	git := func(args ...string) string {
		out, err := exec.Command("git", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if exec.Command("git", "cat-file", "-e", commit).Run() != nil {
		if out, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output(); err != nil ||
			strings.TrimSpace(string(out)) == "true" {
			t.Skip("these sources have no history, or not all of it: the older commit cannot be built")
		}
	}
	root := git("rev-parse", "--show-toplevel")
	git("merge-base", "--is-ancestor", commit, "HEAD") // of the history of main, or it would be lost some day
	git("clone", "-q", "--shared", "--no-checkout", root, folder)
	git("-C", folder, "checkout", "-q", "--detach", commit)
}

// The program of the commit that ended the change of formats, and the present one, are masters of one cluster while
// calls go on: one by one the masters are replaced, back as long as the level is the old one, and again. No call fails,
// and in every mixture all masters hold the same state.
func TestUpgradeFromFormat1(t *testing.T) {
	if os.Getenv("SCALEOUT_UPGRADE") == "" {
		t.Skip("it builds an older commit: make upgrade-test")
	}
	commit, err := os.ReadFile(filepath.Join("testdata", "format-1", "commit"))
	if err != nil {
		t.Fatal(err)
	}
	in := newInstallation(t)
	older := filepath.Join(in.dir, "source")
	source(t, older, strings.TrimSpace(string(commit)))
	compileIn(t, filepath.Join(older, "cmd", "scaleout"), filepath.Join(in.dir, "older"), "")
	compile(t, filepath.Join(in.dir, "newer"), "")
	in.install("older")
	in.start()
	began := in.level()
	end := in.load()
	replace := func(version string) {
		t.Helper()
		in.install(version)
		for _, m := range in.masters() {
			if err := in.restart(m); err != nil {
				t.Fatal(err)
			}
			in.sameState(100)
		}
	}
	replace("newer")
	if command.Level == began {
		replace("older")
		replace("newer")
	}
	in.eventually("the level is the newer version's", time.Minute, func() bool { return in.level() == command.Level })
	end()
	in.sameState(2)
}

// sameState asks all masters for the hash of their state after one and the same log entry, which comes so many entries
// from now: enough that all are asked before it is there.
func (in *installation) sameState(ahead uint64) {
	t := in.t
	t.Helper()
	masters := in.masters()
	in.eventually("all masters tell their hash", time.Minute, func() bool {
		now, err := in.admin.StateHash(t.Context(), 0)
		if err != nil {
			return false
		}
		hashes, errs := make([]string, len(masters)), make([]error, len(masters))
		var asked sync.WaitGroup
		for i, m := range masters {
			asked.Go(func() {
				one, err := in.admin.At(m.Address)
				if err != nil {
					errs[i] = err
					return
				}
				got, err := one.StateHash(t.Context(), now.Index+ahead)
				hashes[i], errs[i] = got.Hash, err
			})
		}
		asked.Wait()
		if errors.Join(errs...) != nil {
			return false
		}
		if slices.ContainsFunc(hashes, func(h string) bool { return h != hashes[0] }) {
			t.Fatalf("after entry %d the masters hold other states: %v", now.Index+ahead, hashes)
		}
		return true
	})
}
