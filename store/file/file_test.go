package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary the writer that TestAKilledWriter kills.
const childEnv = "FILE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folderHolds checks the names in a folder, and so that no temporary file is left.
func folderHolds(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, err)
	return string(raw)
}

func TestTemporaryNames(t *testing.T) {
	for _, c := range []struct {
		name, want string
		ok         bool
	}{
		{"a.tar.tmp-17", "a.tar", true},
		{"a.tmp-b.tar.tmp-17", "a.tmp-b.tar", true},
		{"a.tar", "", false},
		{"", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := Temporary(c.name); got != c.want || ok != c.ok {
				t.Errorf("Temporary(%q) = %q, %v; want %q, %v", c.name, got, ok, c.want, c.ok)
			}
		})
	}
}

func TestWriteReplacesContentAndMode(t *testing.T) {
	for _, c := range []struct {
		name      string
		old, mode fs.FileMode // old 0: the file is new
	}{
		{"new and secret", 0, 0o600},
		{"new and public", 0, 0o644}, // whatever the umask
		{"public, then secret", 0o644, 0o600},
		{"secret, then public", 0o600, 0o644},
		{"read-only before", 0o400, 0o600},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "a.json")
			if c.old != 0 {
				must(t, os.WriteFile(path, []byte("a longer old content"), 0o600))
				must(t, os.Chmod(path, c.old))
			}
			must(t, Write(path, c.mode, []byte("new")))
			st, err := os.Stat(path)
			must(t, err)
			if runtime.GOOS != "windows" && st.Mode().Perm() != c.mode {
				t.Errorf("mode %v, want %v", st.Mode().Perm(), c.mode)
			}
			if got := content(t, path); got != "new" {
				t.Errorf("content %q", got)
			}
			folderHolds(t, folder, "a.json")
		})
	}
}

func TestWriteToTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, Write("a", 0o600, []byte("new")))
	folderHolds(t, ".", "a")
}

// The content is never under its name before it is on the disk, and is secret until it has its mode.
func TestTheOrderOfTheSteps(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a")
	var order []string
	s := steps{
		sync: func(f *os.File) error {
			st, err := f.Stat()
			must(t, err)
			order = append(order, fmt.Sprintf("sync %d bytes of %v", st.Size(), st.Mode()))
			return f.Sync()
		},
		rename: func(from, to string) error {
			order = append(order, "rename to "+filepath.Base(to))
			return rename(from, to)
		},
		syncDir: func(dir string) error {
			order = append(order, "sync folder with "+content(t, path))
			return SyncDir(dir)
		},
	}
	must(t, s.write(path, 0o640, func(f *os.File) error {
		st, err := f.Stat()
		must(t, err)
		if runtime.GOOS != "windows" && st.Mode() != 0o600 {
			t.Errorf("while it is written its mode is %v", st.Mode())
		}
		_, err = f.WriteString("new")
		return err
	}))
	want := []string{"sync 3 bytes of -rw-r-----", "rename to a", "sync folder with new"}
	if runtime.GOOS != "windows" && !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

func TestAFailedStepLeavesOldOrNew(t *testing.T) {
	broken := errors.New("input/output error")
	fails := func(*os.File) error { return &fs.PathError{Op: "sync", Path: "some temporary name", Err: broken} }
	for _, c := range []struct {
		name  string
		steps steps
		fill  error
		want  string
	}{
		{"what fills it", disk, broken, "old"},
		{"the fsync", steps{fails, rename, SyncDir}, nil, "old"},
		{"the rename", steps{disk.sync, func(from, to string) error {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: broken}
		}, SyncDir}, nil, "old"},
		{"the folder's fsync", steps{disk.sync, rename, func(p string) error {
			return &fs.PathError{Op: "sync", Path: p, Err: broken}
		}}, nil, "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "a")
			must(t, os.WriteFile(path, []byte("old"), 0o600))
			err := c.steps.write(path, 0o600, func(f *os.File) error {
				_, err := f.WriteString("new")
				return errors.Join(err, c.fill)
			})
			if !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
			if c.fill == nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), temporaryMark)) {
				t.Errorf("error %q does not name the file, or names another", err)
			}
			if got := content(t, path); got != c.want {
				t.Errorf("content %q, want %q", got, c.want)
			}
			folderHolds(t, folder, "a")
		})
	}
}

