package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "make the fixture if it is missing; it is never replaced")

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

var (
	gone  = digest("gone")
	taken = time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)
)

func metadata() Metadata {
	return Metadata{
		Created: taken, Cluster: "c1", Master: "master-1", Version: "dev", Level: 3, Index: 7, Blobs: true, KeyRing: true,
		Rows: map[string]int{"folders": 2},
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// write writes an archive with the given blobs and one missing blob.
func write(w io.Writer, m Metadata, blobs ...string) error {
	a, err := NewWriter(w, m)
	if err != nil {
		return err
	}
	if m.KeyRing {
		if err := a.KeyRing([]byte(`{"sealed":"ring"}`)); err != nil {
			return err
		}
	}
	if err := a.State(text(strings.Repeat("state ", 9))); err != nil {
		return err
	}
	slices.SortFunc(blobs, func(a, b string) int { return strings.Compare(digest(a), digest(b)) })
	for _, b := range blobs {
		if err := a.Blob(digest(b), int64(len(b)), strings.NewReader(b)); err != nil {
			return err
		}
	}
	return a.Close([]string{gone})
}

func sample(t testing.TB, blobs ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, metadata(), blobs...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	big := strings.Repeat("0123456789", bufferSize/5)
	seen := map[string]string{}
	got, err := Read(bytes.NewReader(sample(t, big, "")), func(e Entry, r io.Reader) error {
		raw, err := io.ReadAll(r)
		if int64(len(raw)) != e.Size {
			t.Errorf("%s has %d bytes, its entry says %d", e.Name, len(raw), e.Size)
		}
		seen[e.Name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		NameKeyRing: `{"sealed":"ring"}`, NameState: strings.Repeat("state ", 9),
		BlobFolder + digest(big): big, BlobFolder + digest(""): "",
	}
	if !maps.Equal(seen, want) {
		t.Errorf("visited %v", slices.Sorted(maps.Keys(seen)))
	}
	m := metadata()
	m.Format = Format
	if fmt.Sprint(got.Metadata) != fmt.Sprint(m) {
		t.Errorf("metadata %+v, want %+v", got.Metadata, m)
	}
	if got.Blobs != 2 || got.Entries != 7 || !slices.Equal(got.Missing, []string{gone}) {
		t.Errorf("%+v", got)
	}
}

func TestVisitors(t *testing.T) {
	file := sample(t, "a", "bc")
	t.Run("one that stops reading", func(t *testing.T) {
		if _, err := Read(bytes.NewReader(file), func(_ Entry, r io.Reader) error {
			_, err := r.Read(make([]byte, 1))
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	for name, want := range map[string]error{"an error": errors.New("enough"), "io.EOF": io.EOF} {
		t.Run(name, func(t *testing.T) {
			if _, err := Read(bytes.NewReader(file), func(Entry, io.Reader) error { return want }); !errors.Is(err, want) {
				t.Errorf("%v; want %v", err, want)
			}
		})
	}
}

// An archive without its optional entries.
func TestSmallestArchive(t *testing.T) {
	m := metadata()
	m.KeyRing, m.Blobs = false, false
	var out bytes.Buffer
	w, err := NewWriter(&out, m)
	if err := errors.Join(err, w.State(text("")), w.Close(nil)); err != nil {
		t.Fatal(err)
	}
	got, err := Verify(&out)
	if err != nil || got.Entries != 3 || got.Blobs != 0 || got.Missing != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// Each byte counts.
func TestDamageIsReported(t *testing.T) {
	good := sample(t, "a", "bc")
	for n := range good {
		if _, err := Verify(bytes.NewReader(good[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", n, len(good), err)
		}
		flipped := bytes.Clone(good)
		flipped[n] ^= 1 << (n % 8)
		if _, err := Verify(bytes.NewReader(flipped)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("bit %d flipped at %d of %d: %v", n%8, n, len(good), err)
		}
	}
	for name, tail := range map[string][]byte{"a byte": {0}, "a block": make([]byte, blockSize), "an archive": good} {
		if _, err := Verify(bytes.NewReader(slices.Concat(good, tail))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s too many: %v", name, err)
		}
	}
}

func TestErrorsOfTheSourceAreNoDamage(t *testing.T) {
	want := errors.New("the disk does not answer")
	good := sample(t, "a")
	for n := 0; n <= len(good); n += blockSize / 2 {
		in := io.MultiReader(bytes.NewReader(good[:n]), failing{want})
		if _, err := Verify(in); !errors.Is(err, want) || errors.Is(err, ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestWriterRefuses(t *testing.T) {
	for name, use := range map[string]func(w *Writer) error{
		"blobs before the state":   func(w *Writer) error { return w.Blob(digest("a"), 1, strings.NewReader("a")) },
		"an end without the state": func(w *Writer) error { return w.Close(nil) },
		"a second state":           func(w *Writer) error { return errors.Join(w.State(text("")), w.State(text(""))) },
		"a late key ring":          func(w *Writer) error { return errors.Join(w.State(text("")), w.KeyRing(nil)) },
		"a blob twice": func(w *Writer) error {
			return errors.Join(w.State(text("")), w.Blob(digest(""), 0, strings.NewReader("")),
				w.Blob(digest(""), 0, strings.NewReader("")))
		},
		"a path as a digest": func(w *Writer) error {
			return errors.Join(w.State(text("")), w.Blob("../../"+gone[6:], 0, strings.NewReader("")))
		},
		"a longer blob": func(w *Writer) error {
			return errors.Join(w.State(text("")), w.Blob(gone, 1, strings.NewReader("ab")))
		},
		"a shorter blob": func(w *Writer) error {
			return errors.Join(w.State(text("")), w.Blob(gone, 3, strings.NewReader("ab")))
		},
		"a blob with another digest": func(w *Writer) error {
			return errors.Join(w.State(text("")), w.Blob(gone, 2, strings.NewReader("ab")))
		},
		"a large key ring": func(w *Writer) error { return w.KeyRing(make([]byte, maxKeyRing+1)) },
		"a state that changes": func(w *Writer) error {
			n := 0
			return w.State(func(out io.Writer) error { n++; return text(strings.Repeat("s", n))(out) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := NewWriter(io.Discard, metadata())
			if err != nil {
				t.Fatal(err)
			}
			if err := use(w); err == nil || errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
		})
	}
}

// Headers are what archive/tar writes, and it reads those that are beyond POSIX.
func TestHeadersAreThoseOfTar(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, maxOctal, maxOctal + 1, maxEntry} {
		h := tar.Header{
			Name: BlobFolder + gone, Mode: 0o600, Size: size, ModTime: taken, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
		}
		got := header(Entry{h.Name, size}, taken.Unix())
		if size <= maxOctal {
			var want bytes.Buffer
			if err := tar.NewWriter(&want).WriteHeader(&h); err != nil || !bytes.Equal(got[:], want.Bytes()) {
				t.Errorf("%d bytes: %v\n%q\n%q", size, err, got, want.Bytes())
			}
		}
		read, err := tar.NewReader(bytes.NewReader(got[:])).Next()
		if err != nil || read.Name != h.Name || read.Size != size || read.Mode != h.Mode || !read.ModTime.Equal(taken) {
			t.Errorf("%d bytes: archive/tar reads %+v, %v", size, read, err)
		}
		if e, at, err := parseHeader(got); err != nil || e != (Entry{h.Name, size}) || at != taken.Unix() {
			t.Errorf("%d bytes: %+v, %d, %v", size, e, at, err)
		}
	}
}

// A backup can be opened without this program.
func TestStandardToolsOpenAnArchive(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sha256sum is not there")
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "cluster.tar")
	blob := strings.Repeat("blob", 5000)
	if err := WriteFile(path, func(w *os.File) error { return write(w, metadata(), blob, "small") }); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		tool, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		cmd := exec.Command(tool, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	if list := strings.Fields(run("tar", "-tf", path)); len(list) != 7 || list[0] != NameMetadata || list[6] != NameSums {
		t.Errorf("tar lists %q", list)
	}
	if got := run("tar", "-xOf", path, BlobFolder+digest(blob)); got != blob {
		t.Errorf("tar extracts %d bytes of a blob of %d", len(got), len(blob))
	}
	run("tar", "-xf", path)
	if out := run("sha256sum", "-c", NameSums); strings.Count(out, ": OK\n") != 6 {
		t.Error(out)
	}
}

// Archives of format 1 are read for ever.
func TestFormat1IsRead(t *testing.T) {
	path := filepath.Join("testdata", "format-1", "cluster.tar")
	if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
		if err := WriteFile(path, func(w *os.File) error { return write(w, metadata(), "a", "bc") }); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Verify(bytes.NewReader(raw))
	if err != nil || got.Metadata.Cluster != "c1" || got.Blobs != 2 || !slices.Equal(got.Missing, []string{gone}) {
		t.Errorf("%+v, %v", got, err)
	}
	if !bytes.Equal(raw, sample(t, "a", "bc")) {
		t.Error("this version writes another format than the fixture has")
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "cluster.tar")
	if err := os.WriteFile(path, []byte("the last one"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := errors.New("no more")
	for name, save := range map[string]func(*os.File) error{
		"an error":           func(*os.File) error { return want },
		"an incomplete file": func(w *os.File) error { _, err := w.Write(sample(t, "a")[:3000]); return err },
	} {
		t.Run(name, func(t *testing.T) {
			if err := WriteFile(path, save); !errors.Is(err, want) && !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			entries, err := os.ReadDir(folder)
			if err != nil || len(entries) != 1 {
				t.Errorf("%v, %v", entries, err)
			}
			if raw, err := os.ReadFile(path); err != nil || string(raw) != "the last one" {
				t.Errorf("the file is %q now, %v", raw, err)
			}
		})
	}
}
