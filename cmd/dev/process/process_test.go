package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain is also the child that the tests start: it obeys, and writes to its standard error what it was told.
func TestMain(m *testing.M) {
	if IsChild() {
		hurried := make(chan struct{})
		ctx := Obey(context.Background(), os.Stdin, func() { close(hurried) })
		fmt.Fprintln(os.Stderr, "runs")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "stops")
		if os.Getenv("LINGERS") != "" {
			<-hurried
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts this test's program again.
func child(t *testing.T, env ...string) (p *Process, said func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stderr")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p, err = Start(Command{Name: "child", Path: os.Args[0], Env: append(os.Environ(), env...), Stderr: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
	})
	return p, func() string {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
}

func TestEndOfAChild(t *testing.T) {
	const limit = time.Minute
	for _, test := range []struct {
		name string
		env  []string
		end  func(p *Process)
		code int
	}{
		{"asked to stop", nil, (*Process).Stop, 0},
		{"asked to hurry", []string{"LINGERS=1"}, (*Process).Hurry, 3},
		{"asked to stop, then to hurry", []string{"LINGERS=1"}, func(p *Process) { p.Stop(); p.Hurry() }, 3},
		{"its parent is gone", []string{"LINGERS=1"}, func(p *Process) { p.stdin.Close() }, 3},
		{"killed", nil, (*Process).Kill, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, said := child(t, test.env...)
			if p.Ended() || p.EndsWithin(0) || p.PID() == 0 {
				t.Error("the child does not run")
			}
			test.end(p)
			if !p.EndsWithin(limit) || !p.Ended() {
				t.Fatalf("the child runs on: %s", said())
			}
			if p.ExitCode() != test.code && !(test.code < 0 && p.ExitCode() != 0) || (p.Err() == nil) != (test.code == 0) {
				t.Errorf("exit code %d, %v", p.ExitCode(), p.Err())
			}
			if test.code >= 0 && !strings.Contains(said(), "stops") {
				t.Errorf("the child said %q", said())
			}
		})
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	_, err := Start(Command{Name: "master-1", Path: filepath.Join(t.TempDir(), "none")})
	if err == nil || !strings.Contains(err.Error(), "master-1") {
		t.Error(err)
	}
}

func TestObey(t *testing.T) {
	for _, test := range []struct {
		name, words string
		gone        bool // the parent is
		hurries     bool
	}{
		{"stop", "stop\n", false, false},
		{"an unknown word", "noise\nstop\n", false, false},
		{"hurry", "hurry\n", false, true},
		{"stop, then hurry", "stop\nhurry\n", false, true},
		{"the parent is gone", "", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, w := io.Pipe()
			var once sync.Once
			hurried := make(chan struct{})
			ctx := Obey(t.Context(), r, func() { once.Do(func() { close(hurried) }) })
			if _, err := io.WriteString(w, test.words); err != nil {
				t.Fatal(err)
			}
			if test.gone {
				w.Close()
			}
			<-ctx.Done()
			if test.hurries {
				<-hurried
			} else {
				select {
				case <-hurried:
					t.Error("it hurries")
				default:
				}
			}
			w.Close()
			<-hurried
		})
	}
}
