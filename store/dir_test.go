package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

func TestIdentityIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "data")
	d := open(t, path)
	id := d.ID()
	if _, err := uuid.Parse(id); err != nil {
		t.Fatalf("id %q: %v", id, err)
	}
	if d.Path() != path || !d.New() {
		t.Fatalf("path %q, new %v", d.Path(), d.New())
	}
	if n, err := d.Free(); err != nil || n == 0 {
		t.Fatalf("free %d, %v", n, err)
	}
	closeDir(t, d)
	if err := d.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	if again := open(t, path); again.ID() != id || !again.New() {
		t.Fatalf("reopened: id %s new %v, want %s true", again.ID(), again.New(), id)
	}
	if other := open(t, t.TempDir()); other.ID() == id {
		t.Fatal("two directories, one identity")
	}
}

func TestNewEndsWithAnyRaftState(t *testing.T) {
	for name, make := range map[string]func(d *Dir) error{
		"entry": func(d *Dir) error { return d.Log().StoreLog(entry(1, 1)) },
		"vote":  func(d *Dir) error { return d.Log().SetUint64([]byte("CurrentTerm"), 1) },
		"snapshot": func(d *Dir) error {
			sink, err := d.Snapshots().Create(1, 5, 1, raft.Configuration{}, 1, nil)
			if err != nil {
				return err
			}
			return sink.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d := open(t, path)
			must(t, make(d))
			if d.New() {
				t.Fatal("still new")
			}
			closeDir(t, d)
			if open(t, path).New() {
				t.Fatal("new again after reopening")
			}
		})
	}
}

func TestOpenTwice(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	_, err := Open(path, Options{Logger: quiet()})
	wantErr(t, err, ErrLocked, path, fmt.Sprintf("pid %d", os.Getpid()))
	must(t, d.Save("still", 1))
	closeDir(t, d)
	open(t, path)
}

func TestOpenWhileAnotherProcessHolds(t *testing.T) {
	path := t.TempDir()
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childEnv+"=hold")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	_, err = Open(path, Options{Logger: quiet()})
	wantErr(t, err, ErrLocked, fmt.Sprintf("process %d", cmd.Process.Pid))
	wantErr(t, CopyDir(path, path+"-copy"), ErrLocked, fmt.Sprint(cmd.Process.Pid))

	must(t, cmd.Process.Kill())
	cmd.Wait()
	open(t, path) // the lock died with its process
}

func holdUntilStdinEnds(path string) {
	if _, err := Open(path, Options{Logger: quiet()}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
}

func TestDamagedIdentity(t *testing.T) {
	newer := strings.NewReplacer(`"format": 1`, `"format": 2`)
	for name, c := range map[string]struct {
		change func(string) string
		want   error
		parts  []string
	}{
		"newer":   {newer.Replace, ErrNewerFormat, []string{"format 2", "up to 1", "empty directory"}},
		"garbage": {func(string) string { return "\x00\x00\x00" }, ErrCorrupt, []string{nodeName, "new node"}},
		"empty":   {func(string) string { return "" }, ErrCorrupt, []string{nodeName}},
		"null":    {func(string) string { return "null" }, ErrCorrupt, []string{nodeName}},
		"other id": {func(s string) string {
			return strings.Replace(s, `"id": "`, `"id": "f`, 1)
		}, ErrCorrupt, []string{"checksum"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			closeDir(t, open(t, path))
			file := filepath.Join(path, nodeName)
			raw, err := os.ReadFile(file)
			must(t, err)
			changed := c.change(string(raw))
			if changed == string(raw) {
				t.Fatalf("nothing changed in %s", raw)
			}
			must(t, os.WriteFile(file, []byte(changed), 0o600))
			for range 2 { // the failed attempt leaves neither lock nor change
				_, err = Open(path, Options{Logger: quiet()})
				wantErr(t, err, c.want, c.parts...)
			}
			if now, _ := os.ReadFile(file); string(now) != changed {
				t.Fatal("the file was changed")
			}
		})
	}
	t.Run("bad id", func(t *testing.T) {
		path := t.TempDir()
		closeDir(t, open(t, path))
		must(t, writeDocument(filepath.Join(path, nodeName), node{Format: 1, ID: "master1"}))
		_, err := Open(path, Options{Logger: quiet()})
		wantErr(t, err, ErrCorrupt, "master1", "UUID")
	})
}

func TestHalfADirectory(t *testing.T) {
	t.Run("identity lost, state there", func(t *testing.T) {
		path := t.TempDir()
		d := open(t, path)
		must(t, d.Log().StoreLog(entry(1, 10)))
		closeDir(t, d)
		must(t, os.Remove(filepath.Join(path, nodeName)))
		_, err := Open(path, Options{Logger: quiet()})
		wantErr(t, err, ErrCorrupt, nodeName)
	})
	t.Run("log lost, identity there", func(t *testing.T) {
		path := t.TempDir()
		closeDir(t, open(t, path))
		must(t, os.Remove(filepath.Join(path, logName)))
		_, err := Open(path, Options{Logger: quiet()})
		wantErr(t, err, ErrCorrupt, logName, "vote")
		if _, err := os.Stat(filepath.Join(path, logName)); err == nil {
			t.Fatal("a log was made")
		}
	})
	t.Run("power lost during the first open", func(t *testing.T) {
		path := t.TempDir()
		closeDir(t, open(t, path))
		must(t, os.Remove(filepath.Join(path, nodeName)))
		must(t, os.WriteFile(filepath.Join(path, nodeName+".tmp-1"), []byte("{"), 0o600))
		must(t, os.WriteFile(filepath.Join(path, "ring.tmp-1"), []byte("k"), 0o600))
		open(t, path)
		if _, err := os.Stat(filepath.Join(path, nodeName+".tmp-1")); err == nil {
			t.Error("left-over still there")
		}
		if _, err := os.Stat(filepath.Join(path, "ring.tmp-1")); err != nil {
			t.Error("somebody else's file is gone")
		}
	})
	t.Run("path is a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, nil, 0o600))
		if _, err := Open(path, Options{Logger: quiet()}); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Fatalf("error %v", err)
		}
	})
}

