package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A reader of ranges gets what was stored or an error, and never a wrong byte, whenever the damage came.
func TestARangeIsWhatWasStored(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 5*blockSize/16) + "tail"
	for _, c := range []struct {
		name    string
		restart bool // nothing is known of the file when it is read
		first   bool // a block is read before the damage comes
		at      int64
	}{
		{"known, first block", false, false, 3}, {"known, last byte", false, false, int64(len(content)) - 1},
		{"known, read before", false, true, 2 * blockSize}, {"unknown, first block", true, false, 0},
		{"unknown, last byte", true, false, int64(len(content)) - 1}, {"unknown, read before", true, true, blockSize + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir()
			d := open(t, path)
			digest := put(t, d.Blobs(), content)
			if c.restart {
				closeDir(t, d)
				d = open(t, path)
			}
			b := d.Blobs()
			told := ""
			b.OnDamage(func(digest string) { told += digest })
			blob, err := b.Open(digest)
			must(t, err)
			defer blob.Close()
			part := make([]byte, 100)
			if c.first {
				if _, err := blob.ReadAt(part, 0); err != nil || string(part) != content[:100] {
					t.Fatal(err)
				}
			}
			flip(t, b.file(digest), c.at)
			failed := false
			for off := int64(0); off < int64(len(content)); off += 90 {
				n, err := blob.ReadAt(part, off)
				if want := content[off:min(off+int64(n), int64(len(content)))]; string(part[:n]) != want {
					t.Fatalf("at %d: other bytes than those that were stored", off)
				}
				if err != nil && !errors.Is(err, io.EOF) {
					wantErr(t, err, ErrCorrupt, digest)
					failed = true
				}
			}
			if !failed || b.Has(digest) || told != digest {
				t.Errorf("failed %v, still here %v, told of %q", failed, b.Has(digest), told)
			}
		})
	}
}

func TestRangesReadAtTheSameTime(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	content := strings.Repeat("some content, ", blockSize)
	digest := put(t, d.Blobs(), content)
	closeDir(t, d)
	b := open(t, path).Blobs()
	blob, err := b.Open(digest)
	must(t, err)
	defer blob.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := b.Check(bg, digest); err != nil {
				t.Error(err)
			}
			got, err := io.ReadAll(io.NewSectionReader(blob, int64(i*1000), 200_000))
			if err != nil || string(got) != content[i*1000:i*1000+200_000] {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n, err := blob.ReadAt(make([]byte, 10), int64(len(content))-4); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("over the end: %d, %v", n, err)
	}
	if _, err := blob.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
}

// A blob that the disk does not deliver is fetched again like a damaged one, but its file is not thrown away.
func TestAnUnreadableFileCountsAsMissing(t *testing.T) {
	b := open(t, t.TempDir()).Blobs()
	told := ""
	b.OnDamage(func(digest string) { told += digest })
	digest := put(t, b, "content")
	must(t, os.Remove(b.file(digest)))
	must(t, os.Mkdir(b.file(digest), 0o700)) // reading a folder fails as a bad sector does
	blob, err := b.Open(digest)
	if err == nil {
		_, err = io.ReadAll(blob)
		must(t, blob.Close())
	}
	if err == nil || b.Has(digest) || told != digest {
		t.Errorf("%v, still here %v, told of %q", err, b.Has(digest), told)
	}
}

func TestOutlinesAreBounded(t *testing.T) {
	o := outlines{known: map[string]*outline{}}
	for i := range 100 {
		o.add(strings.Repeat("x", i), &outline{blocks: make([]uint64, maxBlocks/20)})
	}
	if o.blocks > maxBlocks || len(o.known) < 10 {
		t.Errorf("%d blocks of %d outlines", o.blocks, len(o.known))
	}
	for digest := range o.known {
		o.drop(digest)
	}
	if o.blocks != 0 {
		t.Errorf("%d blocks of none", o.blocks)
	}
}

func TestAnOutlineDoesNotDependOnHowItIsWritten(t *testing.T) {
	content := bytes.Repeat([]byte("abc"), blockSize)
	var want *outline
	for _, step := range []int{1000, blockSize, blockSize + 1, len(content)} {
		o := newOutliner()
		for at := 0; at < len(content); at += step {
			o.Write(content[at:min(at+step, len(content))])
		}
		digest, got := o.finish()
		if want == nil {
			want = got
		}
		if digest != digestOf(string(content)) || got.size != want.size || !slices.Equal(got.blocks, want.blocks) {
			t.Errorf("in steps of %d it is another one", step)
		}
	}
	if want.holds(99, nil) {
		t.Error("a block beyond the end")
	}
}
