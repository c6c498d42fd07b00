package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"scaleout/fsm/command"
)

var bg = context.Background()

func put(t testing.TB, b *Blobs, content string) string {
	t.Helper()
	digest, size, err := b.Create(bg, strings.NewReader(content), 0)
	must(t, err)
	if digest != digestOf(content) || size != int64(len(content)) {
		t.Fatalf("digest %s, size %d", digest, size)
	}
	return digest
}

func TestBlobRoundTrip(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	b := d.Blobs()
	contents := []string{"", "x", strings.Repeat("0123456789", 100_000)}
	for _, c := range contents {
		size, err := b.Put(bg, digestOf(c), strings.NewReader(c), int64(max(len(c), 1)))
		if err != nil || size != int64(len(c)) {
			t.Fatalf("%d, %v", size, err)
		}
		if _, err := os.Stat(filepath.Join(path, blobsName, digestOf(c)[:2], digestOf(c))); err != nil {
			t.Error(err)
		}
	}
	closeDir(t, d)
	b = open(t, path).Blobs()
	for _, c := range contents {
		blob, err := b.Open(digestOf(c))
		must(t, err)
		got, err := io.ReadAll(blob)
		if err != nil || string(got) != c || blob.Size() != int64(len(c)) {
			t.Fatalf("%d bytes, size %d, %v", len(got), blob.Size(), err)
		}
		if n, err := blob.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("after the end: %d, %v", n, err)
		}
		if len(c) > 100 {
			part := make([]byte, 10)
			if _, err := blob.ReadAt(part, 55); err != nil || string(part) != c[55:65] {
				t.Fatalf("%q, %v", part, err)
			}
		}
		must(t, blob.Close())
		must(t, blob.Close())
		must(t, b.Verify(bg, digestOf(c)))
	}
	absent := digestOf("absent")
	_, err := b.Open(absent)
	wantErr(t, err, ErrNotFound, absent)
	_, _, err = b.Stat(absent)
	wantErr(t, err, ErrNotFound)
	wantErr(t, b.Verify(bg, absent), ErrNotFound)
	if ok, err := b.Touch(absent); ok || err != nil {
		t.Errorf("touch: %v, %v", ok, err)
	}
	if ok, err := b.Delete(absent, time.Now()); ok || err != nil {
		t.Errorf("delete: %v, %v", ok, err)
	}
	if b.Has(absent) {
		t.Error("has what it has not")
	}
}

func TestRefusedBlobsLeaveNothing(t *testing.T) {
	path := t.TempDir()
	b := open(t, path).Blobs()
	before := fmt.Sprint(files(t, path))
	cancelled, cancel := context.WithCancel(bg)
	cancel()
	broken := errors.New("connection reset")
	good := digestOf("good")

	_, err := b.Put(bg, good, strings.NewReader("evil"), 0)
	wantErr(t, err, command.ErrDigest, good, digestOf("evil"))
	_, err = b.Put(bg, good, strings.NewReader("good"), 3)
	wantErr(t, err, command.ErrBlobTooLarge, "3 bytes")
	_, _, err = b.Create(bg, strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20-1)
	wantErr(t, err, command.ErrBlobTooLarge)
	breaks := readerFunc(func([]byte) (int, error) { return 0, broken })
	_, err = b.Put(bg, good, io.MultiReader(strings.NewReader("go"), breaks), 0)
	wantErr(t, err, broken, "after 2 bytes")
	_, err = b.Put(cancelled, good, strings.NewReader("good"), 0)
	wantErr(t, err, context.Canceled)
	for _, bad := range []string{
		"x", "../../../../etc/passwd", strings.ToUpper(good), good + "0", strings.Repeat("/", 64),
	} {
		_, err = b.Put(bg, bad, strings.NewReader("good"), 0)
		wantErr(t, err, command.ErrDigest)
		_, err = b.Open(bad)
		wantErr(t, err, command.ErrDigest)
		_, err = b.Touch(bad)
		wantErr(t, err, command.ErrDigest)
		_, err = b.Delete(bad, time.Now())
		wantErr(t, err, command.ErrDigest)
		if b.Has(bad) {
			t.Error("has", bad)
		}
	}
	_, err = b.Put(bg, "short", strings.NewReader("good"), 0)
	wantErr(t, err, command.ErrDigest)
	if b.Has(good) {
		t.Error("has the refused blob")
	}
	if after := fmt.Sprint(files(t, path)); after != before {
		t.Errorf("files %v, before %v", after, before)
	}
	if _, err := b.Put(bg, "", strings.NewReader("good"), 4); err != nil || !b.Has(good) {
		t.Errorf("computed digest: %v", err)
	}
}