func TestErrorsOfTheSystemNameTheFile(t *testing.T) {
	folder := t.TempDir()
	occupied := filepath.Join(folder, "occupied")
	must(t, os.MkdirAll(filepath.Join(occupied, "by this"), 0o700))
	for name, path := range map[string]string{
		"no such folder":   filepath.Join(folder, "none", "a"),
		"a folder instead": occupied,
	} {
		t.Run(name, func(t *testing.T) {
			err := Write(path, 0o600, []byte("x"))
			if err == nil || !strings.Contains(err.Error(), path+": ") || strings.Contains(err.Error(), temporaryMark) {
				t.Errorf("error %v", err)
			}
			folderHolds(t, folder, "occupied")
		})
	}
	if err := Write(filepath.Join(folder, "none", "a"), 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestRename(t *testing.T) {
	folder := t.TempDir()
	from, to := filepath.Join(folder, "a"), filepath.Join(folder, "sub", "b")
	must(t, MakeDir(filepath.Dir(to)))
	must(t, os.WriteFile(from, []byte("new"), 0o600))
	must(t, os.WriteFile(to, []byte("old"), 0o600))
	must(t, Rename(from, to))
	if got := content(t, to); got != "new" {
		t.Errorf("content %q", got)
	}
	folderHolds(t, folder, "sub")
	if err := Rename(from, to); !errors.Is(err, fs.ErrNotExist) || content(t, to) != "new" {
		t.Errorf("of nothing: %v", err)
	}
}

func TestMakeDir(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a", "b", "c")
	must(t, MakeDir(path))
	must(t, MakeDir(path))
	st, err := os.Stat(filepath.Join(folder, "a", "b"))
	must(t, err)
	if runtime.GOOS != "windows" && st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
	must(t, Write(filepath.Join(path, "file"), 0o600, nil))
	for name, path := range map[string]string{
		"a file": filepath.Join(path, "file"), "below a file": filepath.Join(path, "file", "d"),
	} {
		if err := MakeDir(path); err == nil || !strings.Contains(err.Error(), "file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRemoveLeftovers(t *testing.T) {
	all := []string{"a", "a" + temporaryMark + "1", "a" + temporaryMark + "old", "b" + temporaryMark + "old", "c.tmp"}
	for _, c := range []struct {
		name  string
		idle  time.Duration
		names []string
		want  []string
	}{
		{"of every name", 0, nil, []string{"a", "c.tmp"}},
		{"of one name", 0, []string{"a"}, []string{"a", "b.tmp-old", "c.tmp"}},
		{"of every name, idle", time.Hour, nil, []string{"a", "a.tmp-1", "c.tmp"}},
		{"of one name, idle", time.Hour, []string{"x", "b"}, []string{"a", "a.tmp-1", "a.tmp-old", "c.tmp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			for _, name := range all {
				path := filepath.Join(folder, name)
				must(t, os.WriteFile(path, nil, 0o600))
				if strings.HasSuffix(name, "old") {
					at := time.Now().Add(-2 * time.Hour)
					must(t, os.Chtimes(path, at, at))
				}
			}
			RemoveLeftovers(folder, c.idle, c.names...)
			folderHolds(t, folder, c.want...)
		})
	}
	RemoveLeftovers(filepath.Join(t.TempDir(), "none"), 0)
}

// A process that is killed while it writes leaves one content or the other, whole, and what it leaves besides can be
// removed.
func TestAKilledWriter(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a")
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		told := make([]byte, 1)
		for range 3 + round { // that many writes were confirmed
			if _, err := out.Read(told); err != nil {
				t.Fatalf("the child: %v", err)
			}
		}
		must(t, cmd.Process.Kill())
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		if got := content(t, path); len(got) != childSize || strings.Trim(got, got[:1]) != "" {
			t.Fatalf("%d bytes that are no content which was ever written", len(got))
		}
		RemoveLeftovers(folder, 0)
		folderHolds(t, folder, "a")
	}
}

const childSize = 1 << 20

func writeUntilKilled(path string) {
	for n := byte(0); ; n++ {
		err := Write(path, 0o600, bytes.Repeat([]byte{'a' + n%26}, childSize))
		if err == nil {
			_, err = os.Stdout.Write([]byte{n})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
}