type promise struct {
	Proposal string
	Set      []string
}

func TestDocuments(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	got := promise{Proposal: "untouched"}
	if found, err := d.Load("promise", &got); found || err != nil || got.Proposal != "untouched" {
		t.Fatalf("found %v, %v, %v", found, err, got)
	}
	must(t, d.Save("promise", promise{"p1", []string{"a", "b"}}))
	must(t, d.Save("promise", promise{"p2", []string{"<c>"}}))
	closeDir(t, d)

	leftover := filepath.Join(path, documentsName, "promise.json.tmp-7")
	must(t, os.WriteFile(leftover, []byte("{"), 0o600))
	d = open(t, path)
	if found, err := d.Load("promise", &got); !found || err != nil || got.Proposal != "p2" || got.Set[0] != "<c>" {
		t.Fatalf("found %v, %v, %v", found, err, got)
	}
	if _, err := os.Stat(leftover); err == nil {
		t.Error("left-over still there")
	}

	for _, bad := range []string{"", "..", "a/b", "A", "-a", strings.Repeat("a", 65)} {
		if err := d.Save(bad, 1); err == nil {
			t.Errorf("name %q accepted", bad)
		}
		if _, err := d.Load(bad, &got); err == nil {
			t.Errorf("name %q accepted", bad)
		}
	}
	if err := d.Save("promise", func() {}); err == nil {
		t.Error("a function was saved")
	}
	if _, err := d.Load("promise", new(int)); err == nil {
		t.Error("an object was loaded as a number")
	}

	file := filepath.Join(path, documentsName, "promise.json")
	raw, err := os.ReadFile(file)
	must(t, err)
	for i := range raw {
		damaged := append([]byte(nil), raw...)
		damaged[i] ^= 0x01
		must(t, os.WriteFile(file, damaged, 0o600))
		var v promise
		// White space and the spelling of keys may change; the value may not.
		if _, err := d.Load("promise", &v); err == nil && (v.Proposal != "p2" || len(v.Set) != 1 || v.Set[0] != "<c>") {
			t.Fatalf("byte %d flipped: read %v", i, v)
		} else if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	must(t, os.WriteFile(file, raw[:len(raw)/2], 0o600))
	_, err = d.Load("promise", &got)
	wantErr(t, err, ErrCorrupt, file)
}

func TestFreezeIsACrash(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	must(t, d.Log().StoreLogs(entries(1, 10, 100)))
	must(t, d.Save("doc", "before"))
	digest, _, err := d.Blobs().Create(context.Background(), strings.NewReader("before"), 0)
	must(t, err)
	sink, err := d.Snapshots().Create(1, 5, 1, raft.Configuration{}, 1, nil)
	must(t, err)
	_, err = sink.Write([]byte("state"))
	must(t, err)

	// A body that freezes the store half-way.
	before := files(t, path)
	freezing := io.MultiReader(strings.NewReader("half"), readerFunc(func(p []byte) (int, error) {
		d.Freeze()
		return copy(p, "rest"), io.EOF
	}))
	_, _, err = d.Blobs().Create(context.Background(), freezing, 0)
	wantErr(t, err, ErrFrozen)

	_, touchErr := d.Blobs().Touch(digest)
	_, deleteErr := d.Blobs().Delete(digest, d.node.Created.AddDate(100, 0, 0))
	_, againErr := d.Blobs().Put(context.Background(), digest, strings.NewReader("before"), 0)
	_, createErr := d.Snapshots().Create(1, 6, 1, raft.Configuration{}, 1, nil)
	_, writeErr := sink.Write([]byte("more"))
	for what, err := range map[string]error{
		"store": d.Log().StoreLog(entry(11, 10)), "delete": d.Log().DeleteRange(1, 5),
		"set": d.Log().Set([]byte("k"), nil), "vote": d.Log().SetUint64([]byte("k"), 1),
		"document": d.Save("doc", "after"), "touch": touchErr, "delete blob": deleteErr, "put": againErr,
		"snapshot": createErr, "snapshot write": writeErr, "snapshot close": sink.Close(),
	} {
		if !errors.Is(err, ErrFrozen) {
			t.Errorf("%s: %v, want %v", what, err, ErrFrozen)
		}
	}
	after := files(t, path)
	for name, size := range after {
		if before[name] != size && !strings.Contains(name, snapshotTemp) {
			t.Errorf("%s: %d bytes before the freeze, %d after", name, before[name], size)
		}
	}
	var log raft.Log
	must(t, d.Log().GetLog(10, &log)) // reading goes on
	closeDir(t, d)
	wantErr(t, d.Save("doc", "later"), ErrFrozen)

	d = open(t, path)
	if last, _ := d.Log().LastIndex(); last != 10 || !d.Blobs().Has(digest) {
		t.Fatalf("last index %d, blob %v", last, d.Blobs().Has(digest))
	}
	if list, _ := d.Snapshots().List(); len(list) != 0 {
		t.Fatalf("snapshots %v", list)
	}
	closeDir(t, d)
	wantErr(t, d.Save("doc", "later"), ErrClosed)
	wantErr(t, d.Log().StoreLog(entry(11, 1)), ErrClosed)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCopyDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	d := open(t, path)
	must(t, d.Log().StoreLogs(entries(1, 50, 1000)))
	must(t, d.Save("doc", "x"))
	digest, _, err := d.Blobs().Create(context.Background(), strings.NewReader("blob"), 0)
	must(t, err)
	_, touched, err := d.Blobs().Stat(digest)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(path, "keyring"), []byte("k"), 0o600))
	dest := filepath.Join(t.TempDir(), "deep", "copy")

	wantErr(t, CopyDir(path, dest), ErrLocked, path)
	id := d.ID()
	closeDir(t, d)
	if err := CopyDir(path, filepath.Join(path, "inside")); err == nil {
		t.Error("copied into itself")
	}
	if err := CopyDir(t.TempDir(), dest); err == nil {
		t.Error("copied what is not a data directory")
	}
	must(t, CopyDir(path, dest))
	wantErr(t, CopyDir(path, dest), os.ErrExist, dest)

	want, got := files(t, path), files(t, dest)
	delete(want, lockName)
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Fatalf("copy has %v, want %v", got, want)
	}
	if left, _ := filepath.Glob(dest + ".partial-*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if st, _ := os.Stat(filepath.Join(dest, "keyring")); st.Mode().Perm() != 0o600 {
		t.Errorf("key ring is %v", st.Mode())
	}
	c := open(t, dest)
	if last, _ := c.Log().LastIndex(); last != 50 || c.ID() != id {
		t.Fatalf("copy: last index %d, id %s", last, c.ID())
	}
	if _, at, err := c.Blobs().Stat(digest); err != nil || !at.Equal(touched) && at.Sub(touched).Abs() > 1e9 {
		t.Fatalf("copy: blob touched %v, want %v, %v", at, touched, err)
	}
	open(t, path) // and the original is free again
}
