//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tour is the code blocks of the README's tour, as they stand there.
func tour(t *testing.T) (blocks []string) {
	t.Helper()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "\n## A tour\n")
	if !ok {
		t.Fatal("the README has no tour")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for i, part := range strings.Split(section, "\n```") {
		if i%2 == 1 {
			_, code, _ := strings.Cut(part, "\n")
			blocks = append(blocks, code)
		}
	}
	return blocks
}

// The README's tour works word by word, on a machine that has seen none of it before.
func TestTheTour(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	blocks := tour(t)
	if len(blocks) != 2 {
		t.Fatalf("the tour has %d code blocks, want that of the first terminal and that of the other one", len(blocks))
	}
	var first []string
	for line := range strings.Lines(blocks[0]) {
		command, _, _ := strings.Cut(line, "#")
		first = append(first, strings.TrimSpace(command))
	}
	if !slices.Equal(first, []string{"make build", "bin/scaleout dev"}) {
		t.Fatalf("the first terminal does %q", first)
	}

	dir, env := workFolder(t)
	// The one thing that is not as it stands there: other ports, so that nothing else on this machine is in the way.
	runDev(t, dir, env, first[1])

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	other := exec.CommandContext(ctx, "sh", "-eux")
	other.Dir, other.Env, other.Stdin = dir, env, strings.NewReader(blocks[1])
	raw, err := other.CombinedOutput()
	out := string(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"loaded sales of", "succeeded", "Folder id", "master-2", "runs again"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q in\n%s", want, out)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "out", "sales-2026-*.csv")); err != nil || len(files) != 2 {
		t.Errorf("the packages wrote %q, %v", files, err)
	}
}

// workFolder makes a folder as 'make build' leaves the project's, with the binary and the sample, and an environment
// that names no cluster.
func workFolder(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "scaleout"),
		".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(dir, "cmd", "scaleout", "sample"), os.DirFS("sample")); err != nil {
		t.Fatal(err)
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SCALEOUT_") {
			env = append(env, kv)
		}
	}
	return dir, env
}

// runDev runs a 'dev' of a document in a folder, with free ports, until the test ends. It returns when all of it is
// ready.
func runDev(t *testing.T, dir string, env []string, line string) {
	t.Helper()
	dev := exec.Command("sh", "-c", fmt.Sprintf("exec %s --port %d", line, freeRow(t)))
	dev.Dir, dev.Env = dir, env
	var said bytes.Buffer
	dev.Stdout, dev.Stderr = &said, &said
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	running := true
	t.Cleanup(func() {
		if !running {
			return
		}
		_ = dev.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("dev: %v\n%s", err, said.String())
			}
		case <-time.After(time.Minute):
			_ = dev.Process.Kill()
			<-ended
			t.Error("dev did not end when it was asked to")
		}
	})
	for deadline := time.Now().Add(90 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(dir, "scaleout-dev", "env")); err == nil {
			return
		}
		select {
		case err := <-ended:
			running = false
			t.Fatalf("dev ended: %v\n%s", err, said.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("dev is not ready")
		}
	}
}