func TestPutAgainTouches(t *testing.T) {
	b := open(t, t.TempDir()).Blobs()
	digest := put(t, b, "content")
	_, first, _ := b.Stat(digest)
	rest := strings.NewReader("never looked at")
	size, err := b.Put(bg, digest, rest, 1000)
	if err != nil || size != 7 || rest.Len() != 0 {
		t.Fatalf("size %d, %v, %d bytes unread", size, err, rest.Len())
	}
	_, second, _ := b.Stat(digest)
	if !second.After(first) {
		t.Errorf("touched %v, then %v", first, second)
	}
	// It does not matter that the sender breaks off: the blob is here.
	if _, err := b.Put(bg, digest, readerFunc(func([]byte) (int, error) { return 0, errors.New("gone") }), 0); err != nil {
		t.Error(err)
	}
	must(t, b.Verify(bg, digest))
}

func TestTouchKeepsFromDeletion(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	b := d.Blobs()
	digest := put(t, b, "content")
	start := time.Now()
	if gone, err := b.Delete(digest, start.Add(-time.Hour)); gone || err != nil {
		t.Fatalf("fresh blob: %v, %v", gone, err)
	}
	old := start.Add(-48 * time.Hour)
	closeDir(t, d)
	must(t, os.Chtimes(b.file(digest), old, old))

	b = open(t, path).Blobs()
	if _, at, _ := b.Stat(digest); !at.Equal(old) {
		t.Fatalf("touched %v, want %v", at, old)
	}
	if ok, err := b.Touch(digest); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if st, _ := os.Stat(b.file(digest)); st.ModTime().Before(start) {
		t.Error("the touch is only in memory")
	}
	// Within one process a wall clock that jumped, or a lost file time, changes nothing.
	must(t, os.Chtimes(b.file(digest), old, old))
	if gone, err := b.Delete(digest, start); gone || err != nil {
		t.Fatalf("touched blob: %v, %v", gone, err)
	}
	if gone, err := b.Delete(digest, time.Now().Add(time.Second)); !gone || err != nil {
		t.Fatalf("untouched blob: %v, %v", gone, err)
	}
	if b.Has(digest) {
		t.Error("still here")
	}
	put(t, b, "content")
	if !b.Has(digest) {
		t.Error("cannot come back")
	}
}

func damage(t *testing.T, b *Blobs, digest, how string) {
	switch how {
	case "flipped first":
		flip(t, b.file(digest), 0)
	case "flipped last":
		st, _ := os.Stat(b.file(digest))
		flip(t, b.file(digest), st.Size()-1)
	case "truncated":
		must(t, os.Truncate(b.file(digest), 100))
	case "emptied":
		must(t, os.Truncate(b.file(digest), 0))
	case "grown":
		f, err := os.OpenFile(b.file(digest), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		f.WriteString("more")
		f.Close()
	}
}

func TestDamagedBlob(t *testing.T) {
	content := strings.Repeat("content ", 20_000)
	readers := map[string]func(b *Blobs, digest string) ([]byte, error){
		"read": func(b *Blobs, digest string) ([]byte, error) {
			blob, err := b.Open(digest)
			if err != nil {
				return nil, err
			}
			defer blob.Close()
			return io.ReadAll(blob)
		},
		// A sender with a Content-Length stops after Size bytes, without ever seeing the end.
		"read size": func(b *Blobs, digest string) ([]byte, error) {
			blob, err := b.Open(digest)
			if err != nil {
				return nil, err
			}
			defer blob.Close()
			var buf bytes.Buffer
			_, err = io.CopyN(&buf, blob, blob.Size())
			if err == nil && blob.Size() == 0 {
				_, err = blob.Read(make([]byte, 1))
			}
			return buf.Bytes(), err
		},
		"verify": func(b *Blobs, digest string) ([]byte, error) { return nil, b.Verify(bg, digest) },
	}
	for how, read := range readers {
		for _, what := range []string{"flipped first", "flipped last", "truncated", "emptied", "grown"} {
			t.Run(how+"/"+what, func(t *testing.T) {
				path := t.TempDir()
				b := open(t, path).Blobs()
				digest := put(t, b, content)
				damage(t, b, digest, what)
				got, err := read(b, digest)
				wantErr(t, err, ErrCorrupt, digest)
				if len(got) == len(content) {
					t.Error("all of the damaged content was given out")
				}
				if b.Has(digest) {
					t.Error("still counts as here")
				}
				if _, err := b.Open(digest); !errors.Is(err, ErrNotFound) {
					t.Errorf("open: %v", err)
				}
				if aside, _ := filepath.Glob(filepath.Join(path, blobsName, quarantineName, digest+".*")); len(aside) != 1 {
					t.Errorf("set aside: %v", aside)
				}
				must(t, b.Walk(func(digest string, _ int64, _ time.Time) error { return errors.New("walked over " + digest) }))
				_, err = b.Put(bg, digest, strings.NewReader(content), 0)
				must(t, err)
				must(t, b.Verify(bg, digest))
			})
		}
	}
}

// A slow reader of a damaged file must not set aside the good copy that came meanwhile.
func TestQuarantineTakesOnlyWhatWasRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file is not replaced there")
	}
	b := open(t, t.TempDir()).Blobs()
	digest := put(t, b, "content")
	flip(t, b.file(digest), 3)
	slow, err := b.Open(digest)
	must(t, err)
	defer slow.Close()
	wantErr(t, b.Verify(bg, digest), ErrCorrupt)
	put(t, b, "content")
	_, err = io.ReadAll(slow)
	wantErr(t, err, ErrCorrupt)
	must(t, b.Verify(bg, digest))
}

func TestQuarantineIsBounded(t *testing.T) {
	path := t.TempDir()
	b := open(t, path).Blobs()
	for range keepQuarantined + 5 {
		digest := put(t, b, "content")
		flip(t, b.file(digest), 3)
		wantErr(t, b.Verify(bg, digest), ErrCorrupt)
	}
	if aside, _ := os.ReadDir(filepath.Join(path, blobsName, quarantineName)); len(aside) != keepQuarantined {
		t.Errorf("%d files set aside", len(aside))
	}
}

func TestWalkSeesBlobsOnly(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	want := map[string]int64{}
	for i := range 50 {
		c := strings.Repeat("c", i)
		want[put(t, d.Blobs(), c)] = int64(i)
	}
	closeDir(t, d)
	root := filepath.Join(path, blobsName)
	must(t, os.WriteFile(filepath.Join(root, incomingName, "half"), []byte("half"), 0o600))
	must(t, os.MkdirAll(filepath.Join(root, "zz"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "zz", digestOf("zz")), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(root, "notes"), nil, 0o600))
	d = open(t, path)
	if left, _ := os.ReadDir(filepath.Join(root, incomingName)); len(left) != 0 {
		t.Error("half a blob is still there")
	}
	got, last := map[string]int64{}, ""
	must(t, d.Blobs().Walk(func(digest string, size int64, touched time.Time) error {
		if digest <= last || time.Since(touched).Abs() > time.Minute {
			t.Errorf("%s after %s, touched %v", digest, last, touched)
		}
		got[digest], last = size, digest
		_, err := d.Blobs().Delete(digest, time.Now().Add(time.Hour))
		return err
	}))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("walked %v, want %v", got, want)
	}
	stop := errors.New("stop")
	put(t, d.Blobs(), "one")
	if err := d.Blobs().Walk(func(string, int64, time.Time) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func TestBlobsConcurrently(t *testing.T) {
	path := t.TempDir()
	b := open(t, path).Blobs()
	contents := []string{strings.Repeat("a", 100_000), strings.Repeat("b", 50), strings.Repeat("c", 300_000)}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := range 15 {
				c := contents[(i+n)%len(contents)]
				digest := digestOf(c)
				if _, err := b.Put(bg, digest, strings.NewReader(c), 0); err != nil {
					t.Errorf("put: %v", err)
				}
				if blob, err := b.Open(digest); err == nil {
					if got, err := io.ReadAll(blob); err != nil || string(got) != c {
						t.Errorf("read %d bytes: %v", len(got), err)
					}
					blob.Close()
				} else if !errors.Is(err, ErrNotFound) {
					t.Errorf("open: %v", err)
				}
				if err := b.Verify(bg, digest); err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("verify: %v", err)
				}
				if _, err := b.Touch(digest); err != nil {
					t.Errorf("touch: %v", err)
				}
				if i == 0 {
					if _, err := b.Delete(digest, time.Now().Add(time.Hour)); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				if err := b.Walk(func(string, int64, time.Time) error { return nil }); err != nil {
					t.Errorf("walk: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(filepath.Join(path, blobsName, incomingName)); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if aside, _ := os.ReadDir(filepath.Join(path, blobsName, quarantineName)); len(aside) != 0 {
		t.Errorf("set aside without damage: %v", aside)
	}
}

// A blob that a touch or a put has confirmed is there afterwards, whatever a deletion with an older time does
// at the same moment.
func TestTouchAgainstDelete(t *testing.T) {
	b := open(t, t.TempDir()).Blobs()
	for range 40 {
		digest := put(t, b, "content")
		cut := time.Now()
		var wg sync.WaitGroup
		var touched, gone bool
		wg.Go(func() { touched, _ = b.Touch(digest) })
		wg.Go(func() { gone, _ = b.Delete(digest, cut) })
		wg.Wait()
		if touched == gone || touched != b.Has(digest) {
			t.Fatalf("touched %v, deleted %v, here %v", touched, gone, b.Has(digest))
		}
	}
}
